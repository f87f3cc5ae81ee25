"""The options of `loren-jax train`: those of its configuration, in groups, in words of a shell.

The commonest are in the help of `train --help`, all in that of `train --help-all`. A configuration
file says the same as the command line, which counts where both speak.
"""

import dataclasses
import difflib
import inspect
import json
import re
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import tyro

from loren_jax import journal
from loren_jax.objectives.adapters import HEAD
from loren_jax.optimizers import published
from loren_jax.train.answers import AnswerOptions
from loren_jax.train.config import CONFIGS, EvaluateConfig, PredictConfig, RunConfig, config_named
from loren_jax.train.devices import DevicesConfig
from loren_jax.train.methods import OPTIONS, options_named
from loren_jax.train.options import options_of
from loren_jax.train.recipe import HEAD_RATE, HEAD_RECIPE, typed

GROUPS: Mapping[str, tuple[str, str]] = {
    "data": (
        "data text_columns label_column held_out_data train_examples held_out_examples max_length",
        "columns data_dir protocol dev_examples",
    ),
    "model": (
        "model trainable lora_rank prompt quantise",
        "lora_targets lora_alpha template words pooling dtype input_directions input_power",
    ),
    "training": (
        "steps epochs batch_size schedule eval_every keep patience seed seeds",
        "warmup_steps micro_batch_size eval_batch_size max_nonfinite_steps",
    ),
    "output": ("output overwrite report_to", "checkpoint_every fsync_every"),
}
"""The attributes of a `TrainConfig` by group: those that `--help` shows, and the others."""

TEXT_GROUPS: Mapping[str, tuple[str, str]] = {
    **GROUPS,
    "data": (
        "data text_columns held_out_data train_examples held_out_examples max_length template",
        "columns loss_on long packed buckets dev_examples",
    ),
    "model": ("model trainable lora_rank quantise", "lora_targets lora_alpha dtype"),
    "training": (
        "steps epochs batch_size schedule eval_every keep patience generate seed seeds",
        "max_new_tokens warmup_steps micro_batch_size eval_batch_size max_nonfinite_steps",
    ),
}
"""Those of a `TrainTextConfig`."""

REWARD_GROUPS: Mapping[str, tuple[str, str]] = {
    **TEXT_GROUPS,
    "data": (
        "data reward text_columns held_out_data train_examples held_out_examples max_length "
        "template",
        "columns dev_examples reward_seconds",
    ),
    "training": (
        "steps epochs batch_size schedule eval_every keep patience max_new_tokens temperature "
        "seed seeds",
        "compared anchored_weight_decay baseline voters warmup_steps eval_batch_size "
        "max_nonfinite_steps micro_batch_size",
    ),
}
"""Those of a `TrainRewardConfig`."""

_GROUPS = {"classification": GROUPS, "text": TEXT_GROUPS, "reward": REWARD_GROUPS}
DEFAULT_OPTIMIZER = "loren"
DEFAULT_OBJECTIVE = "classification"
_OF_ONES_OWN = {"learning_rate", "trainable", "prompt", "lora_rank", "quantise"}
"""Options beside which nothing is chosen."""


def train_command(arguments: Sequence[str]) -> Any:
    """The type that the arguments of `train` are read from, given what is among them.

    Its `configuration` is the `TrainConfig` that they describe, or that of another objective.
    """
    given = _find_options(arguments)
    name, options, defaults, kind, told = _choose(given)
    listed = _GROUPS[kind.OBJECTIVE]
    # What is hidden is not read either, so that it is hidden from the short help alone.
    everything = not {"help", "h"} & set(given)
    groups = {title: _group(kind, *x, defaults, everything) for title, x in listed.items()}
    groups["method"] = _group(options, " ".join(_names(options)), "", defaults, everything)
    shown = (lambda kind: kind) if everything else (lambda kind: tyro.conf.Suppress[kind])
    path = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]

    @dataclass(frozen=True, kw_only=True)
    class TrainCommand:
        """Fine-tune a model on texts and write it, with its metrics, curve and summary.

        With --data alone the classification head is trained, with the numbers that suit it; each
        of them can be replaced. --objective text and reward are for language models.

        Ctrl-C stops after the current step and keeps what was learned; --resume continues.
        `train --help-all` lists every option, `--tyro-print-completion bash` prints a completion
        script for a shell.

        Attributes:
          data: What to learn from.
          model: What to train of it.
          training: How long, and what is looked at meanwhile.
          output: What is written.
          method: The optimiser's own.
          devices: With what processes and devices.
          objective: What is learned: a `classification`, such `text`, or a high `reward`.
          optimizer: The method; `--optimizer NAME --help` shows its options. MODULE:FUNCTION is
            a factory of your own.
          published: The settings of the method's paper in place of the defaults.
          config: Options from a .json or .toml file, such as the config.json of a run.
          resume: Continue the run in this directory, however it stopped; the result is
            bit-for-bit that of one that never did.
          dry_run: Tell what the run would take, time and memory, and write nothing.
        """

        data: groups["data"]  # pyrefly: ignore
        model: groups["model"]  # pyrefly: ignore
        training: groups["training"]  # pyrefly: ignore
        output: groups["output"]  # pyrefly: ignore
        method: groups["method"]  # pyrefly: ignore
        devices: shown(DevicesConfig) = field(default_factory=DevicesConfig)  # pyrefly: ignore
        objective: Literal[tuple(CONFIGS)] = kind.OBJECTIVE  # pyrefly: ignore
        optimizer: Literal[tuple(dict.fromkeys([*OPTIONS, name]))] = name  # pyrefly: ignore
        published: bool = False
        config: path = None  # pyrefly: ignore
        resume: path = None  # pyrefly: ignore
        dry_run: bool = False
        guidance: ClassVar[str] = told

        @property
        def configuration(self) -> RunConfig[Any]:
            """What the command asks for."""
            parts = [vars(getattr(self, title)) for title in listed]
            asked = {n: value for part in parts for n, value in part.items()}
            return kind(optimizer=options(**vars(self.method)), **asked)

    return TrainCommand


def _choose(given: Mapping[str, str]) -> tuple[str, Any, dict[str, Any], Any, str]:
    """The method, its options, what a file or the recipe says of all options, and whose they are.

    Whose is the type of the configuration, which the objective decides; last what is to be said.
    """
    for name, ours in _ELSEWHERE.items():
        if name in given:
            raise ValueError(f"--{name.replace('_', '-')} is called --{ours} here: give that.")
    if given.get("learning_rate") == "auto":
        raise ValueError("--learning-rate is auto: leave it away, and the run finds its own.")
    file = _from_file(Path(given["config"])) if "config" in given else {}
    objective = file.pop("objective", None)
    kind = config_named(given.get("objective") or objective or DEFAULT_OBJECTIVE)
    own = {*_names(kind)} - {"optimizer"}
    if objective not in (None, kind.OBJECTIVE):  # what another objective says is none of this one
        file = {n: value for n, value in file.items() if n in own or n == "optimizer"}
    name = given.get("optimizer") or file.get("optimizer", DEFAULT_OPTIMIZER)
    if name != file.pop("optimizer", name):  # the knobs of another method are none of this one
        file = {n: value for n, value in file.items() if n in own}
    if ":" in name:
        journal.allow(name)
    options = options_named(name)
    if "published" in given:
        options = options_of(options.factory, published(name))
    if "learning_rate" in given and "schedule" not in given and file.get("schedule") == "automatic":
        del file["schedule"]  # it found the rate of that run
    known = own | {*_names(options)}
    for word in file:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"config: there is no option {word!r}{hint}")
    recipe = _recipe(given, file, name) if kind.OBJECTIVE == DEFAULT_OBJECTIVE else {}
    chosen = {n: value for n, value in recipe.items() if n not in given.keys() | file.keys()}
    return name, options, recipe | file, kind, _guidance(chosen)


_ELSEWHERE = {
    "lr": "learning-rate",
    "num_train_epochs": "epochs",
    "max_steps": "steps",
    "per_device_train_batch_size": "batch-size",
    "output_dir": "output",
    "dataset": "data",
    "model_name_or_path": "model",
    "max_seq_length": "max-length",
    "eval_steps": "eval-every",
    "early_stopping_patience": "patience",
    "load_best_model_at_end": "keep best",
}
"""What other trainers call options of ours."""


def as_typed(message: str) -> str:
    """A message in the words of a command line: options as one types them.

    >>> as_typed("batch_size is 8: lower batch_size, or raise train_examples.")
    '--batch-size is 8: lower --batch-size, or raise --train-examples.'
    >>> as_typed("steps is 0, of my_file.train_examples")
    '--steps is 0, of my_file.train_examples'
    """
    option = lambda match: "--" + match[0].replace("_", "-")
    compound = "|".join(name for name in _NAMES if "_" in name)
    message = re.sub(rf"(?<![\w./'=-])({compound})(?![\w.(='-]\S|[\w(='])", option, message)
    return re.sub(rf"^({'|'.join(_NAMES)})(?=:| is | has | needs )", option, message)


def _group(
    owner: Any, shown: str, hidden: str, defaults: Mapping[str, Any], everything: bool
) -> Any:
    """A dataclass of some attributes of another, to be read from a command line."""
    names, more = shown.split(), hidden.split()
    fields, words = {f.name: f for f in dataclasses.fields(owner)}, _words(owner)
    made: list[Any] = []
    for name in [*names, *more]:
        kind: Any = fields[name].type
        default = defaults.get(name, fields[name].default)
        if types.NoneType in get_args(kind):  # what may be absent is not shown as "None"
            hint = "" if default is None else None
            kind = Annotated[kind, tyro.conf.arg(metavar=_metavar(kind), help_behavior_hint=hint)]
        if name in more and not everything:
            kind = tyro.conf.Suppress[kind]
        has = default is not dataclasses.MISSING
        made.append((name, kind, field(default=default)) if has else (name, kind))
    group = dataclasses.make_dataclass("Options", made, frozen=True, kw_only=True)
    lines = [f"    {name}: {as_typed(words.get(name, ''))}" for name in [*names, *more]]
    group.__doc__ = "\n".join(["", "", "Attributes:", *lines])
    return group


def _words(owner: Any) -> dict[str, str]:
    """What the docstring of a dataclass, and of those that it extends, says of its attributes."""
    found: dict[str, str] = {}
    for kind in reversed(owner.__mro__):
        text = inspect.cleandoc(vars(kind).get("__doc__") or "").partition("\nAttributes:\n")[2]
        pairs = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", text, re.MULTILINE)
        found |= {name: " ".join(words.split()) for name, words in pairs}
    return found


def _metavar(kind: Any) -> str:
    """What stands for a value that may be absent.

    >>> _metavar(int | None), _metavar(tuple[str, ...] | None), _metavar(Literal["a"] | None)
    ('INT', 'TEXT ...', '{a}')
    """
    words = []
    for member in get_args(kind):
        if get_origin(member) is Literal:
            words.append("{" + ",".join(map(str, get_args(member))) + "}")
        elif get_origin(member) is tuple:
            words.append(f"{_PLACES[get_args(member)[0]]} ...")
        elif member is not types.NoneType:
            words.append(_PLACES.get(member, "TEXT"))
    return "|".join(words)


def require_own_options(arguments: Sequence[str], command: type) -> None:
    """Raises a ValueError of an option that a run which goes on has from its beginning.

    Args:
      arguments: of the command.
      command: the type that they are read from.
    """
    own = {*_names(command), *_names(DevicesConfig), "h", "help", "help_all"}
    for name in _find_options(arguments):
        if name not in own:
            raise ValueError(
                f"--{name.replace('_', '-')} is given, but a run goes on with the options that it "
                "began with: leave it away, or begin another with --model RUN; only --steps and "
                "what says its devices may be other."
            )


def _find_options(arguments: Sequence[str]) -> dict[str, str]:
    """The options among arguments, each with the word behind it; of one given twice the last.

    >>> _find_options(["train", "--optimizer", "mezo", "--learning-rate=1", "--published"])
    {'optimizer': 'mezo', 'learning_rate': '1', 'published': ''}
    """
    found = {}
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith("-"):
            name, has, value = argument.lstrip("-").partition("=")
            following = "" if following.startswith("--") else following
            found[name.replace("-", "_")] = value if has else following
    return found


def _guidance(recipe: Mapping[str, Any]) -> str:
    """What is to be said of what was chosen for the user; empty if nothing was."""
    if not recipe:
        return ""
    nothing = "neither --learning-rate nor --trainable is given, so"
    if len(recipe) > 1:
        return f"{nothing} this is the recipe: {typed(recipe)}"
    return f"{nothing} the head alone is trained (--trainable {HEAD}); --trainable '*' trains all"


def _names(owner: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(owner)]


def _recipe(given: Mapping[str, str], file: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is chosen, by option, where nothing is said that speaks against it.

    A new head tells no run without a rate how far the rest of the model may move, so that the head
    is trained alone; the numbers beside it are of the default method.
    """
    named = set(given) | set(file)
    if named & (_OF_ONES_OWN | {"help", "h", "help_all"}):
        return {}
    if name != DEFAULT_OPTIMIZER or named & {"input_directions", "published"}:
        return {"trainable": HEAD_RECIPE["trainable"]}
    if given.get("schedule", file.get("schedule", "automatic")) != "automatic":
        return {**HEAD_RECIPE, "learning_rate": HEAD_RATE}
    return dict(HEAD_RECIPE)


def _from_file(path: Path) -> dict[str, Any]:
    """The options that a file says, by name; of a run's own file all but its directory."""
    if not path.is_file():
        raise FileNotFoundError(f"config: there is no file {path}")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {path} is not valid: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"config: {path} must hold options by name")
    if isinstance(values.get("config"), dict):
        values = {n: v for n, v in values["config"].items() if n != "output" and v is not None}
    found = {name.replace("-", "_"): value for name, value in values.items()}
    if isinstance(optimizer := found.get("optimizer"), dict):
        found |= optimizer | {"optimizer": optimizer.get("name", DEFAULT_OPTIMIZER)}
    found.pop("name", None)
    for name in ("output", "data_dir"):
        if isinstance(found.get(name), str):
            found[name] = Path(found[name])
    return {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}


_PLACES = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", bool: "BOOL"}
_CONFIGURATIONS = (*CONFIGS.values(), EvaluateConfig, PredictConfig, AnswerOptions, DevicesConfig)
_NAMES = sorted(
    {"objective"}
    | {name for kind in (*_CONFIGURATIONS, *OPTIONS.values()) for name in _names(kind)},
    key=len,
    reverse=True,
)
