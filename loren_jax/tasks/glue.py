"""The tasks of GLUE and SuperGLUE that LOREN is measured on.

Inputs are those of its protocol: the sentence, or the pair in the order of the data. BoolQ has the
passage first, so that at 128 tokens it is the passage that is cut, and WiC has its word before the
first sentence. CoLA's validation split is both of its dev files, in this order. Local files of
SuperGLUE are the official JSON lines.
"""

from collections.abc import Mapping

from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.task import Task

_HUB = "nyu-mll/glue"
_SUPERGLUE_HUB = "aps/super_glue"
_SUBSETS = ("train_subset_a.json", "train_subset_b.json")


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
    train_files=(("train.jsonl",), _SUBSETS),
    validation_files=(("dev_matched.jsonl",),),
    renamed=(("text_a", "premise"), ("text_b", "hypothesis")),
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
    train_files=(("train.tsv",), _SUBSETS),
    validation_files=(("dev.tsv",),),
    renamed=(("text_a", "question"), ("text_b", "sentence")),
)

SST2 = Task(
    name="sst2",
    title="SST-2",
    hub=f"{_HUB}:sst2",
    label_names=("negative", "positive"),
    inputs=("{sentence}",),
    prompt=Prompt("{sentence} All in all, it was {answer}.", ("terrible", "great")),
    train_files=(("train.tsv",),),
    validation_files=(("dev.tsv",),),
)

COLA = Task(
    name="cola",
    title="CoLA",
    hub=f"{_HUB}:cola",
    label_names=("unacceptable", "acceptable"),
    inputs=("{sentence}",),
    prompt=Prompt("{sentence}\nThe grammar of this sentence is {answer}.", ("wrong", "right")),
    metrics=("matthews", "accuracy"),
    train_files=(("in_domain_train.tsv",),),
    validation_files=(("in_domain_dev.tsv", "out_of_domain_dev.tsv"),),
    columns=("source", "label", "mark", "sentence"),
)

RTE = Task(
    name="rte",
    title="RTE",
    hub=f"{_SUPERGLUE_HUB}:rte",
    label_names=("entailment", "not_entailment"),
    inputs=("{premise}", "{hypothesis}"),
    prompt=Prompt(
        '{premise}\nGiven that, is it true that "{hypothesis}"? Yes or No?\nAnswer: {answer}',
        ("Yes", "No"),
    ),
)

BOOLQ = Task(
    name="boolq",
    title="BoolQ",
    hub=f"{_SUPERGLUE_HUB}:boolq",
    label_names=("False", "True"),
    inputs=("{passage}", "{question}?"),
    prompt=Prompt("{passage}\nQuestion: {question}?\nAnswer: {answer}", ("No", "Yes")),
)

WIC = Task(
    name="wic",
    title="WiC",
    hub=f"{_SUPERGLUE_HUB}:wic",
    label_names=("False", "True"),
    inputs=("{word} : {sentence1}", "{sentence2}"),
    prompt=Prompt(
        '{sentence1}\n{sentence2}\nDo both sentences mean the same by "{word}"? {answer}',
        ("No", "Yes"),
    ),
)

CB = Task(
    name="cb",
    title="CB",
    hub=f"{_SUPERGLUE_HUB}:cb",
    label_names=("entailment", "contradiction", "neutral"),
    inputs=("{premise}", "{hypothesis}"),
    prompt=Prompt(
        '{premise}\nGiven that, is it true that "{hypothesis}"? Yes, No or Maybe?\n'
        "Answer: {answer}",
        ("Yes", "No", "Maybe"),
    ),
    metrics=("f1", "accuracy"),
)

TASKS: Mapping[str, Task] = {
    task.name: task for task in (MNLI, QNLI, SST2, COLA, RTE, BOOLQ, WIC, CB)
}
"""Every named task."""
