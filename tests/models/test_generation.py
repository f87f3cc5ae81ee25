"""Text against the likeliest token of one forward pass after another, and against transformers."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from eight_devices import found
from models.tiny_checkpoints import DECODERS, ENCODERS, TinyCheckpoint, TinyDecoder

from loren_jax.models import LanguageModel, apply_function, generate
from loren_jax.models.generation import Generated, _program, resolve_options, stream
from loren_jax.models.sampling import Sampling

PROMPTS = [[3, 7, 2], [5], [4, 4, 9, 8, 11, 6, 12]]
NEW = 12


@functools.cache
def tiny(family, **options):
    long = "n_positions" if family == "gpt2" else "max_position_embeddings"
    return TinyDecoder(family, "language_model", **{"seed": 6, long: 64, **options})


@functools.cache
def model_of(family, dtype=jnp.float32, **options):
    decoder = tiny(family, **options)
    return LanguageModel(decoder.config, apply_function(decoder.config), decoder.params(dtype))


def without_cache(family, prompt, number, **options):
    """Greedy text by one forward pass over the whole text for each token."""
    text = list(prompt)
    for _ in range(number):
        ids = np.array([text + [0] * (len(prompt) + number - len(text))])
        mask = np.arange(ids.shape[1])[None] < len(text)
        logits, _ = tiny(family, **options).run(ids, mask.astype(np.int32))
        text.append(int(logits[0, len(text) - 1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("family", ["gpt2", "opt", "mistral", "gemma3_text", "smollm3"])
def test_text_is_that_of_forward_passes_without_a_cache(family):
    written = generate(model_of(family), PROMPTS, max_new_tokens=NEW)
    assert written.tokens == [without_cache(family, prompt, NEW) for prompt in PROMPTS]
    assert written.ended == [False] * 3


@pytest.mark.parametrize("seed", range(4))
def test_random_prompts_of_random_lengths(seed):
    rng, family = np.random.default_rng(seed), [*DECODERS][seed % len(DECODERS)]
    prompts = [rng.integers(0, 13, rng.integers(1, 30)).tolist() for _ in range(3)]
    written = generate(model_of(family, seed=7), prompts, max_new_tokens=NEW)
    assert written.tokens == [without_cache(family, p, NEW, seed=7) for p in prompts]


@pytest.mark.oracle
@pytest.mark.parametrize("family", DECODERS)
def test_text_is_that_of_transformers(family):
    torch = pytest.importorskip("torch")
    decoder, width = tiny(family), max(map(len, PROMPTS))
    ids = np.array([[1] * (width - len(prompt)) + prompt for prompt in PROMPTS])
    mask = np.array([[0] * (width - len(p)) + [1] * len(p) for p in PROMPTS])
    with torch.no_grad():
        wanted = decoder.torch_model().generate(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=1,
        )
    written = generate(model_of(family), PROMPTS, max_new_tokens=NEW)
    assert written.tokens == wanted[:, width:].tolist()


def test_one_prompt_gives_one_text():
    model = model_of("llama")
    several = generate(model, PROMPTS, max_new_tokens=NEW)
    assert isinstance(several, Generated)
    assert [generate(model, prompt, max_new_tokens=NEW) for prompt in PROMPTS] == several.tokens
    assert len({tuple(tokens) for tokens in several.tokens}) == 3  # else they would prove little


def test_half_precision_is_near():
    """The likeliest token of bf16 is one of the likeliest: rounding decides between near ones."""
    model = model_of("llama", jnp.bfloat16)
    text = generate(model, PROMPTS[2], max_new_tokens=NEW)
    whole = np.array([PROMPTS[2] + text])
    logits, _ = tiny("llama").run(whole, np.ones_like(whole))
    before = logits[0, len(PROMPTS[2]) - 1 : -1]
    short = before.max(axis=-1) - before[np.arange(NEW), text]
    assert short.max() < 0.03 * np.abs(before).max()


def test_stops_behind_any_stop_token():
    model = model_of("llama")
    text = generate(model, PROMPTS[0], max_new_tokens=NEW)
    late, early = text[4], text[2]
    assert late != early
    written = generate(model, PROMPTS, max_new_tokens=NEW, stop_tokens=[late, early])
    free = generate(model, PROMPTS, max_new_tokens=NEW).tokens
    for tokens, whole, ended in zip(written.tokens, free, written.ended, strict=True):
        ends = [i for i, token in enumerate(whole) if token in (late, early)]
        assert ended == bool(ends)
        assert tokens == (whole[: ends[0] + 1] if ends else whole)
    assert len(set(map(len, written.tokens))) > 1


def test_stop_token_in_the_prompt_does_not_stop():
    text = generate(model_of("gpt2"), PROMPTS[0], max_new_tokens=3)
    stops = [token for token in PROMPTS[0] if token not in text]
    assert stops
    assert generate(model_of("gpt2"), PROMPTS[0], max_new_tokens=3, stop_tokens=stops) == text


def test_lengths_share_one_program():
    model = model_of("opt", num_hidden_layers=1)  # whose program no other test compiles
    text = generate(model, PROMPTS[0], max_new_tokens=NEW)
    assert generate(model, [*PROMPTS[0], text[0]], max_new_tokens=4) == text[1:5]
    assert len(generate(model, PROMPTS[2], max_new_tokens=NEW)) == NEW
    options = resolve_options(model.config, [[1]], NEW, (), Sampling())
    assert _program(model.config, options)._cache_size() == 1


DRAWS = {"temperature": 1.5, "top_k": 9, "top_p": 0.95, "key": 3}


def test_draws_depend_on_the_number_of_the_prompt_and_not_on_the_batch():
    model = model_of("llama")
    whole = generate(model, PROMPTS, max_new_tokens=NEW, **DRAWS)
    assert generate(model, PROMPTS[:2], max_new_tokens=NEW, **DRAWS).tokens == whole.tokens[:2]
    assert generate(model, PROMPTS[0], max_new_tokens=NEW, **DRAWS) == whole.tokens[0]
    longer = [PROMPTS[0], [1] * 40]  # another program, other padding
    assert generate(model, longer, max_new_tokens=NEW, **DRAWS).tokens[0] == whole.tokens[0]
    other = generate(model, [PROMPTS[0]] * 2, max_new_tokens=NEW, **DRAWS).tokens
    assert other[0] != other[1]
    assert generate(model, PROMPTS[0], max_new_tokens=NEW, **{**DRAWS, "key": 4}) != whole.tokens[0]


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_batches_change_no_text(size):
    model, prompts = model_of("llama"), [*PROMPTS, [8, 8], [1] * 20]
    whole = generate(model, prompts, max_new_tokens=NEW, stop_tokens=[9], **DRAWS)
    some = generate(model, prompts, max_new_tokens=NEW, stop_tokens=[9], batch_size=size, **DRAWS)
    assert some == whole
    assert len(set(whole.ended)) == 2


@pytest.mark.parametrize("options", [{}, DRAWS])
def test_stream_gives_the_same_tokens_one_by_one(options):
    model, key = model_of("llama"), options.get("key", 0)
    sampling = Sampling(**{name: value for name, value in options.items() if name != "key"})
    whole = generate(model, PROMPTS[0], max_new_tokens=NEW, stop_tokens=[9], **options)
    streamed = stream(
        model, PROMPTS[0], max_new_tokens=NEW, stop_tokens=[9], sampling=sampling, key=key
    )
    assert next(streamed) == whole[0]
    assert [whole[0], *streamed] == whole


@pytest.mark.parametrize(
    ("prompts", "new", "message"),
    [
        ([], 3, "the shortest has 0 tokens"),
        ([[1], []], 3, "the shortest has 0 tokens"),
        ([1], 0, "max_new_tokens=0"),
        ([[1], [2, 13]], 3, "the token 13, but the model knows 0 to 12"),
        ([1] * 60, 5, r"60 tokens of a prompt.*65 tokens.*64 positions"),
    ],
)
def test_impossible_requests_are_refused(prompts, new, message):
    with pytest.raises(ValueError, match=message):
        generate(model_of("gpt2"), prompts, max_new_tokens=new)


def test_classifier_is_refused():
    config = TinyDecoder("gpt2").config
    with pytest.raises(ValueError, match=r"head='classification'.*causal language model"):
        generate(model_of("gpt2")._replace(config=config), PROMPTS, max_new_tokens=1)


def test_encoder_is_refused():
    config = TinyCheckpoint(ENCODERS["bert"], head="language_model").config
    with pytest.raises(ValueError, match=r"BertConfig.*causal language model"):
        generate(model_of("gpt2")._replace(config=config), PROMPTS, max_new_tokens=1)


@pytest.mark.slow
@pytest.mark.xdist_group("eight devices")
def test_text_on_a_mesh_is_that_of_one_device():
    for own in found("texts")["texts"].values():
        assert own == {"parameters": True, "prompts": True, "spread": 4}
