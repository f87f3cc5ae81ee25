"""A task: no contradictions, which files, which labels, and what is said when one is missing."""

import dataclasses
import json

import datasets
import pytest
from task_files import write

from loren_jax.tasks.glue import CB, COLA, QNLI, SST2
from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.task import read_task

QNLI_SUBSET = {"0": {"text_a": "Why?", "text_b": "So.", "label": "not_entailment"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_names": ("a", "b", "c")}, "sst2: 2 answers for 3 classes"),
        ({"metrics": ("rouge",)}, r"sst2: unknown metrics \['rouge'\]"),
        ({"inputs": ("{sentence}", "{more}")}, "different fields"),
        ({"prompt": Prompt("{text} {answer}", ("a", "b"))}, "different fields"),
    ],
)
def test_contradictions(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SST2, **change)


def test_subsets_stand_in_for_a_missing_training_file(tmp_path):
    subset = json.dumps(QNLI_SUBSET)
    folder = write(tmp_path / "qnli", train_subset_a__json=subset)
    with pytest.raises(FileNotFoundError, match=r"of QNLI: train.tsv, or train_subset_a"):
        read_task(QNLI, "train", data_dir=tmp_path)
    write(folder, train_subset_b__json=subset)
    examples = read_task(QNLI, "train", data_dir=tmp_path)
    assert (examples.texts, examples.labels.tolist()) == ((("Why?", "So."),) * 2, [1, 1])
    write(folder, train__tsv="index\tquestion\tsentence\tlabel\n0\tHow?\tThus.\tentailment\n")
    assert read_task(QNLI, "train", data_dir=tmp_path).texts == (("How?", "Thus."),)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no folder .*sst2; .* sst2/ with train\.tsv"),
        ({"dev__tsv": "a"}, r"does not hold the train data of SST-2: train\.tsv"),
        ({"train__tsv": "text\tlabel\na\t1\n"}, r"no column 'sentence'; the columns are text"),
        ({"train__tsv": "sentence\tlabels\na\t1\n"}, r"no column 'label'"),
        ({"train__tsv": "sentence\tlabel\na\t2\n"}, r"train\.tsv, line 2: unknown label '2'"),
        (
            {"train__tsv": "sentence\tlabel\na\tGood\n"},
            r"'Good';.* are negative, positive, or 0 to 1",
        ),
    ],
)
def test_bad_folders(files, message, tmp_path):
    if files:
        write(tmp_path / "sst2", **files)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_task(SST2, "train", data_dir=tmp_path)


def test_quotes_in_tsv_are_text(tmp_path):
    write(tmp_path / "cola", in_domain_train__tsv='a\t0\t*\t"Who left\nb\t1\t\tHe "did"."\n')
    examples = read_task(COLA, "train", data_dir=tmp_path)
    assert examples.texts == (('"Who left',), ('He "did"."',))
    assert examples.labels.tolist() == [0, 1]


@pytest.fixture
def online(monkeypatch):
    """A Hub whose data set is a script on the main branch; the list holds what was asked."""
    asked = []
    features = datasets.Features(
        {
            **{name: datasets.Value("string") for name in ("premise", "hypothesis")},
            "label": datasets.ClassLabel(names=["entailment", "contradiction", "neutral"]),
        }
    )

    def load_dataset(name, configuration, split, revision=None):
        asked.append((name, configuration, split, revision))
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found super_glue.py")
        rows = {"premise": ["p", "q"], "hypothesis": ["h", "i"], "label": [2, 0]}
        return datasets.Dataset.from_dict(rows, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_superglue_comes_from_the_parquet_branch(online):
    examples = read_task(CB, "validation")
    assert examples.texts == (("p", "h"), ("q", "i"))
    assert examples.labels.tolist() == [2, 0]
    assert online == [
        ("aps/super_glue", "cb", "validation", None),
        ("aps/super_glue", "cb", "validation", "refs/convert/parquet"),
    ]


def test_other_failures_of_the_hub_are_not_hidden(online, monkeypatch):
    def load_dataset(*arguments, **options):
        raise RuntimeError("disk full")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(RuntimeError, match="disk full"):
        read_task(CB, "train")


def test_without_a_network_the_folder_of_the_data_is_asked_for():
    with pytest.raises(ConnectionError, match=r"nyu-mll/glue' could not be fetched.*--data-dir"):
        read_task(SST2, "train")
