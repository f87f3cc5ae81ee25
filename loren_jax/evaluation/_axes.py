"""Which axes of a leaf a loss sums over, read off how the loss uses it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.extend import core

from loren_jax import noise
from loren_jax.directions.matrices import view_of
from loren_jax.evaluation._perturbed.control_flow import BODIES, CALLS
from loren_jax.evaluation._perturbed.one_layer import scan_inputs
from loren_jax.evaluation._perturbed.reshaping import groups_of
from loren_jax.types import JSON, MatrixAxes, PyTree, ValueFn


@dataclass(frozen=True)
class UsedAxes:
    """The axes of leaves by use, as optimisers take them: `loren(matrix_axes=...)`.

    Attributes:
      axes: by path, of the leaves whose use tells.

    Called with the path and shape of a leaf it gives the leaf's axes, or None where the use of the
    leaf does not tell: then its name does.
    """

    axes: Mapping[str, MatrixAxes]

    def __call__(self, path: str, shape: tuple[int, ...]) -> MatrixAxes | None:
        """The axes of one leaf."""
        return self.axes.get(path)

    def beside_names(self, params: PyTree) -> dict[str, JSON]:
        """As JSON values, those that the leaves' names would not give."""
        leaves = jax.tree_util.tree_leaves_with_path(params)
        pairs = [(path, view_of(path, leaf), view_of(path, leaf, self)) for path, leaf in leaves]
        return {
            "/".join(noise.path_names(path)): [list(used.fan_in), list(used.fan_out)]
            for path, named, used in pairs
            if used != named
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "UsedAxes":
        """The inverse of `beside_names`, whose other leaves go by their names."""
        sides = {path: [tuple(side) for side in axes] for path, axes in values.items()}
        return cls({path: MatrixAxes(*axes) for path, axes in sides.items()})


def matrix_axes(value_fn: ValueFn, params: PyTree) -> UsedAxes:
    """Which axes of each leaf are fan-in and fan-out, from how a loss uses it.

    Fan-in is what a product or convolution sums over, fan-out what it leaves; the units that are
    looked up are fan-out, as the words of an embedding. What loops run over, and what goes with an
    axis of the activation, is the stack. A leaf of which only vectors are used is a stack of them.
    The first product decides; where there is none, a look-up. Nothing is computed.

    Args:
      value_fn: the loss, `params -> scalar`.
      params: the parameters, or their shapes.

    Returns:
      What every optimiser takes as `matrix_axes`. It depends on the loss, so a run that is resumed
      or replayed needs the same one.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> params = {"query": jnp.ones((8, 2, 4))}  # (fan_in, heads, size)
    >>> loss = lambda params: jnp.sum(jnp.einsum("bi,ihd->bhd", jnp.ones((3, 8)), params["query"]))
    >>> axes = matrix_axes(loss, params)
    >>> axes("query", (8, 2, 4))
    MatrixAxes(fan_in=(0,), fan_out=(1, 2))
    >>> optimizer = loren_jax.loren(0.1, rank=1, matrix_axes=axes)
    """
    closed = jax.make_jaxpr(value_fn)(params)
    leaves, walk = jax.tree.leaves(params), _Walk()
    shapes = [jax.numpy.shape(leaf) for leaf in leaves]
    every = [frozenset({i}) for i in range(max(map(len, shapes), default=0))]
    tracks = [
        _Track(n, tuple(every[: len(shape)])) if len(shape) > 1 else None
        for n, shape in enumerate(shapes)
    ]
    walk.run(closed.jaxpr, tracks)
    paths = noise.noise_paths(params)
    return UsedAxes({paths[n]: uses[max(uses)] for n, uses in sorted(walk.found.items())})


@dataclass(frozen=True)
class _Track:
    """A value that comes from a leaf: for each of its axes the leaf's axes that it comes from."""

    leaf: int
    axes: tuple[frozenset[int], ...]

    def move(self, axes: Iterable[frozenset[int]]) -> "_Track":
        return _Track(self.leaf, tuple(axes))

    def of(self, places: Iterable[int]) -> frozenset[int]:
        """The leaf's axes of some of the value's."""
        return frozenset[int]().union(*(self.axes[i] for i in places))


_NEW = frozenset[int]()
_VECTOR, _LOOK_UP, _PRODUCT = range(3)
"""Kinds of use, by how much they tell."""

_Values = list[_Track | None]


@dataclass(frozen=True)
class _Walk:
    """Through a jaxpr and all that it calls; `found` has the first use of each kind by leaf."""

    found: dict[int, dict[int, MatrixAxes]] = field(default_factory=dict)

    def run(self, jaxpr: core.Jaxpr | core.ClosedJaxpr, inputs: Sequence[_Track | None]) -> _Values:
        """The outputs."""
        jaxpr = jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr
        known = dict(zip(jaxpr.invars, inputs, strict=True))
        read = lambda v: None if isinstance(v, core.Literal) else known.get(v)
        for equation in jaxpr.eqns:
            values = [read(v) for v in equation.invars]
            outputs = self.equation(equation, values) if any(values) else []
            known |= zip(equation.outvars, outputs, strict=False)
        return [read(v) for v in jaxpr.outvars]

    def equation(self, equation: core.JaxprEqn, values: _Values) -> _Values:
        """What comes of one equation; nothing where the leaf's axes are lost."""
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            before, start, behind = scan_inputs(equation, values)
            rows = [x and x.move(x.axes[1:]) for x in behind]
            self.run(params["jaxpr"], [*before, *start, *rows])
            return []
        if name == "while":
            first, second = params["cond_nconsts"], params["body_nconsts"]
            self.run(params["body_jaxpr"], [*values[first:][:second], *values[first + second :]])
            return []
        if name == "cond":
            outputs = [self.run(branch, values[1:]) for branch in params["branches"]]
            return outputs[0]
        called = name in CALLS or name == "shard_map"
        for body in (params[word] for word in BODIES if called and word in params):
            return self.run(body, values)
        uses = {
            "dot_general": _dot,
            "ragged_dot_general": _ragged,
            "conv_general_dilated": _convolution,
        }
        if name in uses:
            for value, summed, left in uses[name](equation, values):
                self.use(value, _PRODUCT, summed, left)
            return []
        if not equation.outvars:  # a callback, as of `jax.debug.print`
            return []
        if name == "gather" and values[0] is not None:
            return [self.look_up(equation, values[0])]
        return [self.move(equation, values)] * len(equation.outvars)

    def use(
        self, value: _Track, kind: int, fan_in: frozenset[int], fan_out: frozenset[int]
    ) -> None:
        """Notes a use, unless the axes are mixed or one side has none."""
        if fan_in and not fan_in & fan_out and bool(fan_out) == (kind != _VECTOR):
            axes = MatrixAxes(tuple(sorted(fan_in)), tuple(sorted(fan_out)))
            self.found.setdefault(value.leaf, {}).setdefault(kind, axes)

    def look_up(self, equation: core.JaxprEqn, value: _Track) -> _Track:
        """Of rows: those are fan-out, and go."""
        numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
        gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
        rows = [i for i in numbers.start_index_map if sizes[i] == 1]
        kept = [i for i in range(len(sizes)) if i not in gone]
        self.use(value, _LOOK_UP, value.of(i for i in kept if i not in rows), value.of(rows))
        rest = iter(kept)
        shape: Any = equation.outvars[0].aval
        places = range(len(shape.shape))
        return value.move(
            value.axes[next(rest)] if i in numbers.offset_dims else _NEW for i in places
        )

    def move(self, equation: core.JaxprEqn, values: _Values) -> _Track | None:
        """Axes put elsewhere, or arithmetic that leaves them where they are."""
        value, name = next(x for x in values if x is not None), equation.primitive.name
        place, params = values.index(value), equation.params
        old: Any = equation.invars[place].aval
        new: Any = equation.outvars[0].aval
        if name == "transpose":
            return value.move(value.axes[i] for i in params["permutation"])
        if name == "reshape":
            axes = [_NEW] * len(new.shape)
            for olds, news in groups_of(old.shape, new.shape):
                for i in news:
                    axes[i] = value.of(olds)
            return value.move(axes)
        if name == "broadcast_in_dim":
            axes = [_NEW] * len(new.shape)
            for own, i in zip(value.axes, params["broadcast_dimensions"], strict=True):
                axes[i] = own
            return value.move(axes)
        if name == "squeeze" or name.startswith("reduce_"):
            gone = params.get("dimensions", params.get("axes", ()))
            return value.move(a for i, a in enumerate(value.axes) if i not in gone)
        if len(old.shape) != len(new.shape):
            return None
        spread = old.shape != new.shape or _NEW in value.axes  # by the operation, or before it
        if spread and len(equation.invars) > 1 and name in ("add", "sub", "mul"):
            own = [i for i, size in enumerate(old.shape) if size > 1 and value.axes[i]]
            if len(own) == 1:
                self.use(value, _VECTOR, value.of(own), _NEW)
            return None
        return value


def _dot(equation: core.JaxprEqn, values: _Values) -> list[tuple[_Track, Any, Any]]:
    contracted, batch = equation.params["dimension_numbers"]
    return [
        (x, x.of(gone), x.of(i for i in range(len(x.axes)) if i not in (*gone, *apart)))
        for x, gone, apart in zip(values, contracted, batch, strict=True)
        if x is not None
    ]


def _ragged(equation: core.JaxprEqn, values: _Values) -> list[tuple[_Track, Any, Any]]:
    numbers, x = equation.params["ragged_dot_dimension_numbers"], values[1]
    (_, gone), (_, batch) = numbers.dot_dimension_numbers
    if x is None:
        return []
    apart = (*gone, *batch, *numbers.rhs_group_dimensions)
    return [(x, x.of(gone), x.of(i for i in range(len(x.axes)) if i not in apart))]


def _convolution(equation: core.JaxprEqn, values: _Values) -> list[tuple[_Track, Any, Any]]:
    out, *rest = equation.params["dimension_numbers"].rhs_spec
    x = values[1]
    return [] if x is None else [(x, x.of(rest), x.of([out]))]
