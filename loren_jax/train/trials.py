"""The runs of a sweep: all combinations of the values of some options."""

import dataclasses
import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.reports.summary import Summary
from loren_jax.train.config import CONFIGS, RunConfig
from loren_jax.train.methods import MethodOptions, method_name, options_named

_FIXED = ("output", "overwrite", "seeds", "report_to")
"""Options that a sweep has as a whole."""


class Trial(NamedTuple):
    """One run of a sweep.

    Attributes:
      name: Its directory's name within that of the sweep.
      options: What was varied, by option.
      config: Its whole configuration.
      summary: Its numbers so far; None where it has none.
      state: `best`, `complete`, `stopped` or `no finite loss`; in a sweep that was interrupted
        also `under way` or `waiting`.
    """

    name: str
    options: Mapping[str, Any]
    config: RunConfig
    summary: Summary | None = None
    state: str = "waiting"


def grid(config: RunConfig, vary: Mapping[str, Sequence[Any]]) -> list[Trial]:
    """All combinations of the values; see `sweep`.

    >>> from loren_jax.train import TrainConfig
    >>> config = TrainConfig(optimizer=options_named("loren")(learning_rate=0.1))
    >>> [trial.name for trial in grid(config, {"learning_rate": (0.1, 0.3), "rank": (1,)})]
    ['learning_rate=0.1,rank=1', 'learning_rate=0.3,rank=1']
    """
    vary = {name.replace("-", "_"): values for name, values in vary.items()}
    require_known(vary, map(method_name, vary.get("optimizer", [config.optimizer])))
    own = {field.name for field in dataclasses.fields(config)}
    found: list[tuple[dict[str, Any], RunConfig]] = []
    for values in itertools.product(*vary.values()):
        options = dict(zip(vary, values, strict=True))
        method = {name: value for name, value in options.items() if name not in own}
        changes = {name: value for name, value in options.items() if name in own}
        changes["optimizer"] = dataclasses.replace(
            changes.get("optimizer", config.optimizer), **method
        )
        plain = lambda x: method_name(x) if isinstance(x, MethodOptions) else x
        shown = {name: plain(value) for name, value in options.items()}
        found.append((shown, dataclasses.replace(config, **changes)))
    return trials_of(found)


def trials_of(found: Sequence[tuple[Mapping[str, Any], RunConfig]]) -> list[Trial]:
    """Trials of options and configurations, with names that tell them apart."""
    names = [",".join(f"{n}={value}" for n, value in options.items()) for options, _ in found]
    names = [re.sub(r"[^\w.=,+-]+", "_", name)[:100] for name in names]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names)]
    return [Trial(name, *pair) for name, pair in zip(names, found, strict=True)]


def require_known(vary: Mapping[str, Sequence[Any]], methods: Iterable[str]) -> None:
    """Raises a ValueError unless these are options with values that a sweep can vary."""
    if not vary:
        raise ValueError(
            "vary is empty: name an option and its values, such as learning-rate=0.03,0.1,0.3"
        )
    names = lambda kind: {field.name for field in dataclasses.fields(kind)}
    runs = set().union(*map(names, CONFIGS.values()))
    own = {method: names(options_named(method)) for method in methods}
    known = runs.union(*own.values()) - {*_FIXED}
    for name, values in vary.items():
        if name in _FIXED:
            raise ValueError(f"vary: {name} is of the sweep as a whole: leave it out of vary")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            hint = f": did you mean {' or '.join(near)}?" if near else f"; they are {sorted(known)}"
            raise ValueError(f"vary: train has no option {name!r}{hint}")
        for method in own:
            if name not in runs | own[method]:
                raise ValueError(
                    f"vary: {name} is no option of {method}: vary it in a sweep of methods that "
                    "have it"
                )
        if not len(values):
            raise ValueError(f"vary: {name} has no values: give one or more")
        if len({str(value) for value in values}) < len(values):
            raise ValueError(f"vary: {name} has a value twice: give each once")


def sweep_directory(trials: Sequence[Trial]) -> Path:
    """The directory of a sweep, also where its configuration names none."""
    config = trials[0].config
    if config.output is not None:
        return config.output
    names = ("sweep", Path(config.model).name, Path(config.data).name, *trials[0].options)
    return Path("runs") / "-".join(re.sub(r"[^\w.]+", "_", name) for name in names)
