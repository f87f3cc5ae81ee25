"""Whole steps on MiniLM's shapes, for `step_time.py --model minilm`.

22.6 million parameters, half of them the word embedding, random: no file is needed. Everything is
trained, in place. The bound is what the library promises of a step: little more than the bare
forward passes of the same compiled loss that it is made of, and two and a half of them with as many
random numbers as parameters.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

import loren_jax
from benchmarks.timers import Timers
from loren_jax.models import BertConfig, Classifier, apply_function, init_params

BOUND, FULL_BOUND = 1.15, 2.5

MINILM = BertConfig(
    vocab_size=30522,
    hidden_size=384,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=1536,
    pooling="mean",
)

METHODS: dict[str, Callable[..., Any]] = {
    "loren": loren_jax.loren,
    "mezo": loren_jax.mezo,
    "mezo, full Gaussian": partial(loren_jax.mezo, rank=None),
    "mezo, signs": partial(loren_jax.mezo, rank="signs"),
}
"""With their defaults, and with noise of as many numbers as there are parameters."""


def measure_minilm(tokens: str, turns: int) -> list[dict[str, Any]]:
    """One row a method, of batch x length tokens.

    Args:
      tokens: such as `"16x32"`.
      turns: of which the ratios' median is taken.

    Returns:
      The rows, with the bound and whether it is met.
    """
    batch = _batch(*map(int, tokens.split("x")))
    model = Classifier(MINILM, apply_function(MINILM), init_params(MINILM), ("0", "1"))
    loss = _loss_of(model)
    timers, forward = Timers(), jax.jit(loss)
    timers.add("forward", lambda: [forward(model.params, batch) for _ in range(3)])
    states = {name: _add_steps(timers, name, loss, model.params, batch) for name in METHODS}
    timers.run(turns)
    for times in (timers.seconds, timers.processor):
        times["forward"] = [s / 3 for s in times["forward"]]
    passes = {name: optax.tree.get(states[name], "losses").size for name in METHODS}
    return [_row(timers, tokens, name, number) for name, number in passes.items()]


def _batch(rows: int, length: int) -> dict[str, jax.Array]:
    ids = jax.random.randint(jax.random.key(1), (rows, length), 0, MINILM.vocab_size)
    return {"ids": ids, "mask": jnp.ones_like(ids), "labels": jnp.arange(rows) % 2}


def _loss_of(model: Classifier) -> Callable[[Any, dict[str, jax.Array]], jax.Array]:
    def loss(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        logits = model.apply(params, batch["ids"], batch["mask"])
        labels = batch["labels"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    return loss


def _add_steps(timers: Timers, name: str, loss: Callable, params: Any, batch: Any) -> Any:
    """Steps in place, one after another; the first state."""
    optimizer = METHODS[name](1e-6)
    step = loren_jax.train_step(loss, optimizer)
    held = {"params": jax.tree.map(jnp.copy, params)}
    held["state"] = jax.jit(optimizer.init)(held["params"])
    first = jax.eval_shape(lambda state: state, held["state"])

    def take_step() -> Any:
        held["params"], held["state"] = step(held["params"], held["state"], batch)
        return held["state"]

    timers.add(name, take_step)
    return first


def _row(timers: Timers, tokens: str, name: str, passes: int) -> dict[str, Any]:
    bound = FULL_BOUND if "," in name else BOUND
    processor = zip(timers.processor[name], timers.processor["forward"], strict=True)
    ratio, minima = timers.ratio(name, "forward", passes)
    return {
        "tokens": tokens,
        "method": name,
        "passes": passes,
        "forward (s)": statistics.median(timers.seconds["forward"]),
        "step (s)": statistics.median(timers.seconds[name]),
        "step": ratio,
        "(minima)": minima,
        "(processor)": statistics.median(own / (passes * bare) for own, bare in processor),
        "bound met": f"{ratio:.2f} <= {bound}: {'yes' if ratio <= bound else 'NO'}",
    }
