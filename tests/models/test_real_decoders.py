"""A trained decoder, a dequantised copy of SmolLM2: what it writes, and how well it predicts.

A wrong turn of the rotary embedding, a transposed matrix or a shifted position leaves the shapes as
they are and the text without sense. The golden perplexity is that of transformers 5.23.0 with torch
2.13.0 from the tensors that we read, and an oracle test computes it again. (A story teller that is
always there is in `benchmarks/test_llama2c.py`.)
"""

import functools

import jax
import numpy as np
import pytest
import quickstart

from loren_jax.checkpoints import checkpoint_config, checkpoint_tokenizer, open_checkpoint
from loren_jax.models import generate, load_language_model, span_loss

FACT = "Paris is the capital and largest city of France, on the banks of the river Seine."
GOLDEN = 7.098302


@functools.cache
def model_at(path):
    return load_language_model(path), checkpoint_tokenizer(path)


@pytest.fixture
def smollm2():
    pytest.importorskip("gguf")
    return quickstart.smollm2()


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france(smollm2):
    model, tokenizer = model_at(smollm2)
    prompt = tokenizer("The capital of France is")["input_ids"]
    assert "Paris" in tokenizer.decode(generate(model, prompt, max_new_tokens=8))
    ids = np.array([tokenizer(FACT)["input_ids"]])
    logits = jax.jit(model.apply)(model.params, ids, np.ones_like(ids))
    loss = span_loss(logits, ids, np.ones_like(ids))
    assert np.exp(loss) == pytest.approx(GOLDEN, rel=1e-3)


@pytest.mark.slow
@pytest.mark.oracle
def test_smollm2_golden_perplexity_is_the_oracles(smollm2):
    torch = pytest.importorskip("torch")
    import transformers

    source = open_checkpoint(smollm2)
    config = transformers.LlamaConfig(**checkpoint_config(smollm2))
    model = transformers.LlamaForCausalLM(config)
    state = {
        name: torch.tensor(np.asarray(source.read(name), np.float32)) for name in source.names()
    }
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}  # tied
    ids = torch.tensor([checkpoint_tokenizer(smollm2)(FACT)["input_ids"]])
    with torch.no_grad():
        loss = model.eval()(input_ids=ids, labels=ids).loss
    assert float(torch.exp(loss)) == pytest.approx(GOLDEN, rel=1e-4)
