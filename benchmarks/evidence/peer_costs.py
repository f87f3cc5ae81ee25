"""What a step costs: time in units of six forward passes, memory in units of the parameters.

Everything runs on one transformer and one batch. Calls take turns; each turn gives the ratio to the
bare passes of that turn, and the median of the ratios is kept. Loops in torch are in units of the
same passes in torch, as it is the step and not the framework that is compared.

* temporary memory is what XLA plans beside arguments and results (`temp_size_in_bytes`). As in any
  loop, parameters and state are donated: were they not, the room for new ones would hold what is
  temporary, and gradients would seem to need none. Of torch it is not measured.
* state is what is kept from step to step beside the parameters: moments, adapters, a mean.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.evidence.evolution import POPULATION
from benchmarks.evidence.methods import Method
from benchmarks.transformer import Transformer
from loren_jax import lora
from loren_jax.transformation import form

PASSES = "six forward passes"
CHECKPOINTED = ", checkpointing"
RANK = 8
"""Of the adapters."""

RATE = 1e-6

Step = Callable[[Any, Any, jax.Array], Any]
"""`(parameters, what else is held, ids) -> (parameters, what else is held)`."""
Loops = Callable[[Transformer, tuple[int, int]], Mapping[str, Callable[[], Any]]]


class Timed(NamedTuple):
    """A step that is ready to run.

    Attributes:
      call: runs it once.
      base: name of the passes that it is in units of.
      memory: what is known of it, in units of the parameters.
    """

    call: Callable[[], Any]
    base: str
    memory: dict[str, float | None]


def costs(
    model: Transformer,
    tokens: tuple[int, int],
    contestants: Mapping[str, Method],
    *,
    loops: Loops,
    turns: int,
) -> list[dict[str, Any]]:
    """A row a contestant.

    Args:
      model: what is trained.
      tokens: batch and length.
      contestants: methods by name; those with gradients are measured with checkpointing too.
      loops: gives loops that are not of JAX, the passes that they are in units of first.
      turns: how often each is timed.

    Returns:
      The rows.
    """
    own = loops(model, tokens)  # a checkout that lacks something is known before all is compiled
    timed = programs(model, tokens, contestants)
    for name, call in own.items():
        timed[name] = Timed(call, next(iter(own)), {"temporary": None, "state": None})
    numbers = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.params)))
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for one in timed.values():
        one.call()
    for turn in range(turns):
        # Forwards and backwards: none is always the longest after the passes.
        for name in list(timed)[:: -1 if turn % 2 else 1]:
            seconds[name].append(_seconds(timed[name].call))
    return [
        {
            "parameters": numbers,
            "method": name,
            "seconds": statistics.median(seconds[name]),
            "times the passes": statistics.median(
                own / passes for own, passes in zip(seconds[name], seconds[one.base], strict=True)
            ),
            **{f"{kind} / parameters": value for kind, value in one.memory.items()},
        }
        for name, one in timed.items()
    ]


def programs(
    model: Transformer, tokens: tuple[int, int], contestants: Mapping[str, Method]
) -> dict[str, Timed]:
    """What is compiled by XLA, the bare passes first."""
    params, ids = model.params(), model.tokens(*tokens)
    frugal = model._replace(checkpointed=True)
    steps: dict[str, tuple[Step, Any]] = {PASSES: (_passes(model), jnp.zeros(POPULATION))}
    for name, contestant in contestants.items():
        optimizer = contestant.make(RATE, key=0)
        step = _descent if contestant.gradient else _queries
        held = jax.jit(optimizer.init)(params)
        steps[name] = step(model, optimizer), held
        if contestant.gradient:
            steps[name + CHECKPOINTED] = step(frugal, optimizer), held
    adam, adapters = optax.adam(RATE), lora.init(params, "layers/*", rank=RANK)
    for suffix, own in (("", model), (CHECKPOINTED, frugal)):
        steps["LoRA, gradients" + suffix] = _adapting(own, adam), (adapters, adam.init(adapters))
    return {name: _compiled(step, params, held, ids) for name, (step, held) in steps.items()}


def _compiled(step: Step, params: Any, held: Any, ids: jax.Array) -> Timed:
    program = jax.jit(step, donate_argnums=(0, 1)).lower(params, held, ids).compile()
    carried = [jax.tree.map(jnp.copy, (params, held))]  # what is donated is its own

    def call() -> None:
        carried[0] = jax.block_until_ready(program(*carried[0], ids))

    memory = {
        "temporary": program.memory_analysis().temp_size_in_bytes / _bytes(params),
        "state": _bytes(held) / _bytes(params),
    }
    return Timed(call, PASSES, memory)


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def _passes(model: Transformer) -> Step:
    def step(params: Any, losses: Any, ids: jax.Array) -> Any:
        del losses
        loss = lambda shift: model.loss(params, (ids + shift) % model.vocabulary)
        return params, jax.lax.map(loss, jnp.arange(POPULATION))

    return step


def _queries(model: Transformer, optimizer: Any) -> Step:
    def step(params: Any, state: Any, ids: jax.Array) -> Any:
        value_fn = lambda params: model.loss(params, ids)
        if apply := form(optimizer, "apply"):
            return apply(params, state, value_fn=value_fn)
        updates, state = optimizer.update(None, state, params, value_fn=value_fn)
        return optax.apply_updates(params, updates), state

    return step


def _descent(model: Transformer, optimizer: Any) -> Step:
    def step(params: Any, state: Any, ids: jax.Array) -> Any:
        updates, state = optimizer.update(jax.grad(model.loss)(params, ids), state, params)
        return optax.apply_updates(params, updates), state

    return step


def _adapting(model: Transformer, optimizer: Any) -> Step:
    adapted = lora.adapt(model.loss)

    def step(params: Any, held: Any, ids: jax.Array) -> Any:
        adapters, state = held
        gradient = jax.grad(adapted, argnums=1)(params, adapters, ids)
        updates, state = optimizer.update(gradient, state, adapters)
        return params, (optax.apply_updates(adapters, updates), state)

    return step


def _seconds(call: Callable[[], Any], least: float = 0.2) -> float:
    """Time of a call, over as many calls as fill a moment."""
    calls, start = 0, time.perf_counter()
    while not calls or time.perf_counter() - start < least:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls
