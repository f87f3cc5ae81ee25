"""Trained decoders: what they write, and how well they predict a sentence.

A wrong turn of the rotary embedding, a transposed matrix or a shifted position leaves the shapes as
they are and the text without sense. The golden perplexities are those of transformers 5.23.0 with
torch 2.13.0 from the tensors that we read, and an oracle test computes them again. SmolLM2 is a
dequantised copy of the published model.
"""

import functools

import jax
import numpy as np
import pytest
import quickstart
from checkpoints.real_models import BABY, STORIES

from loren_jax.checkpoints import checkpoint_config, checkpoint_tokenizer, open_checkpoint
from loren_jax.models import load_language_model
from loren_jax.models.generation import generate
from loren_jax.models.language_loss import perplexity

STORY = "Once upon a time there was a little girl. She liked to play with her dog in the park."
FACT = "Paris is the capital and largest city of France, on the banks of the river Seine."
GOLDEN = {"stories260K": 2.432728, "model5000": 1.385951, "smollm2": 7.098302}
STORIES_START = "Once upon a time, there was a little girl named Lily. She loved to play outside"
STARTS = {"stories260K": STORIES_START, "model5000": STORIES_START[:50]}


@functools.cache
def model_at(path):
    return load_language_model(path), checkpoint_tokenizer(path)


def our_perplexity(path, text):
    model, tokenizer = model_at(path)
    ids = np.array([tokenizer(text)["input_ids"]])
    every = np.ones_like(ids)
    return float(perplexity(jax.jit(model.apply)(model.params, ids, every), ids, every))


def torch_perplexity(path, text):
    """Of transformers, from the tensors and the configuration that we read."""
    torch = pytest.importorskip("torch")
    import transformers

    source = open_checkpoint(path)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**checkpoint_config(path)))
    state = {
        name: torch.tensor(np.asarray(source.read(name), np.float32)) for name in source.names()
    }
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}  # tied
    ids = torch.tensor([checkpoint_tokenizer(path)(text)["input_ids"]])
    with torch.no_grad():
        return float(torch.exp(model.eval()(input_ids=ids, labels=ids).loss))


@pytest.mark.parametrize("path", [STORIES, BABY])
def test_story_teller_tells_a_story(path):
    model, tokenizer = model_at(path)
    start = tokenizer.bos_token_id
    text = tokenizer.decode(generate(model, [start], max_new_tokens=63))
    assert text.strip().startswith(STARTS[path.stem])


@pytest.mark.parametrize("path", [STORIES, BABY])
def test_story_is_predicted_as_torch_does(path):
    assert our_perplexity(path, STORY) == pytest.approx(GOLDEN[path.stem], rel=1e-3)


@pytest.mark.oracle
@pytest.mark.parametrize("path", [STORIES, BABY])
def test_golden_perplexity_is_the_oracles(path):
    assert torch_perplexity(path, STORY) == pytest.approx(GOLDEN[path.stem], rel=1e-4)


@pytest.fixture
def smollm2():
    pytest.importorskip("gguf")
    return quickstart.smollm2()


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france(smollm2):
    model, tokenizer = model_at(smollm2)
    prompt = tokenizer("The capital of France is")["input_ids"]
    assert "Paris" in tokenizer.decode(generate(model, prompt, max_new_tokens=8))
    assert our_perplexity(smollm2, FACT) == pytest.approx(GOLDEN["smollm2"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.oracle
def test_smollm2_golden_perplexity_is_the_oracles(smollm2):
    assert torch_perplexity(smollm2, FACT) == pytest.approx(GOLDEN["smollm2"], rel=1e-4)
