"""Options are exactly the factories' own arguments."""

import dataclasses
import inspect
import json
import subprocess
import sys
import types
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.journal import Method
from loren_jax.journal.factors import digest
from loren_jax.optimizers import METHODS
from loren_jax.train import OPTIONS, LorenOptions, MezoOptions, TrainConfig
from loren_jax.train.methods import method_name, methods_table, options_named, passes_of_step
from loren_jax.train.options import MethodOptions, options_of
from loren_jax.transformation import ZerothOrder
from loren_jax.types import Rank

NOT_OPTIONS = {"key", "matrix_axes", "evaluation", "blocks", "always", "factors"}


@pytest.mark.parametrize("name", METHODS)
def test_options_are_the_arguments_of_the_factory_and_described(name):
    parameters = inspect.signature(METHODS[name].factory).parameters
    fields = {field.name: field.default for field in dataclasses.fields(OPTIONS[name])}
    assert set(fields) == set(parameters) - NOT_OPTIONS
    for field, default in fields.items():
        if field != "learning_rate":
            assert default == parameters[field].default, field
        described = inspect.getdoc(OPTIONS[name]).replace("Attributes:\n", "\n")
        assert f"\n  {field}: " in described


@pytest.mark.parametrize("name", METHODS)
def test_names_go_both_ways(name):
    options = options_named(name)(learning_rate=0.1)
    assert method_name(options) == name
    assert isinstance(options.build(), ZerothOrder)


@pytest.mark.parametrize(
    ("options", "wrong", "message"),
    [
        (LorenOptions, {"num_directions": 1}, "num_directions must be at least 2"),
        (LorenOptions, {"learning_rate": 0.0}, "learning_rate must be positive"),
        (LorenOptions, {"damping": -1.0}, "damping"),
        (MezoOptions, {"momentum": 1.0}, "momentum"),
        (MezoOptions, {"learning_rate": float("nan")}, "learning_rate must be positive"),
    ],
)
def test_options_out_of_range(options, wrong, message):
    with pytest.raises(ValueError, match=message):
        options(**{"learning_rate": 0.1, **wrong})


def test_a_schedule_replaces_the_learning_rate():
    optimizer = MezoOptions(learning_rate=1.0).build(learning_rate=lambda step: 0.0)
    params = jnp.ones(3)
    updates, _ = optimizer.update(
        None, optimizer.init(params), params, value_fn=lambda x: jnp.sum(x**2)
    )
    assert not jnp.any(updates)


def test_unknown_methods():
    with pytest.raises(ValueError, match=r"optimizer 'adam' is unknown; the optimisers are loren"):
        options_named("adam")

    class Foreign(MethodOptions):
        factory = staticmethod(lambda **arguments: None)
        learning_rate = 0.1

    with pytest.raises(TypeError, match="optimizer is a Foreign"):
        method_name(Foreign())


def test_what_a_step_costs():
    """Two directions; four minibatches hold the data."""
    cost = lambda name, step: passes_of_step(
        OPTIONS[name](learning_rate=0.1, num_directions=2), step, 4
    )
    assert [cost("loren", 0), cost("mezo", 0), cost("hizoo", 0), cost("zo_muon", 0)] == [2, 4, 5, 3]
    assert [cost("mezo_svrg", step) for step in range(4)] == [16, 8, 16, 8]


def test_the_table_has_a_line_for_each_method():
    head, *lines = methods_table().splitlines()
    assert [line.split()[0] for line in lines] == list(METHODS)
    for line in lines:
        assert line.index("  ") < head.index("forward passes")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_survives_a_file(name):
    """As a run's configuration, and as a journal describes it."""
    own = {"input_directions": 2} if name == "input_subspace" else {}
    config = TrainConfig(optimizer=OPTIONS[name](learning_rate=0.01), steps=7, **own)
    values = json.loads(json.dumps(config.as_json()))
    again = dataclasses.replace(config, output=config.directory.absolute(), protocol="clean")
    assert TrainConfig.from_json(values) == again
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}
    factors = {"kernel": np.ones((4, 2))} if own else None
    found = digest(factors) if factors else None
    description = Method(name, dataclasses.asdict(config.optimizer), seed=5, factors=found)
    read = Method.from_json(json.loads(json.dumps(description.as_json())))
    plain, again = (
        jax.eval_shape(made.build(factors=factors).init, params) for made in (description, read)
    )
    assert jax.tree.structure(again) == jax.tree.structure(plain)


def zo_sign(
    learning_rate: float,
    *,
    num_directions: int = 1,
    perturbation_scale: float = 1e-3,
    pair: tuple[int, float] = (1, 2.0),
    evaluation=None,
    key=0,
):
    """A method of one's own.

    Args:
      learning_rate: the step.
      num_directions: K.
      perturbation_scale: how far.
      pair: two numbers.
    """


def changed(factory, **changes):
    """The factory with other annotations or another docstring, or less an argument."""
    made = types.FunctionType(factory.__code__, factory.__globals__, factory.__name__)
    made.__doc__ = changes.get("doc", factory.__doc__)
    made.__annotations__ = factory.__annotations__ | changes.get("annotations", {})
    parameters = inspect.signature(factory).parameters
    made.__signature__ = inspect.Signature(
        [
            p.replace(annotation=changes.get("annotations", {}).get(n, p.annotation))
            for n, p in parameters.items()
            if n != changes.get("without")
        ]
    )
    return made


def test_words_and_numbers_stay_what_can_be_chosen():
    annotations = {"num_directions": Literal["few", "many"], "perturbation_scale": Rank}
    made = options_of(changed(zo_sign, annotations=annotations))
    kinds = {field.name: field.type for field in dataclasses.fields(made)}
    assert kinds["num_directions"] == Literal["few", "many"]
    assert kinds["perturbation_scale"] == int | Literal["auto"] | None
    assert kinds["learning_rate"] == float | None  # which a run may choose


def test_a_method_of_ones_own_has_options():
    assert [f.name for f in dataclasses.fields(options_of(zo_sign))] == [
        "learning_rate",
        "num_directions",
        "perturbation_scale",
        "pair",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"annotations": {"num_directions": inspect.Parameter.empty}},
            "'num_directions' has no ann",
        ),
        ({"annotations": {"pair": list}}, "'pair' is annotated <class 'list'>, which no option"),
        ({"annotations": {"pair": tuple[int, list]}}, r"'pair' is annotated tuple\[int, list\], "),
        ({"doc": None}, "the docstring has no section 'Args:'"),
        ({"doc": "A method.\n\nArgs: none."}, "the docstring has no section 'Args:'"),
        ({"doc": zo_sign.__doc__.replace("pair", "pairs")}, "'pair' is not in the docstring's sec"),
        ({"without": "evaluation"}, "argument 'evaluation' is missing"),
        ({"without": "num_directions"}, "argument 'num_directions' is missing"),
        ({"without": "key"}, "argument 'key' is missing"),
    ],
)
def test_what_a_method_of_ones_own_lacks_is_named_in_one_line(changes, said):
    with pytest.raises(
        TypeError, match=rf"^zo_sign: [^\n]*{said}[^\n]*: (add|annotate|make)[^\n]*$"
    ):
        options_of(changed(zo_sign, **changes))


def test_without_docstrings_there_is_no_help_but_every_method():
    """As `python -OO` runs."""
    code = "from loren_jax.train import OPTIONS; print(len(OPTIONS))"
    result = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == str(len(METHODS)), result.stderr
