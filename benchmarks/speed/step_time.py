"""The time of a LOREN step in units of its K bare forward passes, and how long it compiles.

Every method is measured beside the bare forward pass of the same loss, in the same process, turn by
turn, so that a busy machine slows both; the table has medians over the turns, and their minima. Two
things are timed:

* evaluations: the K losses, with the drawing of the directions;
* step: the K losses, the estimate, learning the covariance, `optax.apply_updates`; donated.

`--blocks` measures MeZO-BCD against MeZO, K = 1: a step in place, the mean over a cycle of blocks.

`--model minilm` measures whole steps of `loren` and `mezo` on MiniLM's shapes instead.

`--compile` measures how long the step of 24 scanned layers, of eight in a list and of a residual
network compiles, against its forward pass.

    python -m benchmarks step_time --tokens 8x8 8x64     # some ten minutes
    python -m benchmarks step_time --tokens 64x128 --turns 2
    python -m benchmarks step_time --blocks --tokens 8x8 8x64
    python -m benchmarks step_time --model minilm        # some ten minutes
    python -m benchmarks step_time --compile
    python -m benchmarks step_time --quick               # tiny, to see that it runs
    python -m benchmarks step_time --against CHECKOUT    # another version of the package beside

The last takes turns with the package of another checkout in the same process, and has a column of
the time of a step here in units of that there.

Measured (jax 0.10.2, two cores, scanned, K = 6, evaluations / step): rank 1, 8x8 0.61 / 0.69, 8x64
1.04 / 1.05, 64x128 0.86 / 0.92; full Gaussian 8x64 2.1 / 3.5. Of the latter a generator alone,
2.4 ns a number, would leave 1.6 / 2.2; the rest are sums of weights and noise, products of single
blocks, and scores that the covariance learns from. MeZO-BCD against MeZO: full Gaussian 6.9 times
faster at 8x8, 4.0 at 8x64; rank 1 1.17 and 1.25 (before the generator was one kernel).

Compiling (`compile_time.json`), in units of the forward pass: 24 scanned layers 5.9, eight in a
list 9.9, a residual network of blocks 10.6. The evaluations alone, with their drawing, take 4.5,
6.1 and 8.2, a step of `mezo`, which learns no covariance, 5.6, 7.7 and 7.4. What is compiled is
kernels, of which XLA compiles equal ones once: of 24 scanned layers 17 in the forward pass, 36 in
evaluations of given directions, 31 in drawing them, 21 in the update, 8 in weighing losses.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import loren_jax
from benchmarks.record import save, table
from benchmarks.residual import Residual
from benchmarks.speed.minilm_step import measure_minilm
from benchmarks.timers import Timers
from benchmarks.transformer import Transformer
from loren_jax import directions, noise
from loren_jax.evaluation import evaluate_queries, perturbed

K = 6
SCALE = 1e-3


class Case(NamedTuple):
    """One configuration of LOREN; `None` as chunk size is the library's choice."""

    rank: int | None
    chunk_size: int | None

    def name(self) -> str:
        """As it stands in the table."""
        return f"rank {self.rank}" if self.rank else "Gaussian"


# What the library promises on two CPU cores: (tokens, case) -> (evaluations, step).
BOUNDS = {
    ("8x64", Case(1, None)): (1.05, 1.15),
    ("8x8", Case(1, K)): (0.85, 1.10),
    ("64x128", Case(1, None)): (None, 1.05),
    ("64x128", Case(None, None)): (None, 1.25),
}
COMPILE_RATIO, COMPILE_SECONDS = 4.0, 10.0


def cases_of(tokens: str) -> list[Case]:
    """Few where a forward pass takes seconds."""
    if tokens == "64x128":
        return [Case(1, None), Case(None, None)]
    return [Case(1, None), Case(1, 1), Case(1, K), Case(None, None)]


def forward_of(model: Transformer | Residual) -> Callable:
    """The bare forward pass."""
    return jax.jit(model.loss)


def evaluations_of(model: Transformer, case: Case) -> Callable:
    """The K losses of a step, directions drawn within."""
    kind = directions.rank_one(rank=case.rank)

    @jax.jit
    def evaluations(params, state, count, tokens):
        keys = noise.fold_all(noise.fold(noise.run_key(0), count), (K,))
        return evaluate_queries(
            lambda params: model.loss(params, tokens),
            params,
            jax.vmap(lambda key: kind.draw(state, params, key))(keys),
            points=(1.0,),
            scale=jnp.float32(SCALE),
            evaluation=perturbed,
            chunk_size=case.chunk_size,
        )

    return evaluations


def optimizer_of(case: Case) -> optax.GradientTransformationExtraArgs:
    """LOREN without momentum, as it is for the least memory."""
    return loren_jax.loren(
        1e-6,
        num_directions=K,
        perturbation_scale=SCALE,
        momentum=None,
        rank=case.rank,
        chunk_size=case.chunk_size,
    )


def step_of(
    model: Transformer | Residual, optimizer: optax.GradientTransformationExtraArgs
) -> Callable:
    """A whole step through Optax."""

    def step(params, state, tokens):
        updates, state = optimizer.update(
            None, state, params, value_fn=lambda params: model.loss(params, tokens)
        )
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def version_of(checkout: str) -> Any:
    """This script with the package of another checkout."""
    of_package = lambda: [name for name in sys.modules if name.split(".")[0] == "loren_jax"]
    own = {name: sys.modules.pop(name) for name in of_package()}
    sys.path.insert(0, str(Path(checkout).resolve()))
    try:
        spec: Any = importlib.util.spec_from_file_location("step_time_there", __file__)
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
    finally:
        sys.path.pop(0)
        for name in of_package():
            del sys.modules[name]
        sys.modules.update(own)
    if script.loren_jax.__file__ == loren_jax.__file__:
        raise SystemExit(f"--against {checkout} has no loren_jax: name the root of a checkout")
    return script


def measure(model: Transformer, tokens: str, turns: int, there: Any = None) -> list[dict[str, Any]]:
    """One row a case."""
    batch, length = map(int, tokens.split("x"))
    params, ids = model.params(), model.tokens(batch, length)
    timers, forward = Timers(), forward_of(model)

    def forwards():  # the mean of three is steadier than one, and K of them would cost as a case
        return [forward(params, ids) for _ in range(3 if batch * length < 4096 else 1)]

    timers.add("forward", forwards)
    for case in cases_of(tokens):
        _add_case(timers, model, case, params, ids)
        if there is not None:
            there._add_case(timers, model, case, params, ids, where="there")
    timers.run(turns)
    single = len(forwards())
    timers.seconds["forward"] = [s / single for s in timers.seconds["forward"]]
    rows = [_row(timers, model, tokens, case) for case in cases_of(tokens)]
    if there is None:
        return rows
    pairs = zip(rows, cases_of(tokens), strict=True)
    return [row | {"step here / there": _against(timers, case)} for row, case in pairs]


def _against(timers: Timers, case: Case) -> float:
    """The median over the turns."""
    pairs = zip(timers.seconds[case, "step"], timers.seconds[case, "stepthere"], strict=True)
    return statistics.median(here / there for here, there in pairs)


def _add_case(
    timers: Timers, model: Transformer, case: Case, params: Any, ids: Any, where: str = ""
) -> None:
    optimizer = optimizer_of(case)
    step, evaluations = step_of(model, optimizer), evaluations_of(model, case)
    # A step donates its parameters, so that each case has a copy of its own.
    held = {"params": jax.tree.map(jnp.copy, params)}
    held["state"] = optimizer.init(held["params"])
    learned = jax.tree.map(jnp.copy, held["state"][0].directions)

    def take_step():
        held["params"], held["state"] = step(held["params"], held["state"], ids)
        return held["state"]

    timers.add((case, "evaluations" + where), lambda: evaluations(params, learned, 0, ids))
    timers.add((case, "step" + where), take_step)


def _row(timers: Timers, model: Transformer, tokens: str, case: Case) -> dict[str, Any]:
    evaluations = timers.ratio((case, "evaluations"), "forward", K)
    step = timers.ratio((case, "step"), "forward", K)
    bounds = BOUNDS.get((tokens, case), (None, None)) if model == Transformer() else (None, None)
    return {
        "tokens": tokens,
        "layers": "scanned" if model.scanned else "unrolled",
        "directions": case.name(),
        "chunk": case.chunk_size or "default",
        "forward (s)": statistics.median(timers.seconds["forward"]),
        "evaluations": evaluations[0],
        "(minima)": evaluations[1],
        "step": step[0],
        "(minima) ": step[1],
        "bound met": _verdict(bounds, (evaluations[0], step[0])),
    }


def _verdict(bounds: tuple, values: tuple[float, float]) -> str:
    parts = [
        f"{value:.2f} <= {bound}: {'yes' if value <= bound else 'NO'}"
        for bound, value in zip(bounds, values, strict=True)
        if bound is not None
    ]
    return "; ".join(parts) or "-"


def measure_blocks(model: Transformer, tokens: str, turns: int) -> list[dict[str, Any]]:
    """MeZO and MeZO-BCD, one row a kind of direction; a call of the latter is a whole cycle."""
    batch, length = map(int, tokens.split("x"))
    params, ids = model.params(), model.tokens(batch, length)
    blocks = 1 + model.layers  # the embedding, and each layer
    timers, forward, rows = Timers(), forward_of(model), []
    timers.add("forward", lambda: [forward(params, ids) for _ in range(K)])
    makers = {"mezo": loren_jax.mezo, "mezo_bcd": loren_jax.mezo_bcd}
    for rank in (1, None):
        for name, make in makers.items():
            _add_steps(timers, (name, rank), make(1e-6, rank=rank), model, params, ids, blocks)
    timers.run(turns)
    for rank in (1, None):
        step = {n: statistics.median(timers.seconds[n, rank]) / blocks for n in makers}
        pairs = zip(timers.seconds["mezo", rank], timers.seconds["mezo_bcd", rank], strict=True)
        rows.append(
            {"tokens": tokens, "layers": "scanned" if model.scanned else "unrolled"}
            | {"directions": Case(rank, None).name()}
            | {"forward (s)": statistics.median(timers.seconds["forward"]) / K}
            | {f"{n} (s)": seconds for n, seconds in step.items()}
            | {"speed-up": statistics.median(mezo / bcd for mezo, bcd in pairs)}
        )
    return rows


def _add_steps(timers, name, optimizer, model, params, ids, number) -> None:
    """`number` steps in place, one after another."""
    step = loren_jax.train_step(model.loss, optimizer)
    held = {"params": jax.tree.map(jnp.copy, params)}
    held["state"] = optimizer.init(held["params"])

    def steps():
        for _ in range(number):
            held["params"], held["state"] = step(held["params"], held["state"], ids)
        return held["state"]

    timers.add(name, steps)


def measure_compile(layers: int, turns: int) -> list[dict[str, Any]]:
    """Seconds from a traced function to an executable; nothing runs."""
    scanned, unrolled = Transformer(layers=layers), Transformer(scanned=False)
    models: list[tuple[str, Any, jax.Array]] = [
        (f"{layers} scanned", scanned, scanned.tokens(8, 64)),
        (f"{unrolled.layers} unrolled", unrolled, unrolled.tokens(8, 64)),
        ("8 residual blocks", Residual(), Residual().images(8, 32)),
    ]
    rows = []
    for name, model, batch in models:
        params = model.params()
        bare = _compile_seconds(forward_of(model), (params, batch), turns)
        for case in (Case(1, None), Case(None, None)):
            loren, seconds = optimizer_of(case), {}
            mezo = loren_jax.mezo(1e-6, num_directions=K // 2, rank=case.rank)
            learned = loren.init(params)[0].directions
            evaluations = evaluations_of(model, case)
            seconds["evaluations"] = _compile_seconds(
                evaluations, (params, learned, 0, batch), turns
            )
            for method, optimizer in (("mezo", mezo), ("loren", loren)):
                arguments = params, optimizer.init(params), batch
                seconds[method] = _compile_seconds(step_of(model, optimizer), arguments, turns)
            ratios = {f"{what} / forward": value / bare for what, value in seconds.items()}
            bound = (COMPILE_RATIO, COMPILE_SECONDS) if case.rank else (None, None)
            rows.append(
                {"layers": name, "directions": case.name(), "forward (s)": bare}
                | {"step of loren (s)": seconds["loren"]}
                | ratios
                | {"bound met": _verdict(bound, (ratios["loren / forward"], seconds["loren"]))}
            )
    return rows


def _compile_seconds(fn: Any, arguments: tuple, turns: int) -> float:
    seconds = []
    for _ in range(turns):
        jax.clear_caches()
        start = time.perf_counter()
        fn.lower(*arguments).compile()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["transformer", "minilm"], default="transformer")
    parser.add_argument("--tokens", nargs="+", help="batch x length; 8x8 8x64 by default")
    parser.add_argument("--unrolled", action="store_true", help="layers as a list")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--blocks", action="store_true", help="MeZO-BCD against MeZO instead")
    parser.add_argument("--compile", action="store_true", help="compile time instead")
    parser.add_argument("--quick", action="store_true", help="a tiny model, one turn")
    parser.add_argument("--against", help="checkout of another version, to take turns with")
    options = parser.parse_args()
    if options.against is not None and (options.blocks or options.compile):
        parser.error("--against compares steps: leave --blocks and --compile out")
    turns = 1 if options.quick else options.turns
    minilm = options.model == "minilm"
    if minilm and (options.blocks or options.compile or options.unrolled or options.against):
        parser.error("--model minilm measures whole steps alone: leave the other options out")
    sizes = options.tokens or (["16x32", "64x64"] if minilm else ["8x8", "8x64"])
    if minilm:
        sizes = ["2x8"] if options.quick else sizes
        rows = [row for tokens in sizes for row in measure_minilm(tokens, turns)]
        name = f"step_time_minilm_{'_'.join(sizes)}"
    elif options.compile:
        rows, name = measure_compile(4 if options.quick else 24, turns), "compile_time"
    else:
        tiny = {"layers": 2, "width": 32, "hidden": 64, "vocabulary": 128} if options.quick else {}
        model = Transformer(**tiny, scanned=not options.unrolled)
        sizes = ["8x8"] if options.quick else sizes
        there = () if options.against is None else (version_of(options.against),)
        run = measure_blocks if options.blocks else measure
        rows = [row for tokens in sizes for row in run(model, tokens, turns, *there)]
        kind = "unrolled" if options.unrolled else "scanned"
        what = "block_time" if options.blocks else "step_time"
        name = f"{what}_{kind}_{'_'.join(sizes)}"
    print(table(rows))
    if not options.quick:
        print("saved", save(name, rows, queries=K, turns=turns))


if __name__ == "__main__":
    main()
