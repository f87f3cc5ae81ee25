"""The tasks of SuperGLUE (https://super.gluebenchmark.com) that LOREN is measured on.

Inputs are those of its protocol: BoolQ has the passage first, so that at 128 tokens it is the
passage that is cut, and WiC has its word before the first sentence. Local files are the official
JSON lines.
"""

from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.task import DataFile, Task

_HUB = "aps/super_glue"
_TRAIN = ((DataFile("train.jsonl"),),)
_VALIDATION = ((DataFile("val.jsonl"),),)

RTE = Task(
    name="rte",
    title="RTE",
    hub=f"{_HUB}:rte",
    label_names=("entailment", "not_entailment"),
    inputs=("{premise}", "{hypothesis}"),
    prompt=Prompt(
        '{premise}\nGiven that, is it true that "{hypothesis}"? Yes or No?\nAnswer: {answer}',
        ("Yes", "No"),
    ),
    metrics=("accuracy",),
    train_files=_TRAIN,
    validation_files=_VALIDATION,
)

BOOLQ = Task(
    name="boolq",
    title="BoolQ",
    hub=f"{_HUB}:boolq",
    label_names=("False", "True"),
    inputs=("{passage}", "{question}?"),
    prompt=Prompt("{passage}\nQuestion: {question}?\nAnswer: {answer}", ("No", "Yes")),
    metrics=("accuracy",),
    train_files=_TRAIN,
    validation_files=_VALIDATION,
)

WIC = Task(
    name="wic",
    title="WiC",
    hub=f"{_HUB}:wic",
    label_names=("False", "True"),
    inputs=("{word} : {sentence1}", "{sentence2}"),
    prompt=Prompt(
        '{sentence1}\n{sentence2}\nDo both sentences mean the same by "{word}"? {answer}',
        ("No", "Yes"),
    ),
    metrics=("accuracy",),
    train_files=_TRAIN,
    validation_files=_VALIDATION,
)

CB = Task(
    name="cb",
    title="CB",
    hub=f"{_HUB}:cb",
    label_names=("entailment", "contradiction", "neutral"),
    inputs=("{premise}", "{hypothesis}"),
    prompt=Prompt(
        '{premise}\nGiven that, is it true that "{hypothesis}"? Yes, No or Maybe?\n'
        "Answer: {answer}",
        ("Yes", "No", "Maybe"),
    ),
    metrics=("f1", "accuracy"),
    train_files=_TRAIN,
    validation_files=_VALIDATION,
)

SUPERGLUE = {task.name: task for task in (RTE, BOOLQ, WIC, CB)}
"""The tasks by name."""
