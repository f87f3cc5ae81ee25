"""Models of Flax, Equinox and Keras as named parameters and functions of them.

A model holds its weights; a loss of this library is a function of them. `from_nnx`, `from_linen`,
`from_equinox` and `from_keras` take the two apart, each to the same few parts (`Functional`). What
else a model holds, as the running statistics of a BatchNorm and the keys of a Dropout, stays as it
is unless it is asked for by name. No framework is imported before one of them is called.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax

from loren_jax import noise
from loren_jax.types import PyTree, Seed


class Functional(NamedTuple):
    """A model taken apart.

    Attributes:
      params: what is trained, by name: masks and journals know its leaves by their paths. They are
        the model's own arrays: a step in place (`train_step`) needs a copy of them.
      state: what the model itself changes when it is called, as running statistics; `()` where
        there is nothing.
      merge: `(params, state=None, key=None) -> model`, to be called as its framework has it, also
        under `jax.jit`. Without a state it has the one above. All random numbers of the model come
        from the key, an integer or a JAX key; without one they are the same in each call.
      changed: `model -> state`, after a merged model was called.

    Training with dropout and statistics that follow the steps needs no more than these:

    >>> def loss(params, state, batch, key):
    ...     model = functional.merge(params, state, key)  # one key for all queries of a step
    ...     value = model(batch).mean()
    ...     return value, functional.changed(model)  # with `has_aux=True`, of each query
    """

    params: PyTree
    state: PyTree
    merge: Callable[..., Any]
    changed: Callable[[Any], PyTree]

    def loss(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A loss of the model as one of its parameters, for `fit`, `train_step` and `value_fn`.

        Args:
          function: `(model, *batch) -> scalar`, as you would write it for gradients.

        Returns:
          `(params, *batch) -> scalar`. State and random numbers of the model are held fixed.
        """
        return lambda params, *batch: function(self.merge(params), *batch)

    def refresh(
        self, function: Callable[..., Any], params: PyTree, *batch: PyTree, state: PyTree = None
    ) -> PyTree:
        """The state after one more forward pass, as for the statistics of a BatchNorm.

        In training mode such a layer goes by the batch, so the steps need no statistics: a few
        passes like this one before an evaluation make them.

        Args:
          function: `(model, *batch)`, which calls the model; what it returns is left.
          params: the parameters.
          *batch: what the function takes.
          state: the state before the pass; None for the one that the model came with.

        Returns:
          The state behind it.
        """
        model = self.merge(params, state)
        function(model, *batch)
        return self.changed(model)


def from_nnx(model: Any, filter: Any = None) -> Functional:
    """A Flax NNX module.

    Args:
      model: the module, in the mode (`train`, `eval`) that it is to be called in.
      filter: which of its variables are trained, as `nnx.split` takes it; None for `nnx.Param`.

    Returns:
      Its parts; `merge` gives a new module each time. The state are the variables that are neither
      trained nor an `nnx.Param`, without random keys.

    >>> from flax import nnx
    >>> import loren_jax
    >>> model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    >>> functional = from_nnx(model)
    >>> loss = functional.loss(lambda model, x: ((model(x) - 1.0) ** 2).mean())
    >>> optimizer = loren_jax.loren(0.1)
    >>> step = loren_jax.train_step(loss, optimizer)
    >>> params = jax.tree.map(jax.numpy.copy, functional.params)
    >>> params, _ = step(params, optimizer.init(params), jax.numpy.ones((4, 3)))
    >>> trained = functional.merge(params)
    >>> trained(jax.numpy.ones((4, 3))).shape
    (4, 1)
    """
    from flax import nnx

    kinds = (nnx.Param if filter is None else filter, nnx.RngKey, nnx.RngCount)
    kinds = (*kinds, nnx.Not(nnx.Param), ...)
    graph, params, keys, counts, first, rest = nnx.split(model, *kinds)
    _require_params(params, "model", "filter")

    def merge(params: PyTree, state: PyTree = None, key: Seed | None = None) -> Any:
        state = first if state is None else state
        numbers = (keys, counts) if key is None else (_keys_like(keys, key), _zeros_like(counts))
        # A layer that changes itself is to change variables of its own, not the model's.
        return nnx.merge(graph, params, *numbers, state, rest, copy=True)

    return Functional(params, first, merge, lambda model: nnx.split(model, *kinds)[4])


def from_linen(module: Any, variables: Mapping[str, PyTree]) -> Functional:
    """A Flax Linen module and its variables.

    Args:
      module: the module.
      variables: what `module.init` gives: `params`, and other collections such as `batch_stats`.

    Returns:
      Its parts; `merge` gives the module bound to the variables (`module.bind`), which has them as
      `model.variables`. The state are the collections besides `params`.

    Raises:
      ValueError: there is no collection `params`.

    >>> from flax import linen as nn
    >>> module, x = nn.Dense(1), jax.numpy.ones((4, 3))
    >>> functional = from_linen(module, module.init(jax.random.key(0), x))
    >>> loss = functional.loss(lambda model, x: ((model(x) - 1.0) ** 2).mean())
    >>> loss(functional.params, x).shape
    ()
    """
    if "params" not in variables:
        raise ValueError(
            f"variables has the collections {sorted(variables)} and no params: pass all that "
            "module.init returns, not variables['params']."
        )
    others = lambda variables: {n: tree for n, tree in variables.items() if n != "params"}

    def merge(params: PyTree, state: PyTree = None, key: Seed | None = None) -> Any:
        state = others(variables) if state is None else state
        root = noise.run_key(0 if key is None else key)
        # `make_rng` takes the stream of the parameters where it finds none of the name.
        rngs = {name: noise.fold_name(root, name) for name in ("params", "dropout")}
        return module.bind({**state, "params": params}, rngs=rngs, mutable=list(state))

    changed = lambda model: others(model.variables)
    return Functional(variables["params"], others(variables), merge, changed)


def from_equinox(module: PyTree, filter: Any = None) -> Functional:
    """An Equinox module.

    Equinox hands state and keys through its calls, so the function of a loss has them: as a part of
    the batch.

    Args:
      module: the module.
      filter: which of its leaves are trained, as `equinox.partition` takes it; None for
        `equinox.is_inexact_array`.

    Returns:
      Its parts; `merge` gives a module. There is no state.

    >>> import equinox as eqx
    >>> functional = from_equinox(eqx.nn.Linear(3, 1, key=jax.random.key(0)))
    >>> loss = functional.loss(lambda module, x: ((jax.vmap(module)(x) - 1.0) ** 2).mean())
    >>> loss(functional.params, jax.numpy.ones((4, 3))).shape
    ()
    """
    import equinox

    params, rest = equinox.partition(module, filter or equinox.is_inexact_array)
    _require_params(params, "module", "filter")

    def merge(params: PyTree, state: PyTree = None, key: Seed | None = None) -> Any:
        if state or key is not None:
            name = "key" if state is None or state == () else "state"
            raise ValueError(
                f"{name} was given to an Equinox module, which holds none: pass it where the "
                f"module is called, model(x, {name}), in the function of the loss."
            )
        return equinox.combine(params, rest)

    return Functional(params, (), merge, lambda module: ())


def from_keras(model: Any) -> Functional:
    """A Keras model whose backend is JAX.

    Args:
      model: the model, built.

    Returns:
      Its parts; `merge` gives a `KerasCall`. Parameters and state are nested by the names in the
      variables' `path` behind the model's own, such as `{"dense": {"kernel": ...}}`; of two
      variables of one path the second has an underscore more. Name layers yourself where a run is
      to be resumed: Keras numbers those without a name anew in each program.

    Raises:
      ValueError: Keras runs on another backend.

    >>> import os
    >>> os.environ["KERAS_BACKEND"] = "jax"
    >>> import keras
    >>> last = keras.layers.Dense(1, use_bias=False, name="last")
    >>> model = keras.Sequential([keras.layers.Input((3,)), last])
    >>> functional = from_keras(model)
    >>> loss = functional.loss(lambda model, x: ((model(x) - 1.0) ** 2).mean())
    >>> loss(functional.params, jax.numpy.ones((4, 3))).shape
    ()
    >>> functional.merge(functional.params).assign()  # what was trained goes into the Keras model
    """
    keras = importlib.import_module("keras")
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"Keras runs on {keras.backend.backend()}: set the environment variable "
            "KERAS_BACKEND=jax before it is imported."
        )
    trained, other = model.trainable_variables, model.non_trainable_variables
    inner = lambda v: v.path.removeprefix(f"{model.name}/")
    places, others = (_places(map(inner, some)) for some in (trained, other))
    params = _nest(places, [v.value for v in trained])
    _require_params(params, "model", "trainable")
    values = [v.value for v in other]

    def merge(params: PyTree, state: PyTree = None, key: Seed | None = None) -> KerasCall:
        now = values if state is None else [_at(state, place) for place in others]
        if key is not None:
            root = noise.run_key(key)
            seeds = [v.path.endswith("seed_generator_state") for v in other]
            pairs = zip(seeds, others, now, strict=True)
            draw = lambda place: noise.words(noise.fold_name(root, "/".join(place)))
            now = [draw(place) if is_seed else value for is_seed, place, value in pairs]
        return KerasCall(model, [_at(params, place) for place in places], now)

    changed = lambda call: _nest(others, call.other)
    return Functional(params, _nest(others, values), merge, changed)


class KerasCall:
    """A Keras model with values in place of its own variables.

    Args:
      model: the Keras model, which is not changed by calls.
      trained: values of its trainable variables.
      other: of the others; after a call those behind it.
    """

    def __init__(self, model: Any, trained: list[Any], other: list[Any]):
        self.model, self.trained, self.other = model, trained, other

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The outputs, as of the Keras model: `model(x, training=True)`."""
        outputs, self.other = self.model.stateless_call(
            self.trained, self.other, *inputs, **options
        )
        return outputs

    def assign(self) -> None:
        """Puts the values into the Keras model."""
        variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        for variable, value in zip(variables, [*self.trained, *self.other], strict=True):
            variable.assign(value)


def _require_params(params: PyTree, what: str, where: str) -> None:
    if not jax.tree.leaves(params):
        raise ValueError(
            f"{what} has nothing to train: no variable of it is what {where} asks for."
        )


def _keys_like(keys: PyTree, key: Seed) -> PyTree:
    """Keys of their own for each of these, by path and number, made of one."""
    root = noise.run_key(key)
    own = lambda path, old: noise.fold_all(
        noise.fold_name(root, "/".join(noise.path_names(path))), old.shape
    )
    return jax.tree_util.tree_map_with_path(own, keys)


def _zeros_like(counts: PyTree) -> PyTree:
    return jax.tree.map(jax.numpy.zeros_like, counts)


_Place = tuple[str, ...]


def _places(paths: Iterable[str]) -> list[_Place]:
    """Where variables of these paths are in a tree, no two in one place."""
    found: list[_Place] = []
    for path in paths:
        place = tuple(path.split("/"))
        while place in found:
            place = (*place[:-1], place[-1] + "_")
        found.append(place)
    return found


def _nest(places: Iterable[_Place], values: Iterable[Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for place, value in zip(places, values, strict=True):
        inner = tree
        for name in place[:-1]:
            inner = inner.setdefault(name, {})
        inner[place[-1]] = value
    return tree


def _at(tree: PyTree, place: _Place) -> Any:
    for name in place:
        tree = tree[name]
    return tree
