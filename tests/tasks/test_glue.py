"""Real files where they are, rows as the official files have them, and the Hub's names."""

import json

import pytest
from task_files import SHARED, needs_shared, write

from loren_jax.tasks.glue import BOOLQ, CB, COLA, MNLI, QNLI, RTE, SST2, TASKS, WIC
from loren_jax.tasks.task import read_task

# Rows and majority share of the official validation splits.
OFFICIAL = {"mnli": (9815, 0.3545), "qnli": (5463, 0.5054), "sst2": (872, 0.5092)}
OFFICIAL["cola"] = (1043, 0.6894)

BOOLQ_ROW = {"question": "is it wet", "passage": "It rained.", "label": True, "idx": 0}
WIC_ROW = {
    **{"word": "place", "sentence1": "Do you want to come over to my place later?"},
    **{"sentence2": "A political system with no place for the less prominent groups."},
    **{"start1": 31, "start2": 27, "end1": 36, "end2": 32, "label": False, "idx": 0},
}


@needs_shared
@pytest.mark.parametrize("task", [MNLI, QNLI, SST2, COLA], ids=lambda task: task.name)
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


@needs_shared
@pytest.mark.parametrize(
    ("task", "split", "counts"),
    [
        (RTE, "train", {"entailment": 1249, "not_entailment": 1241}),
        (RTE, "validation", {"entailment": 146, "not_entailment": 131}),
        (CB, "train", {"entailment": 115, "contradiction": 119, "neutral": 16}),
        (CB, "validation", {"entailment": 23, "contradiction": 28, "neutral": 5}),
    ],
)
def test_real_splits(task, split, counts):
    assert read_task(task, split, data_dir=SHARED).class_counts() == counts


def test_boolq_has_the_passage_first_and_a_question_mark(tmp_path):
    write(tmp_path / "boolq", train__jsonl=json.dumps(BOOLQ_ROW))
    examples = read_task(BOOLQ, "train", data_dir=tmp_path)
    assert examples.texts == (("It rained.", "is it wet?"),)
    assert (examples.labels.tolist(), examples.label_names) == ([1], ("False", "True"))


def test_wic_has_the_word_before_the_first_sentence(tmp_path):
    write(tmp_path / "wic", val__jsonl=json.dumps(WIC_ROW))
    examples = read_task(WIC, "validation", data_dir=tmp_path)
    assert examples.texts == ((f"place : {WIC_ROW['sentence1']}", WIC_ROW["sentence2"]),)
    assert examples.labels.tolist() == [0]


def test_prompts_get_every_field(tmp_path):
    write(tmp_path / "wic", val__jsonl=json.dumps(WIC_ROW))
    examples = read_task(WIC, "validation", data_dir=tmp_path, prompt=WIC.prompt)
    assert examples.texts == ((WIC_ROW["sentence1"], WIC_ROW["sentence2"], "place"),)
    text = WIC.prompt.render(examples.texts[0])
    assert text.startswith("Do you want")
    assert text.endswith('by "place"?')


def test_label_order_is_that_of_the_hub():
    assert {name: task.label_names for name, task in TASKS.items()} == {
        "mnli": ("entailment", "neutral", "contradiction"),
        "qnli": ("entailment", "not_entailment"),
        "sst2": ("negative", "positive"),
        "cola": ("unacceptable", "acceptable"),
        "rte": ("entailment", "not_entailment"),
        "boolq": ("False", "True"),
        "wic": ("False", "True"),
        "cb": ("entailment", "contradiction", "neutral"),
    }
    assert {task.metrics[0] for task in TASKS.values()} == {"accuracy", "matthews", "f1"}
    assert MNLI.hub_validation == "validation_matched"
