"""SuperGLUE tasks: real files, and rows as the official files have them."""

import json

import pytest
from task_files import SHARED, needs_shared, write

from loren_jax.tasks.superglue import BOOLQ, CB, RTE, SUPERGLUE, WIC
from loren_jax.tasks.task_data import read_task

BOOLQ_ROW = {"question": "is it wet", "passage": "It rained.", "label": True, "idx": 0}
WIC_ROW = {
    **{"word": "place", "sentence1": "Do you want to come over to my place later?"},
    **{"sentence2": "A political system with no place for the less prominent groups."},
    **{"start1": 31, "start2": 27, "end1": 36, "end2": 32, "label": False, "idx": 0},
}


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
    assert {name: task.label_names for name, task in SUPERGLUE.items()} == {
        "rte": ("entailment", "not_entailment"),
        "boolq": ("False", "True"),
        "wic": ("False", "True"),
        "cb": ("entailment", "contradiction", "neutral"),
    }
    assert CB.metrics == ("f1", "accuracy")
