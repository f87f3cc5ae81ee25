"""The model card: the README.md of a model's directory, as the Hugging Face Hub reads it.

It says what is known and leaves out the rest. Of a path on the machine of the training it has the
last name alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from loren_jax.reports import files
from loren_jax.reports.class_scores import BY_CLASS
from loren_jax.reports.loading import loading_section, writing_section

CARD = "README.md"
_PROMPT, _TEXT = "prompt.json", "text.json"
_NO_SCORES = ("examples", "majority_accuracy", BY_CLASS)
_PATHS = ("model", "data", "data_dir", "held_out_data")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is known of where a model comes from.

    Attributes:
      config: The configuration of its run, as JSON values.
      steps: Steps that it has had.
      max_length: Longest input of the training, in tokens.
      versions: Of the packages that trained it.
      facts: What the summary of its run says of data and training; empty where there is none.
      scores: Scores of this very model by the name of the examples, with `examples`, and
        `majority_accuracy` and `by_class` where they are known.
    """

    config: Mapping[str, Any]
    steps: int
    max_length: int
    versions: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_card(directory: Path, known: Provenance) -> None:
    """Writes the card of a model that is there, all or nothing."""
    found = [directory / name for name in (_PROMPT, _TEXT)]
    told = [files.read_json(path) if path.is_file() else None for path in found]
    card = model_card(files.read_json(directory / files.CONFIG), known, *told)
    files.write_text(directory / CARD, card)


def model_card(
    model: Mapping[str, Any],
    known: Provenance,
    prompt: Mapping[str, Any] | None = None,
    text: Mapping[str, Any] | None = None,
) -> str:
    """The text of a card.

    Args:
      model: What `config.json` says of the model.
      known: Where it comes from.
      prompt: What `prompt.json` says; None for a model with a classification head.
      text: What `text.json` says of a model that writes; None for a classifier.

    Returns:
      Markdown, below front matter in YAML.
    """
    config = portable(known.config)
    title = f"# {_escape(Path(config['model']).name)}, fine-tuned on {_escape(config['data'])}"
    pairs = known.facts.get("texts_per_example") == 2
    counts, loading = known.facts.get("class_counts"), writing_section(text)
    if text is None:
        loading = loading_section(model, prompt, known.max_length, pairs=pairs)
    sections = [
        _front_matter(model, known.config, prompt, text),
        title,
        _opening(config, known, text),
        "" if text else _classes(_label_names(model, prompt), counts, prompt),
        _scores(known),
        _training(config, known),
        loading,
        "## Versions\n\n" + ", ".join(f"{n} {v}" for n, v in known.versions.items() if v) + ".",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that names no folder of the machine it is from.

    >>> portable({"model": "org/base", "data": "/home/me/messages.csv", "output": "/tmp/run"})
    {'model': 'org/base', 'data': 'messages.csv', 'output': None}
    """
    own = {name: _bare(config[name]) for name in _PATHS if name in config}
    return {**config, **own, "output": None}


def _bare(value: str | None) -> str | None:
    if value is not None and Path(value).is_absolute():
        return Path(value).name
    if value is not None and PureWindowsPath(value).is_absolute():
        return PureWindowsPath(value).name
    return value


def _front_matter(
    model: Mapping[str, Any],
    config: Mapping[str, Any],
    prompt: Mapping[str, Any] | None,
    text: Mapping[str, Any] | None,
) -> str:
    # JSON is YAML, and quotes whatever needs it.
    quoted = lambda text: json.dumps(text, ensure_ascii=False)
    architecture = (model.get("architectures") or [""])[0]
    kind = "text-classification" if text is None else "text-generation"
    if prompt is not None:
        kind = "fill-mask" if architecture.endswith("MaskedLM") else "text-generation"
    lines = ["library_name: transformers", f"pipeline_tag: {kind}"]
    base, data = config["model"], config["data"].partition(":")[0]
    if _on_the_hub(base):
        lines.append(f"base_model: {quoted(base)}")
    if "/" in data and _on_the_hub(data):
        lines += ["datasets:", f"- {quoted(data)}"]
    tags = [
        "loren_jax",
        "zeroth-order-optimization",
        *(["custom_code"] if "auto_map" in model else []),
    ]
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *lines, "---"])


def _on_the_hub(name: str) -> bool:
    """Whether this can be a name of the Hub's; a configuration names local paths in full."""
    return _bare(name) == name and _HUB_NAME.fullmatch(name) is not None


def _label_names(model: Mapping[str, Any], prompt: Mapping[str, Any] | None) -> list[str]:
    if prompt is not None:
        return [str(name) for name in prompt["label_names"]]
    return [str(name) for _, name in sorted(model["id2label"].items(), key=lambda i: int(i[0]))]


def _opening(config: Mapping[str, Any], known: Provenance, text: Mapping[str, Any] | None) -> str:
    method, kind = (
        config["optimizer"]["name"],
        "text classifier" if text is None else "language model",
    )
    return (
        f"A {kind}, fine-tuned with forward passes only: {known.steps} steps of "
        f"the method `{method}` of loren_jax."
    )


def _classes(
    names: list[str], counts: Mapping[str, int] | None, prompt: Mapping[str, Any] | None
) -> str:
    columns: list[tuple[str, list[Any]]] = [("class", [_escape(name) for name in names])]
    if prompt is not None:
        columns.append(("answer", [f"`{json.dumps(word)}`" for word in prompt["words"]]))
    if counts is not None:
        columns.append(("training examples", [counts.get(name, 0) for name in names]))
    return "## Classes\n\n" + _table(columns)


def _scores(known: Provenance) -> str:
    if not known.scores:
        return ""
    parts = ["## Scores"]
    for examples, scores in known.scores.items():
        by_class, selected = scores.get(BY_CLASS), known.facts.get("selected_step") is not None
        row = {n: _number(v) for n, v in scores.items() if n not in _NO_SCORES}
        # The best of many evaluations is no sample of its accuracy.
        if by_class and (examples == "test" or not selected):
            low, high = by_class["accuracy_interval"]
            row["accuracy, 95 % interval (Wilson)"] = f"{low:.3f} to {high:.3f}"
        if "majority_accuracy" in scores:
            row["accuracy of the majority class"] = _number(scores["majority_accuracy"])
        row["examples"] = str(scores["examples"])
        parts.append(f"On {examples} examples:")
        parts.append(_table([(name, [value]) for name, value in row.items()]))
    last = list(known.scores.values())[-1].get(BY_CLASS)
    if last:
        names = ("precision", "recall", "f1", "support")
        columns = [("class", [_escape(one["name"]) for one in last["classes"]])]
        columns += [(n, [_number(one[n]) for one in last["classes"]]) for n in names]
        parts.append(f"Class by class, macro F1 {last['macro_f1']:.3f}:")
        parts.append(_table(columns))
    return "\n\n".join(parts)


def _training(config: Mapping[str, Any], known: Provenance) -> str:
    facts, options = known.facts, dict(config["optimizer"])
    knobs = ", ".join(f"{n} {v}" for n, v in options.items() if n != "name" and v is not None)
    lines = [
        f"base model: {_escape(config['model'])}",
        f"data: {_escape(config['data'])}",
        f"optimiser: `{options['name']}` ({knobs})",
        f"steps: {known.steps} of batches of {config['batch_size']}, seed {config['seed']}",
        f"longest input: {known.max_length} tokens",
    ]
    if "train_examples" in facts:
        count = f"{facts['train_examples']} to train on, {facts['held_out_examples']}"
        lines[1] += f"; {count} {facts.get('held_out', 'held-out')}"
    if "protocol" in facts:
        plain = "none: trained to the last step, scored on examples that were never trained on"
        lines.append(f"protocol: {_escape(facts['protocol'] or plain)}")
    if "trained_parameters" in facts:
        trained, whole = facts["trained_parameters"], facts["parameters"]
        lines.append(f"trained: {trained:,} of {whole:,} parameters")
    if "forward_passes" in facts:
        lines.append(f"forward passes: {facts['forward_passes']:,} of a batch each")
    told = json.dumps(files.strict(dict(config)), indent=2, ensure_ascii=False)
    return "\n\n".join(
        [
            "## Training",
            "\n".join(f"* {line}" for line in lines),
            "The whole configuration, whose file names are without their folders:",
            f"```json\n{told}\n```",
        ]
    )


def _table(columns: list[tuple[str, list[Any]]]) -> str:
    head = [name for name, _ in columns]
    rows = zip(*(values for _, values in columns), strict=True)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _escape(text: str) -> str:
    """Words as Markdown shows them, whatever characters they have."""
    plain = " ".join(str(text).split())
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", plain)
