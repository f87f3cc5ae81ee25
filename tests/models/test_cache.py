"""Texts that are read in pieces against texts that are read at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.tiny_checkpoints import DECODERS, TinyDecoder

from loren_jax.models import bind
from loren_jax.models.cache import Places

LENGTH, ROOM = 9, 12
PADDING = np.array([0, 3, 5])
"""Tokens of padding on the left of each row."""
MASK = np.arange(ROOM)[None] >= PADDING[:, None]


@functools.cache
def network(family, dtype=jnp.float32):
    tiny = TinyDecoder(family, "language_model", seed=6)
    params = jax.tree.map(lambda x: x.astype(dtype), tiny.params())
    return bind(tiny.config, params), tiny.config


# Compiled as a whole: operation by operation it takes ten times as long.
@functools.partial(nnx.jit, static_argnames="room")
def read(model, ids, room):
    return model.read(ids, Places.counted(MASK[:, : ids.shape[1]]), room=room)


@nnx.jit
def read_on(model, ids, place, cache):
    places = Places.behind(jnp.asarray(MASK), place, ids.shape[1])
    hidden, new = model.read(ids, places, cache)
    return hidden, cache.write(new, place)


@nnx.jit
def encode(model, ids):
    return model.encode(ids, jnp.ones_like(ids))


def in_pieces(model, ids, cuts):
    """Hidden states of every token, read from cut to cut."""
    first, *_ = cuts
    hidden, cache = read(model, ids[:, :first], ROOM)
    found = [hidden]
    for start, end in zip(cuts, [*cuts[1:], LENGTH], strict=True):
        hidden, cache = read_on(model, ids[:, start:end], jnp.asarray(start, jnp.int32), cache)
        found.append(hidden)
    return jnp.concatenate(found, axis=1)


def alone(model, ids):
    """Hidden states of each row without its padding."""
    for row, padding in zip(ids, PADDING, strict=True):
        text = row[None, padding:]
        yield np.asarray(encode(model, text)[0], np.float32)


def tokens(config, seed=0):
    return np.random.default_rng(seed).integers(3, config.vocab_size, (3, LENGTH), np.int32)


@pytest.mark.each_value
@pytest.mark.parametrize("cuts", [[6, 7, 8], [6, 8], [5]])
@pytest.mark.parametrize("family", DECODERS)
def test_text_in_pieces_is_the_text_at_once(family, cuts):
    model, config = network(family)
    ids = tokens(config)
    found = in_pieces(model, ids, cuts)
    for row, padding, wanted in zip(found, PADDING, alone(model, ids), strict=True):
        np.testing.assert_allclose(row[padding:], wanted, atol=5e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3_text"])
def test_half_precision_stays_in_the_cache(family):
    model, config = network(family, jnp.bfloat16)
    ids = tokens(config)
    hidden, cache = read(model, ids, None)
    assert {hidden.dtype, cache.key.dtype, cache.value.dtype} == {jnp.dtype(jnp.bfloat16)}
    found = in_pieces(model, ids, [6, 7, 8])
    for row, padding, wanted in zip(found, PADDING, alone(model, ids), strict=True):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(row[padding:].astype(np.float32), wanted, atol=0.04 * scale)


def test_no_head_is_repeated_in_the_cache():
    model, config = network("llama")
    assert config.key_value_heads < config.num_attention_heads
    _, cache = model.read(tokens(config), Places.counted(MASK[:, :LENGTH]))
    shape = (config.num_hidden_layers, 3, config.key_value_heads, LENGTH, config.head_size)
    assert cache.key.shape == cache.value.shape == shape


@pytest.mark.parametrize("window", [None, 1, 3])
def test_mask_counts_places_behind_a_cache_as_at_once(window):
    whole = np.asarray(Places.counted(MASK).mask(window))
    place = np.arange(ROOM)
    ago = place[:, None] - place[None]
    near = (ago >= 0) & (ago < (window or ROOM))
    np.testing.assert_array_equal(whole[:, 0], near[None] & MASK[:, None])
    behind = np.asarray(Places.behind(jnp.asarray(MASK), jnp.asarray(7), 3).mask(window))
    assert behind.shape == (3, 1, 3, ROOM + 3)
    np.testing.assert_array_equal(behind[..., :7], whole[:, :, 7:10, :7])
    assert not behind[..., 7:ROOM].any()  # nothing is there yet
    np.testing.assert_array_equal(behind[..., ROOM:], whole[:, :, 7:10, 7:10])


def test_positions_go_on_where_those_of_earlier_tokens_end():
    at_once = Places.counted(MASK).position
    behind = Places.behind(jnp.asarray(MASK), jnp.asarray(8), 2)
    assert behind.new.tolist() == [8, 9]
    np.testing.assert_array_equal(behind.position, at_once[:, 8:10])


def test_room_is_made_for_later_tokens():
    model, config = network("llama")
    ids, places = tokens(config), Places.counted(MASK[:, :LENGTH])
    (_, tight), (_, roomy) = (model.read(ids, places, room=room) for room in (None, ROOM))
    for part, wanted in zip(roomy, tight, strict=True):
        np.testing.assert_array_equal(part[..., :LENGTH, :], wanted)
        assert part.shape[-2] == ROOM
        assert not part[..., LENGTH:, :].any()
