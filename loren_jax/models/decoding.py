"""Decoding: prompts in, tokens out, as a pure function of the parameters.

One program reads the prompts and writes token after token until every row has ended. Prompts are
padded on the left, so that a step writes one place of the cache for all rows.

Shape suffixes: B batch, T tokens of the prompts, N new tokens, S = T + N places, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from loren_jax import noise
from loren_jax.models.cache import Cache, Places
from loren_jax.models.decoder import Decoder
from loren_jax.models.families import bind
from loren_jax.models.layers import Mask, Tokens
from loren_jax.models.network import NetworkConfig
from loren_jax.models.sampling import GREEDY, Sampling


class Answers(NamedTuple):
    """What a model answers to a batch of prompts.

    Attributes:
      tokens: The new tokens, without the prompts; padding behind the end of a row.
      lengths: How many they are, an end token included.
      ended: Whether an end token came; else the row is cut off.
    """

    tokens: Int[Array, "B N"]
    lengths: Int[Array, " B"]
    ended: Bool[Array, " B"]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How answers are written.

    Attributes:
      max_new_tokens: Most tokens of an answer, at least one.
      stop_tokens: Tokens behind which an answer ends.
      pad_id: What stands behind the end of an answer.
      sampling: How a token is chosen.
    """

    max_new_tokens: int
    stop_tokens: tuple[int, ...] = ()
    pad_id: int = 0
    sampling: Sampling = GREEDY

    def __post_init__(self) -> None:
        """Refuses what writes nothing."""
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens} must be at least 1")


class Draft(NamedTuple):
    """Answers that are being written.

    Attributes:
      written: Number of new tokens of the rows that have not ended.
      answers: So far.
      cache: Keys and values of all tokens but the last new one.
      read: Which places hold a token and not padding, or will.
    """

    written: Int[Array, ""]
    answers: Answers
    cache: Cache
    read: Bool[Array, "B S"]


class Noise(NamedTuple):
    """Where the noise of draws comes from.

    Attributes:
      key: Of the call.
      rows: Number of each row's prompt, by which its noise is known.
    """

    key: Key[Array, ""]
    rows: Int[Array, " B"]


def decode(
    config: NetworkConfig,
    params: Any,
    prompt_ids: Tokens,
    prompt_mask: Mask,
    options: Decoding,
    key: Any = 0,
    *,
    rows: Int[Array | np.ndarray, " B"] | None = None,
    limit: Int[Array, ""] | int | None = None,
) -> Answers:
    """A decoder's answers to prompts: a pure function, for `jax.jit` and any transformation.

    Under `jax.vmap` over parameters or directions it is one loop for all, which ends when all
    have. Inside of `evaluation.perturbed` no perturbed weight is built.

    Args:
      config: Of a decoder with the head of a language model.
      params: Its parameters.
      prompt_ids: The prompts, padded on the left.
      prompt_mask: Non-zero where there is no padding. A row of padding alone has no answer.
      options: How to write.
      key: Seed or key of the draws.
      rows: Number of each row's prompt; by default its place in the batch. The noise of a draw
        depends on the key, this number and the place in the answer: not on the other rows, and
        not on the parameters.
      limit: Most new tokens, as a number that a program may be given; at most, and by default,
        `options.max_new_tokens`.

    Returns:
      The answers.

    >>> from loren_jax.models import GPT2Config, init_params
    >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=1, n_positions=8,
    ...     head="language_model")
    >>> ids = jnp.array([[0, 3], [1, 2]])
    >>> answers = decode(config, init_params(config), ids, ids != 0, Decoding(max_new_tokens=3))
    >>> answers.tokens.shape, answers.lengths.tolist()
    ((2, 3), [3, 3])
    """
    rows = jnp.arange(prompt_ids.shape[0]) if rows is None else jnp.asarray(rows)
    source = Noise(noise.run_key(key), rows)
    limit = options.max_new_tokens if limit is None else limit
    draft = begin(config, params, prompt_ids, prompt_mask, options, source)
    return go_on(config, params, draft, options, source, limit).answers


def begin(
    config: NetworkConfig,
    params: Any,
    prompt_ids: Tokens,
    prompt_mask: Mask,
    options: Decoding,
    source: Noise,
) -> Draft:
    """Reads the prompts and writes the first token of every answer."""
    network, room = bind(config, params), options.max_new_tokens
    prompts = Places.counted(prompt_mask)
    batch, length = prompt_ids.shape
    hidden_BxTxD, cache = network.read(jnp.asarray(prompt_ids), prompts, room=length + room)
    read = jnp.pad(prompts.read, ((0, 0), (0, room)), constant_values=True)
    answers = Answers(
        jnp.full((batch, room), options.pad_id, jnp.int32),
        jnp.zeros(batch, jnp.int32),
        ~jnp.any(prompts.read, axis=1),
    )
    start = jnp.zeros((), jnp.int32)
    logits = network.token_logits(hidden_BxTxD[:, -1])
    answers = _extend(answers, start, logits, options, source)
    return Draft(start + 1, answers, cache, read)


def go_on(
    config: NetworkConfig,
    params: Any,
    draft: Draft,
    options: Decoding,
    source: Noise,
    until: Int[Array, ""] | int,
) -> Draft:
    """Writes until all answers have ended or have so many tokens."""
    network: Decoder = bind(config, params)

    def unfinished(draft: Draft) -> Bool[Array, ""]:
        return (draft.written < until) & _any(~draft.answers.ended)

    def extend(draft: Draft) -> Draft:
        place = draft.read.shape[1] - options.max_new_tokens + draft.written - 1
        last = draft.written - 1
        token_Bx1 = jax.lax.dynamic_slice_in_dim(draft.answers.tokens, last, 1, axis=1)
        places = Places.behind(draft.read, place, 1)
        hidden_Bx1xD, new = network.read(token_Bx1, places, draft.cache)
        logits = network.token_logits(hidden_Bx1xD[:, 0])
        answers = _extend(draft.answers, draft.written, logits, options, source)
        return Draft(draft.written + 1, answers, draft.cache.write(new, place), draft.read)

    return jax.lax.while_loop(unfinished, extend, draft)


def _extend(
    answers: Answers,
    written: Int[Array, ""],
    logits: Float[Array, "B V"],
    options: Decoding,
    source: Noise,
) -> Answers:
    """The answers with one more token, where they have not ended."""
    tokens, lengths, ended = answers
    drawn = None
    if options.sampling.drawn:
        drawn = noise.gumbels(source.key, source.rows, written, logits.shape[-1])
    chosen = options.sampling.choose(logits, drawn).astype(jnp.int32)
    chosen = jnp.where(ended, options.pad_id, chosen)
    stops = np.array(options.stop_tokens, np.int32)
    stopped = jnp.any(chosen[:, None] == stops[None, :], axis=1)
    return Answers(
        jax.lax.dynamic_update_slice_in_dim(tokens, chosen[:, None], written, axis=1),
        lengths + ~ended,
        ended | stopped,
    )


@jax.custom_batching.custom_vmap
def _any(flags: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether any flag is set, also of the other members of a `vmap`.

    A loop whose end differs from member to member would choose between old and new for everything
    that it carries, and so copy the cache in every step.
    """
    return jnp.any(flags)


@_any.def_vmap
def _any_of_all(axis_size: int, batched: list[bool], flags: Bool[Array, "..."]) -> Any:
    return _any(flags), False
