"""GLUE tasks: real files where they are, official numbers, and the Hub's names."""

import pytest
from task_files import SHARED, needs_shared

from loren_jax.tasks.glue import COLA, GLUE, MNLI, QNLI, SST2
from loren_jax.tasks.task_data import read_task

# Rows and majority share of the official validation splits.
OFFICIAL = {"mnli": (9815, 0.3545), "qnli": (5463, 0.5054), "sst2": (872, 0.5092)}
OFFICIAL["cola"] = (1043, 0.6894)


@needs_shared
@pytest.mark.parametrize("task", GLUE.values(), ids=lambda task: task.name)
def test_real_validation_splits(task):
    examples = read_task(task, "validation", data_dir=SHARED)
    rows, majority = OFFICIAL[task.name]
    assert len(examples) == rows
    assert examples.majority_accuracy() == pytest.approx(majority, abs=5e-5)
    assert examples.label_names == task.label_names
    assert {len(text) for text in examples.texts} == {len(task.inputs)}


@needs_shared
def test_real_rows():
    sst2 = read_task(SST2, "train", data_dir=SHARED)
    assert (len(sst2), sst2.labels[:3].tolist()) == (67349, [0, 0, 1])
    assert sst2.texts[1] == ("contains no wit , only labored gags ",)
    cola = read_task(COLA, "validation", data_dir=SHARED)
    assert cola.texts[0] == ("The sailors rode the breeze clear of the rocks.",)
    assert cola.texts[527] == ("Somebody just left - guess who.",)  # out of domain comes second
    assert cola.labels[4:6].tolist() == [0, 0]
    mnli = read_task(MNLI, "train", data_dir=SHARED)
    assert len(mnli) == 8999 + 1000
    assert mnli.texts[9000 - 1] == ("Salt kept the town fed.", "Salt kept the town thriving.")
    qnli = read_task(QNLI, "validation", data_dir=SHARED)
    assert qnli.texts[0][0].startswith("What came into force")
    assert qnli.labels[0] == 0


def test_label_order_is_that_of_the_hub():
    assert {name: task.label_names for name, task in GLUE.items()} == {
        "mnli": ("entailment", "neutral", "contradiction"),
        "qnli": ("entailment", "not_entailment"),
        "sst2": ("negative", "positive"),
        "cola": ("unacceptable", "acceptable"),
    }
    assert {task.metrics[0] for task in GLUE.values()} == {"accuracy", "matthews"}
    assert MNLI.hub_validation == "validation_matched"
