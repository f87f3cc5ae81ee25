"""How a model is loaded, for its card: here, and in transformers."""

import string
from collections.abc import Mapping
from typing import Any

_PLACES = "`.` stands for the directory of this file; the model's name on the Hub will do as well."


def loading_section(
    model: Mapping[str, Any],
    prompt: Mapping[str, Any] | None,
    max_length: int,
    *,
    pairs: bool,
) -> str:
    """The section of a card.

    Args:
      model: What `config.json` says of the model.
      prompt: What `prompt.json` says; None for a model with a classification head.
      max_length: Longest input of the training, in tokens.
      pairs: Whether an example has two texts.

    Returns:
      Markdown.
    """
    columns = ["text_a", "text_b"] if pairs else ["text"]
    if prompt is not None:
        columns = [name for _, name, _, _ in string.Formatter().parse(prompt["template"]) if name]
        columns = [name for name in dict.fromkeys(columns) if name != "answer"]
    own = _fence(
        "from pathlib import Path",
        "",
        "from loren_jax.train import PredictConfig, predict",
        "",
        f'Path("texts.csv").write_text("{",".join(columns)}\\n'
        f'{",".join(["The words to classify"] * len(columns))}\\n")',
        f'answers = predict(PredictConfig(model=".", data="texts.csv", max_length={max_length}))',
        "print(answers.rows())",
    )
    theirs = _prompt_lines(model, prompt) if prompt is not None else _head(model, max_length, pairs)
    return "\n\n".join(["## How to load", _PLACES, "In loren_jax:", own, *theirs])


def writing_section(text: Mapping[str, Any] | None) -> str:
    """The section of a card of a model that writes, of which `text.json` says how it was asked.

    >>> "chat template" in writing_section({"template": "own"})
    True
    """
    asked = {
        "own": ('[{"role": "user", "content": "..."}]', "It answers in its own chat template."),
        "plain": (r'"User: ...\nAssistant:"', "It was trained on dialogues that look like this."),
        "none": ('"..."', "It goes on with what stands before, without any template."),
    }
    said, words = asked.get((text or {}).get("template") or "none", asked["none"])
    block = _fence(
        "from transformers import pipeline",
        "",
        'write = pipeline("text-generation", model=".")',
        f"print(write({said}, max_new_tokens=64))",
    )
    return "\n\n".join(["## How to load", _PLACES, f"{words} In transformers:", block])


def _head(model: Mapping[str, Any], max_length: int, pairs: bool) -> list[str]:
    words, trust = "In transformers:", ""
    if "auto_map" in model:
        words = (
            "In transformers, which has no such class: the model brings one, so that its code must "
            "be trusted:"
        )
        trust = ", trust_remote_code=True"
    asked = '{"text": "The words to classify", "text_pair": "and others"}'
    asked = asked if pairs else '"The words to classify"'
    block = _fence(
        "from transformers import pipeline",
        "",
        f'classify = pipeline("text-classification", model="."{trust})',
        f"print(classify({asked}, truncation=True, max_length={max_length}))",
    )
    return [words, block]


def _prompt_lines(model: Mapping[str, Any], prompt: Mapping[str, Any]) -> list[str]:
    masked = model["architectures"][0].endswith("MaskedLM")
    name = "AutoModelForMaskedLM" if masked else "AutoModelForCausalLM"
    return [
        "It is a language model that answers this prompt with one of the answers above:",
        _fence(prompt["template"], language="text"),
        "In transformers:",
        _fence(
            f"from transformers import {name}",
            "",
            f'model = {name}.from_pretrained(".")',
        ),
    ]


def _fence(*lines: str, language: str = "python") -> str:
    # Longer than any fence within.
    body = "\n".join(lines)
    fence = "```" if "```" not in body else "~~~~~~"
    return f"{fence}{language}\n{body}\n{fence}"
