"""Text from a language model: prompts in, new tokens out.

Shape suffixes: B batch, T tokens of the prompts.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int32

from loren_jax import noise
from loren_jax.models.decoder import Decoder
from loren_jax.models.decoding import Answers, Decoding, Noise, begin, decode, go_on
from loren_jax.models.families import LanguageModel, family_of
from loren_jax.models.network import NetworkConfig
from loren_jax.models.sampling import GREEDY, Sampling

BUCKET = 32
"""Lengths are rounded up to a multiple of this or more, so that few programs are compiled."""


class Generated(NamedTuple):
    """What a model says to some prompts.

    Attributes:
      tokens: The new ones for each prompt, without it; the last is a stop token if one came.
      ended: Whether one came; else the text was cut off.
    """

    tokens: list[list[int]]
    ended: list[bool]


@overload
def generate(
    model: LanguageModel,
    prompts: Sequence[int],
    *,
    max_new_tokens: int,
    stop_tokens: Sequence[int] = ...,
    temperature: float = ...,
    top_k: int | None = ...,
    top_p: float | None = ...,
    key: Any = ...,
    batch_size: int | None = ...,
) -> list[int]: ...


@overload
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_tokens: Sequence[int] = ...,
    temperature: float = ...,
    top_k: int | None = ...,
    top_p: float | None = ...,
    key: Any = ...,
    batch_size: int | None = ...,
) -> Generated: ...


def generate(
    model: LanguageModel,
    prompts: Sequence[int] | Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_tokens: Sequence[int] = (),
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    key: Any = 0,
    batch_size: int | None = None,
) -> list[int] | Generated:
    """Continues prompts, by default always with the likeliest token.

    Every token is read once: keys and values of what was read are kept. Prompts of different
    lengths go through one program, which is compiled once for all lengths that are rounded up to
    the same multiple of 32 or more, and ends when all have ended. Parameters may be sharded over
    a mesh.

    Args:
      model: A decoder with the head of a language model.
      prompts: The text so far, at least one token; or several texts.
      max_new_tokens: Most tokens to add to a prompt, at least one.
      stop_tokens: Tokens behind which a text ends.
      temperature: What the logits are divided by before a token is drawn; 0 takes the likeliest.
      top_k: Draw among the so many likeliest; None for all.
      top_p: Draw among the fewest tokens that have this much of the probability; None for all.
      key: Seed or key of the draws, which depend on it, on the number of the prompt and on the
        place in the new text, but not on the other prompts.
      batch_size: Prompts at a time; None for all. It changes no text.

    Returns:
      The new tokens of one prompt, without it; of several prompts a `Generated`.

    Raises:
      ValueError: If the model is no decoder with that head, a prompt is empty or has a token
        that is none of the model's, a text would be longer than the model has positions, or an
        option is out of its range.

    >>> from loren_jax.models import GPT2Config, apply_function, init_params
    >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=1, n_positions=8,
    ...     head="language_model")
    >>> model = LanguageModel(config, apply_function(config), init_params(config))
    >>> len(generate(model, [1, 2], max_new_tokens=3))
    3
    >>> found = generate(model, [[1, 2], [5]], max_new_tokens=3, temperature=1.0, key=7)
    >>> [len(tokens) for tokens in found.tokens], found.ended
    ([3, 3], [False, False])
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    several = len(prompts) > 0 and not isinstance(prompts[0], int | np.integer)
    texts = cast(Sequence[Sequence[int]], prompts if several else [prompts])
    found: list[Any] = [None] * len(texts)
    written = batches(model, texts, max_new_tokens, stop_tokens, sampling, key, batch_size)
    for row, tokens, ended in written:
        found[row] = tokens, ended
    if not several:
        return found[0][0]
    return Generated(*map(list, zip(*found, strict=True)))


def batches(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop_tokens: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    key: Any = 0,
    batch_size: int | None = None,
) -> Iterator[tuple[int, list[int], bool]]:
    """What `generate` gives, batch by batch: number of the prompt, new tokens, whether they end.

    Prompts of similar lengths are together, the longest first, so that what takes the most memory
    is not what comes last. A last batch that is not full is filled up with rows of padding.
    """
    options = resolve_options(model.config, prompts, max_new_tokens, stop_tokens, sampling)
    run, size = _program(model.config, options), min(batch_size or len(prompts), len(prompts))
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]), reverse=True)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        spare = size - len(rows)
        ids, mask = pad_left([*(prompts[row] for row in rows), *[()] * spare])
        numbers = np.array([*rows, *[0] * spare], np.int32)
        told = run(model.params, ids, mask, noise.run_key(key), max_new_tokens, numbers)
        for row, tokens, length, ended in zip(rows, *jax.device_get(told), strict=False):
            yield row, tokens[:length].tolist(), bool(ended)


def stream(
    model: LanguageModel,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    stop_tokens: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    key: Any = 0,
) -> Iterator[int]:
    """The tokens that `generate` gives for one prompt, each as soon as it is there."""
    options = resolve_options(model.config, [prompt], max_new_tokens, stop_tokens, sampling)
    ids, mask = pad_left([prompt])
    first, following = _steps(model.config, options)
    source = Noise(noise.run_key(key), jnp.arange(1))
    draft = first(model.params, ids, mask, source)
    for number in range(1, max_new_tokens + 1):
        yield int(draft.answers.tokens[0, number - 1])
        if bool(draft.answers.ended[0]) or number == max_new_tokens:
            return
        draft = following(model.params, draft, source, number + 1)


def resolve_options(
    config: NetworkConfig,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop_tokens: Sequence[int],
    sampling: Sampling,
) -> Decoding:
    """The options of the program; a ValueError if these prompts cannot be continued so."""
    decoder = issubclass(family_of(config).network, Decoder)
    if not decoder or config.head != "language_model":
        raise ValueError(
            f"model.config is a {type(config).__name__} with head={config.head!r}; "
            "generate needs a causal language model"
        )
    shortest, longest = (pick(map(len, prompts), default=0) for pick in (min, max))
    if shortest < 1 or max_new_tokens < 1:
        raise ValueError(
            f"prompts: the shortest has {shortest} tokens and max_new_tokens={max_new_tokens}; "
            "both must be at least 1"
        )
    unknown = {int(t) for row in prompts for t in row if not 0 <= t < config.vocab_size}
    if unknown:
        raise ValueError(
            f"prompts have the token {min(unknown)}, but the model knows 0 to "
            f"{config.vocab_size - 1}; use its own tokenizer"
        )
    length, limit = longest + max_new_tokens, config.max_length
    if length > limit:
        raise ValueError(
            f"{longest} tokens of a prompt and max_new_tokens={max_new_tokens} make {length} "
            f"tokens, but the model has {limit} positions; shorten one of them"
        )
    stops = tuple(sorted(int(token) for token in stop_tokens))
    most = round_length(max_new_tokens)
    return Decoding(max_new_tokens=most, stop_tokens=stops, sampling=sampling)


def round_length(length: int) -> int:
    """The length of the program that takes this one: at most a quarter longer, or 32.

    >>> [round_length(length) for length in (1, 33, 128, 130, 1000)]
    [32, 64, 128, 160, 1024]
    """
    unit = max(BUCKET, 2 ** (length.bit_length() - 1) // 4)
    return -(-length // unit) * unit


def pad_left(
    prompts: Sequence[Sequence[int]],
) -> tuple[Int32[np.ndarray, "B T"], Bool[np.ndarray, "B T"]]:
    """Prompts as an array of rounded length, and where it has tokens of them.

    >>> ids, mask = pad_left([[4, 5], [6]])
    >>> ids.shape, ids[:, -2:].tolist(), mask.sum(axis=1).tolist()
    ((2, 32), [[4, 5], [0, 6]], [2, 1])
    """
    length = round_length(max(map(len, prompts)))
    ids = np.zeros((len(prompts), length), np.int32)
    mask = np.zeros(ids.shape, bool)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :], mask[row, length - len(prompt) :] = prompt, True
    return ids, mask


@functools.cache
def _program(config: NetworkConfig, options: Decoding) -> Callable[..., Answers]:
    @jax.jit
    def run(params, ids, mask, key, limit, rows):
        return decode(config, params, ids, mask, options, key, limit=limit, rows=rows)

    return run


@functools.cache
def _steps(config: NetworkConfig, options: Decoding) -> tuple[Callable, Callable]:
    @jax.jit
    def first(params, ids, mask, source):
        return begin(config, params, ids, mask, options, source)

    @functools.partial(jax.jit, donate_argnums=1)
    def following(params, draft, source, until):
        return go_on(config, params, draft, options, source, until)

    return first, following
