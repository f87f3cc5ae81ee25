"""Greedy text from a language model, to look at what a model has learned.

Shape suffixes: B batch, T tokens.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.models.decoder import Decoder
from loren_jax.models.families import LanguageModel, bind, family_of
from loren_jax.models.network import NetworkConfig

BUFFER = 32
"""Lengths are rounded up to a multiple of this, so that few programs are compiled."""


def generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    eos_id: int | None = None,
) -> list[int]:
    """Continues a prompt, always with the likeliest token.

    There is no cache of keys and values: every new token costs one forward pass over the whole
    text, rounded up to a multiple of 32 tokens. That is what a demonstration or a test can bear,
    and nothing is added to the networks for it. One program is compiled for each rounded length.

    Args:
        model: A decoder with the head of a language model.
        prompt_ids: The text so far, at least one token.
        max_new_tokens: How many tokens to add, at least one.
        eos_id: Token after which to stop; None to add them all.

    Returns:
        The new tokens, without the prompt; the last one is ``eos_id`` if it came.

    Raises:
        ValueError: If the model is no decoder with that head, the prompt is empty, or the text
            would be longer than the model has positions.

    Example:
        >>> from loren_jax.models import GPT2Config, apply_function, init_params
        >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=1, n_positions=8,
        ...     head="language_model")
        >>> model = LanguageModel(config, apply_function(config), init_params(config))
        >>> len(generate(model, [1, 2], max_new_tokens=3))
        3
    """
    decoder = issubclass(family_of(model.config).network, Decoder)
    if not decoder or model.config.head != "language_model":
        raise ValueError(
            f"model.config is a {type(model.config).__name__} with head={model.config.head!r}; "
            "generate needs a causal language model"
        )
    if len(prompt_ids) < 1 or max_new_tokens < 1:
        raise ValueError(
            f"prompt_ids has {len(prompt_ids)} tokens and max_new_tokens={max_new_tokens}; "
            "both must be at least 1"
        )
    length, limit = len(prompt_ids) + max_new_tokens, model.config.max_length
    if length > limit:
        raise ValueError(
            f"{len(prompt_ids)} prompt_ids and max_new_tokens={max_new_tokens} make {length} "
            f"tokens, but the model has {limit} positions; shorten one of them"
        )
    text = np.zeros(min(-(-length // BUFFER) * BUFFER, limit), np.int32)
    text[: len(prompt_ids)] = prompt_ids
    eos = -1 if eos_id is None else eos_id
    continued, end = _continuation(model.config)(model.params, text, len(prompt_ids), length, eos)
    return np.asarray(continued)[len(prompt_ids) : int(end)].tolist()


@functools.cache
def _continuation(config: NetworkConfig) -> Callable[..., Any]:
    @jax.jit
    def continuation(params, text_T, start, stop, eos):
        network = bind(config, params)

        def unfinished(carry):
            text_T, end = carry
            return (end < stop) & ((end == start) | (text_T[end - 1] != eos))

        def extend(carry):
            text_T, end = carry
            mask_T = jnp.arange(text_T.shape[0]) < end
            hidden_TxD = network.encode(text_T[None], mask_T[None])[0]
            next_token = jnp.argmax(network.token_logits(hidden_TxD[end - 1]))
            return text_T.at[end].set(next_token), end + 1

        return jax.lax.while_loop(unfinished, extend, (text_T, start))

    return continuation
