"""Fine-tunes SmolLM2-135M-Instruct, all parameters, to describe functions as NumPy and SciPy do.

    python examples/chat.py                  # further options go to `loren-jax train`
    python examples/chat.py --seed 1 --output runs/chat/other

The dialogues are real: the signature of a function is the question, the first sentence of its own
documentation the answer. They are read from the NumPy and SciPy that are installed (BSD-3-Clause),
so another version gives a few others. Everything it writes is under runs/chat.

Seeds 0, 1, 2, of 727 dialogues 100 held out: the loss of a token of the answers goes from 3.525,
3.743, 3.551 to 3.308, 3.532, 3.310 nats (-0.223, standard error 0.009), in 40 steps of 6 forward
passes over 4 dialogues. Its likeliest token is the right one in 0.377 of all places instead of
0.343 in the mean. Forty steps do not make other sentences of greedy answers yet: token F1 0.178
before, 0.191 after, which is within its spread. A run took 10 minutes of two busy CPU cores and 1.6
GiB of memory, 58 MiB of it for a step.
"""

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

MODULES = (
    *("numpy", "numpy.linalg", "numpy.fft", "numpy.polynomial.polynomial", "scipy.linalg"),
    *("scipy.signal", "scipy.stats", "scipy.optimize", "scipy.ndimage", "scipy.interpolate"),
    *("scipy.integrate", "scipy.sparse", "scipy.spatial.distance", "scipy.special"),
)
LONGEST = 80
"""Letters of a signature, and of a sentence: so that a row is short."""


RECIPE = (
    *("--steps", "40", "--batch-size", "4", "--learning-rate", "1e-4", "--schedule", "linear"),
    *("--eval-every", "40", "--generate", "10", "--max-new-tokens", "24"),
)


def dialogues() -> list[dict[str, str]]:
    """Signature and first sentence of every function that has both, each sentence once."""
    found: dict[str, str] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for function in sorted(vars(module)):
            value = getattr(module, function)
            if function.startswith("_") or not inspect.isroutine(value):
                continue
            try:
                signature = re.sub(r", \*, .*(?=\))", "", str(inspect.signature(value)))
            except (TypeError, ValueError):  # one that does not say how it is called
                continue
            sentence = first_sentence(inspect.getdoc(value) or "")
            if sentence and len(signature) <= LONGEST:
                found.setdefault(sentence, f"{name}.{function}{signature}")
    return [{"prompt": asked, "completion": sentence} for sentence, asked in found.items()]


def first_sentence(documentation: str) -> str:
    """The first paragraph behind a signature, if it is one short sentence; else nothing."""
    paragraphs = [" ".join(part.split()) for part in documentation.split("\n\n")]
    told = [part for part in paragraphs if not re.match(r"[\w.]+\(", part)]
    sentence = told[0] if told else ""
    whole = sentence.endswith(".") and ". " not in sentence and "`" not in sentence
    return sentence if whole and len(sentence) <= LONGEST else ""


def main() -> None:
    """Writes the dialogues and trains."""
    place = Path("runs/chat")
    place.mkdir(parents=True, exist_ok=True)
    rows = dialogues()
    data = place / "functions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fetch = [sys.executable, Path(__file__).parent / "quickstart" / "fetch.py", "smollm2"]
    model = subprocess.run(fetch, check=True, capture_output=True, text=True).stdout.strip()
    fixed = ("--objective", "text", "--model", model, "--data", str(data))
    given = any(word.startswith("--output") for word in sys.argv)
    own = [] if given else ["--output", str(place / "run")]
    command = [sys.executable, "-m", "loren_jax", "train", *fixed, *RECIPE, *own, *sys.argv[1:]]
    sys.exit(subprocess.run(command).returncode)


if __name__ == "__main__":
    main()
