"""The oracle: copies in double precision, and how far rounding excuses a difference.

Three losses of each query are compared, and numbers of what leaves beside them: `exact`, of the
program with all inexact types made double on copies that are summed in double; `copies`, of the
program as it is on copies rounded to the weights' types; `perturbed`, the one that is tested.
What `copies` differs from `exact` by is rounding, and the program's own; perturbed evaluation may
round a few times as much. A program whose copies do not round has to be met to float32, or to
double if all of it is.
"""

import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.evaluation import evaluate_queries, materialised, perturbed

from .perturbations import dense
from .precision import DOUBLE, OWN, is_floating, spacing
from .programs import Program

MARGIN = 4.0
"""How many times as much as copies perturbed evaluation may round."""

JITTERS = (3, 60)
"""How often weights are moved by a unit to see what that does: seldom, and often before a verdict,
as `round` and its like jump for few of the moves."""


@dataclass(frozen=True)
class Verdict:
    """What came of a program.

    Attributes:
      kind: "right", "weak" (the perturbation hardly changes the loss), "rounding" (excused by
        copies that are moved by one unit in the last place), "skipped" (the copies raise) or
        "wrong".
      what: for a wrong one, what; else why it was skipped.
      exact: losses in double precision.
      actual: losses of perturbed evaluation.
      tolerance: what was allowed, of the loss and of what leaves beside it.
      where: a short name of the failure, to tell kinds apart.
    """

    kind: str
    what: str = ""
    exact: Any = None
    actual: Any = None
    tolerance: Any = 0.0
    where: str = ""


def judge(program: Program) -> Verdict:
    """Runs a program in all three ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with jax.enable_x64(program.x64):
            moved = [_moved(program, move) for move in program.directions]
        still = [w.astype(np.float64) for w in program.weights]
        try:
            copies = _losses(program, [still, *moved])
            exact, size = _exact(program, [still, *moved])
        except Exception as error:
            return Verdict("skipped", f"{type(error).__name__}: {error}"[:300])
        return _compared(program, [still, *moved], copies, exact, size)


def _moved(program: Program, move: Sequence[Any]) -> list[np.ndarray]:
    pairs = zip(program.weights, move, strict=True)
    return [w.astype(np.float64) + program.scale * dense(d) for w, d in pairs]


def _losses(
    program: Program, points: Sequence[Sequence[np.ndarray]], compile: Any = jax.jit
) -> np.ndarray:
    """In the program's own types; every copy is rounded once."""
    with jax.enable_x64(program.x64):
        compiled = compile(lambda params: program.value(OWN, params))
        found = []
        for point in points:
            pairs = zip(point, program.weights, strict=True)
            found.append(compiled(tuple(jnp.asarray(p.astype(w.dtype)) for p, w in pairs)))
        return _numbers(program, found)


def _numbers(program: Program, results: Sequence[Any]) -> np.ndarray:
    """What each query returned, as a row of numbers; raises where shapes or types are not its."""
    for result in results if program.more else ():
        for i in program.more:
            (array,) = result["more"][f"value {i}"]
            shape, dtype = program.shape_and_dtype(i)
            if (array.shape, array.dtype) != (shape, dtype):
                raise TypeError(f"%{i} is {array.dtype}{array.shape}, not {dtype}{shape}")
    results = [jax.tree.map(np.asarray, result) for result in results]
    return np.asarray([program.numbers(result) for result in results], np.float64)


def _exact(
    program: Program, points: Sequence[Sequence[np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers, and the largest sums of absolute terms."""
    with jax.enable_x64(True):
        compiled = jax.jit(lambda params: program.numbers_and_sizes(DOUBLE, params))
        pairs = [compiled(tuple(map(jnp.asarray, point))) for point in points]
        return np.asarray([n for n, _ in pairs]), np.max([s for _, s in pairs], axis=0)


def _compared(
    program: Program, points: Any, copies: np.ndarray, exact: np.ndarray, size: np.ndarray
) -> Verdict:
    try:
        actual = run(program)
    except Exception as error:
        return _raised(program, error, exact)
    spread = np.max(np.abs(exact[1:] - exact[0]), axis=0)
    floor = _floor(program, size, spread)
    tolerance = floor + MARGIN * np.max(np.abs(copies - exact), axis=0)
    error = np.max(np.abs(actual - exact[1:]), axis=0)
    kind = "right" if spread[0] > 4 * tolerance[0] else "weak"
    if not np.isfinite(exact).all() or not np.isfinite(copies).all():
        return Verdict("skipped", "the copies' loss is not finite")
    if (error <= tolerance).all():
        verdict = Verdict(kind, exact=exact[1:], actual=actual, tolerance=tolerance)
        return _by_package(program, verdict)
    tolerance = tolerance + MARGIN * _rounding_of_each(program, points, exact)
    # A value between two operations may be rounded where the copies' happened to be exact.
    tolerance += max(spacing(d) for d in program.dtypes if is_floating(d)) * size / 4
    for draws in JITTERS:
        allowed = tolerance + MARGIN * _jitter(program, points, copies, exact, draws)
        if (error <= allowed).all():
            return Verdict("rounding", "", exact[1:], actual, allowed)
    # Of what leaves beside the loss, the worst; the loss itself comes first.
    place = int(np.argmax(~(error <= allowed)))
    copies, exact, actual = copies[:, place], exact[:, place], actual[:, place]
    error, spread, allowed, size = (x[place] for x in (error, spread, allowed, size))
    double_only = program.dtypes == {np.dtype(np.float64)}
    what = f"%{program.more[place - 1]} beside the loss: " if place else ""
    what += f"losses {actual}, copies {copies[1:]}, in double {exact[1:]}, unmoved {exact[0]:.8g}"
    share = error / spread if spread else np.inf
    what += f"; wrong by {share:.2g} of the spread, allowed {allowed:.2g}"
    single = double_only and error <= 1e-6 * (size + spread)
    where = "double rounded to single" if single else "wrong losses"
    return Verdict("wrong", what, exact[1:], actual, allowed, where)


def _by_package(program: Program, verdict: Verdict) -> Verdict:
    """For some programs the package's own copies too, which are its oracle."""
    if program.seed % 8:
        return verdict
    try:
        actual = materialised_losses(program)
    except Exception as error:
        line = str(error).splitlines()[0][:200]
        what = f"`materialised` raises {type(error).__name__}: {line}"
        return replace(verdict, kind="wrong", what=what, where="materialised raises")
    if (np.max(np.abs(actual - verdict.exact), axis=0) <= verdict.tolerance).all():
        return verdict
    what = f"losses of `materialised` {actual}, in double {verdict.exact}"
    return replace(verdict, kind="wrong", what=what, actual=actual, where="materialised is wrong")


def _floor(program: Program, size: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """What counts as equal where copies do not round."""
    double = program.dtypes == {np.dtype(np.float64)}
    drawn = any("covariance" in kind or "Seeded" in kind for kind in program.kinds)
    if double:
        return 1e-11 * (size + 1) + 2e-6 * spread * drawn
    return 2e-6 * (size + 1) + 2e-5 * spread


def _jitter(
    program: Program, points: Any, copies: np.ndarray, exact: np.ndarray, draws: int
) -> Any:
    """How far numbers go when weights move by about one unit in the last place.

    Where copies do not round at all, a narrow type is no excuse: then the unit is float32's. Where
    they do it is that of the narrowest type, which a weight may be cast to before or after the sum.
    """
    rng = np.random.default_rng(program.seed)
    rounds = float(np.max(np.abs(copies - exact))) > 1e-6 * (1 + float(np.max(np.abs(exact))))
    narrowest = max(spacing(d) for d in program.dtypes if is_floating(d))
    widest = np.zeros(exact.shape[1])
    for _ in range(draws):
        near = []
        for point in points:
            moved = []
            for p, w in zip(point, program.weights, strict=True):
                unit = narrowest if rounds else spacing(w.dtype)
                if unit > 1e-6 and not (rounds and is_floating(w.dtype)):
                    unit = 1e-7
                # Of the terms of `weight + scale * direction`, which may nearly cancel.
                sizes = np.abs(p) + np.abs(w.astype(np.float64))
                moved.append(p + unit * sizes * rng.choice([-1, -0.5, 0.5, 1], p.shape))
            near.append(moved)
        try:
            found = [_exact(program, near)[0], _losses(program, near) if rounds else exact]
        except Exception:
            continue
        widest = np.max([widest, *(np.max(np.abs(f - exact), axis=0) for f in found)], axis=0)
    return widest


def _rounding_of_each(program: Program, points: Any, exact: np.ndarray) -> Any:
    """What it costs that every operation rounds, of which a compiler leaves out what it likes.

    A narrow value that is kept wide between two operations of the compiled copies may be rounded in
    another program with the same meaning.
    """
    try:
        found = _losses(program, points, compile=lambda function: function)
    except Exception:
        return np.zeros(exact.shape[1])
    return np.max(np.abs(found - exact), axis=0)


def run(program: Program) -> np.ndarray:
    """The losses by perturbed evaluation, in the program's mode."""
    with jax.enable_x64(program.x64), program.limits.set():
        params = tuple(jnp.asarray(w) for w in program.weights)
        value_fn = lambda p: program.value(OWN, p)
        scale = jnp.asarray(program.scale, jnp.float32)
        if program.mode == "queries":
            moves = _stacked(program)
            run = lambda moves: evaluate_queries(
                value_fn, params, moves, points=(1.0,), scale=scale, evaluation=perturbed,
                chunk_size=1 + program.seed % 2, axes=program.axes,
            )  # fmt: skip
            return _unstacked(program, jax.tree.map(lambda x: x[:, 0], jax.jit(run)(moves)))
        one = lambda move: perturbed(value_fn, params).run(move, scale)
        one = jax.jit(one) if program.mode == "jit one" else one
        if "one" in program.mode:
            return _numbers(program, [one(move) for move in program.directions])
        every = jax.vmap(one, in_axes=(program.axes,))
        every = jax.jit(every) if program.mode == "jit vmap" else every
        return _unstacked(program, every(_stacked(program)))


def _unstacked(program: Program, results: Any) -> np.ndarray:
    """The numbers of results that have an axis of the queries."""
    results, each = jax.tree.map(np.asarray, results), range(len(program.directions))
    return _numbers(program, [jax.tree.map(lambda x, i=i: x[i], results) for i in each])


def _stacked(program: Program) -> Any:
    leaves = [jax.tree.leaves(move) for move in program.directions]
    treedef = jax.tree.structure(program.directions[0])
    axes = treedef.flatten_up_to(_spread(program))
    columns = zip(*leaves, strict=True)
    return treedef.unflatten(
        [c[0] if a is None else _stack(c) for c, a in zip(columns, axes, strict=True)]
    )


def _stack(leaves: Sequence[Any]) -> Any:
    keys = jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key)
    return jnp.stack(leaves) if keys else np.stack(leaves)


def _spread(program: Program) -> Any:
    """The axes with an entry for every array."""
    none = lambda x: x is None
    return jax.tree.broadcast(program.axes, program.directions[0], is_leaf=none)


def materialised_losses(program: Program) -> np.ndarray:
    """By the package's own copies."""
    with jax.enable_x64(program.x64), program.limits.set():
        params = tuple(jnp.asarray(w) for w in program.weights)
        query = materialised(lambda p: program.value(OWN, p), params)
        scale = jnp.asarray(program.scale, jnp.float32)
        compiled = jax.jit(lambda move: query.run(move, scale))
        return _numbers(program, [compiled(move) for move in program.directions])


def _raised(program: Program, error: Exception, exact: np.ndarray) -> Verdict:
    """A failure, unless the copies cannot be run in this way either."""
    if "uses none of the perturbed leaves" in str(error) and not np.ptp(exact, axis=0).any():
        return Verdict("skipped", "no perturbed weight matters")
    if program.mode != "one":
        try:
            _copies_in_mode(program)
        except Exception as own:
            return Verdict("skipped", f"copies, {program.mode}: {type(own).__name__}: {own}"[:300])
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if "loren_jax" in f.filename and "tests" not in f.filename]
    place = inside[-1] if inside else frames[-1]
    file = "/".join(place.filename.split("/")[-2:])
    line = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
    what = f"raises {type(error).__name__}: {line} (at {file}:{place.lineno} in {place.name})"
    return Verdict("wrong", what, exact[1:], where=f"{type(error).__name__} at {file}:{place.name}")


def _copies_in_mode(program: Program) -> None:
    """The copies, compiled and mapped as the queries were; raises where that cannot be."""
    with jax.enable_x64(program.x64):
        params = tuple(jnp.asarray(w) for w in program.weights)
        one = lambda p: program.value(OWN, p)
        # A loop over queries is no `vmap`, so their programs need no rule for one.
        loop = "one" in program.mode or (program.mode == "queries" and program.seed % 2 == 0)
        if loop:
            jax.jit(one)(params)
        else:
            jax.jit(jax.vmap(one))(jax.tree.map(lambda p: jnp.stack([p, p]), params))
