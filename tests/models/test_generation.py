"""Greedy text against the likeliest token of one forward pass after another."""

import numpy as np
import pytest
from models.tiny_checkpoints import TinyDecoder

from loren_jax.models import LanguageModel, apply_function, generate
from loren_jax.models.generation import _continuation

DECODER = TinyDecoder("gpt2", "language_model", seed=6, n_positions=24)
MODEL = LanguageModel(DECODER.config, apply_function(DECODER.config), DECODER.params())
PROMPT = [3, 7, 2]


@pytest.fixture(scope="module")
def text():
    return generate(MODEL, PROMPT, max_new_tokens=12)


def test_every_token_is_the_likeliest(text):
    whole = np.array([PROMPT + text])
    logits, _ = DECODER.run(whole, np.ones_like(whole))
    assert logits[0, len(PROMPT) - 1 : -1].argmax(-1).tolist() == text
    assert len(set(text)) > 2  # a text of one token would prove little


def test_stops_behind_the_end_token(text):
    end = text.index(text[5]) + 1
    assert generate(MODEL, PROMPT, max_new_tokens=12, eos_id=text[5]) == text[:end]


def test_end_token_in_the_prompt_does_not_stop(text):
    assert PROMPT[-1] == 2
    assert 2 not in text[:3]
    assert generate(MODEL, PROMPT, max_new_tokens=3, eos_id=2) == text[:3]


def test_lengths_share_one_program(text):
    continued = generate(MODEL, [*PROMPT, text[0]], max_new_tokens=4)
    assert continued == text[1:5]
    assert _continuation(MODEL.config)._cache_size() == 1


@pytest.mark.parametrize(
    ("prompt", "new", "message"),
    [
        ([], 3, "prompt_ids has 0 tokens"),
        ([1], 0, "max_new_tokens=0"),
        ([1] * 20, 5, r"20 prompt_ids.*25 tokens.*24 positions"),
    ],
)
def test_impossible_requests_are_refused(prompt, new, message):
    with pytest.raises(ValueError, match=message):
        generate(MODEL, prompt, max_new_tokens=new)


def test_classifier_is_refused():
    config = TinyDecoder("gpt2").config
    with pytest.raises(ValueError, match=r"head='classification'.*causal language model"):
        generate(MODEL._replace(config=config), PROMPT, max_new_tokens=1)
