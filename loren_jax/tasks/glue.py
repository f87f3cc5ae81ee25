"""The tasks of GLUE (https://gluebenchmark.com) that LOREN is measured on.

Inputs are those of its protocol: the sentence, or the pair in GLUE's order. CoLA's validation split
is both of its dev files, in this order.
"""

from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.task import DataFile, Task

_HUB = "nyu-mll/glue"
_COLA_COLUMNS = ("source", "label", "mark", "sentence")


def _subsets(first: str, second: str) -> tuple[DataFile, ...]:
    renamed = (("text_a", first), ("text_b", second))
    return tuple(DataFile(f"train_subset_{part}.json", renamed=renamed) for part in "ab")


MNLI = Task(
    name="mnli",
    title="MNLI",
    hub=f"{_HUB}:mnli",
    label_names=("entailment", "neutral", "contradiction"),
    inputs=("{premise}", "{hypothesis}"),
    prompt=Prompt(
        '{premise}\nGiven that, is it true that "{hypothesis}"? Yes, Maybe or No?\n'
        "Answer: {answer}",
        ("Yes", "Maybe", "No"),
    ),
    metrics=("accuracy",),
    train_files=((DataFile("train.jsonl"),), _subsets("premise", "hypothesis")),
    validation_files=((DataFile("dev_matched.jsonl"),),),
    hub_validation="validation_matched",
)

QNLI = Task(
    name="qnli",
    title="QNLI",
    hub=f"{_HUB}:qnli",
    label_names=("entailment", "not_entailment"),
    inputs=("{question}", "{sentence}"),
    prompt=Prompt(
        "Question: {question}\nPassage: {sentence}\nDoes the passage answer the question? {answer}",
        ("Yes", "No"),
    ),
    metrics=("accuracy",),
    train_files=((DataFile("train.tsv"),), _subsets("question", "sentence")),
    validation_files=((DataFile("dev.tsv"),),),
)

SST2 = Task(
    name="sst2",
    title="SST-2",
    hub=f"{_HUB}:sst2",
    label_names=("negative", "positive"),
    inputs=("{sentence}",),
    prompt=Prompt("{sentence} All in all, it was {answer}.", ("terrible", "great")),
    metrics=("accuracy",),
    train_files=((DataFile("train.tsv"),),),
    validation_files=((DataFile("dev.tsv"),),),
)

COLA = Task(
    name="cola",
    title="CoLA",
    hub=f"{_HUB}:cola",
    label_names=("unacceptable", "acceptable"),
    inputs=("{sentence}",),
    prompt=Prompt("{sentence}\nThe grammar of this sentence is {answer}.", ("wrong", "right")),
    metrics=("matthews", "accuracy"),
    train_files=((DataFile("in_domain_train.tsv", _COLA_COLUMNS),),),
    validation_files=(
        (
            DataFile("in_domain_dev.tsv", _COLA_COLUMNS),
            DataFile("out_of_domain_dev.tsv", _COLA_COLUMNS),
        ),
    ),
)

GLUE = {task.name: task for task in (MNLI, QNLI, SST2, COLA)}
"""The tasks by name."""
