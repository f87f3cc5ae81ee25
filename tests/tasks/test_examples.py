"""Examples: invariants, loading of files, splits."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from loren_jax.tasks.examples import Examples, load_examples, split

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the data in {SHARED}")


def make(labels, names=("no", "yes")):
    texts = tuple((f"text {number}",) for number in range(len(labels)))
    return Examples(texts, np.array(labels, np.int32), names)


def test_counts_and_majority():
    examples = make([1, 1, 0, 1], ("no", "yes", "maybe"))
    assert examples.class_counts() == {"no": 1, "yes": 3, "maybe": 0}
    assert examples.majority_accuracy() == 0.75


def test_take_and_select():
    examples = make([1, 0, 1])
    assert examples.take(2).labels.tolist() == [1, 0]
    assert examples.select(np.array([2, 0])).texts == (("text 2",), ("text 0",))
    assert len(examples.take(0)) == 0
    with pytest.raises(ValueError, match="count is 4, but there are 3"):
        examples.take(4)
    with pytest.raises(ValueError, match="no examples"):
        examples.take(0).majority_accuracy()


def test_labels_are_a_read_only_copy():
    labels = np.array([0, 1], np.int32)
    examples = Examples((("a",), ("b",)), labels, ("no", "yes"))
    labels[0] = 1
    assert examples.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="read-only"):
        examples.labels[0] = 1


@pytest.mark.parametrize(
    ("texts", "labels", "names", "message"),
    [
        ((("a",),), [0, 0], ("x",), "1 texts but 2 labels"),
        ((("a",), ("b", "c")), [0, 0], ("x",), "all single texts or all pairs"),
        ((("a",),), [1], ("x",), r"must lie in 0\.\.\.0"),
        ((("a",),), [0], ("x", "x"), "a name twice"),
    ],
)
def test_contradictions(texts, labels, names, message):
    with pytest.raises(ValueError, match=message):
        Examples(texts, np.array(labels, np.int32), names)


def test_held_out_data_uses_the_names_of_the_training_data(tmp_path):
    (tmp_path / "train.tsv").write_text("text\tlabel\na\tpos\nb\tneg\n")
    (tmp_path / "dev.csv").write_text("text,label\nc,pos\n")
    (tmp_path / "odd.csv").write_text("text,label\nc,pos\nd,neutral\n")
    train = load_examples(tmp_path / "train.tsv")
    assert train.label_names == ("neg", "pos")
    held_out = load_examples(str(tmp_path / "dev.csv"), label_names=train.label_names)
    assert held_out.labels.tolist() == [1]
    with pytest.raises(ValueError, match=r"odd\.csv, line 3: unknown label 'neutral'.*neg, pos"):
        load_examples(tmp_path / "odd.csv", label_names=train.label_names)


def test_a_file_has_no_splits(tmp_path):
    with pytest.raises(ValueError, match=r"split is 'train', but .* is a file"):
        load_examples(tmp_path / "a.tsv", split="train")


def test_split_is_disjoint_seeded_and_bounded():
    examples = make([0] * 10)
    train, held_out = split(examples, train=6, held_out=3, seed=1)
    assert len(set(train.texts) | set(held_out.texts)) == 9
    again = split(examples, train=6, held_out=3, seed=1)
    assert again[0].texts == train.texts
    assert again[1].texts == held_out.texts
    assert split(examples, train=6, held_out=3, seed=2)[0].texts != train.texts
    with pytest.raises(ValueError, match=r"8 training and 3 held-out .* only 10"):
        split(examples, train=8, held_out=3, seed=1)
    with pytest.raises(ValueError, match="negative"):
        split(examples, train=-1, held_out=3, seed=1)


@needs_shared
@pytest.mark.parametrize(
    ("name", "rows", "width", "names"),
    [
        ("sst2/train.tsv", 67349, 1, ("0", "1")),
        ("sst2/dev.tsv", 872, 1, ("0", "1")),
        ("rte/train.jsonl", 2490, 2, ("entailment", "not_entailment")),
        ("cb/train.jsonl", 250, 2, ("contradiction", "entailment", "neutral")),
        ("qnli/dev.tsv", 5463, 2, ("entailment", "not_entailment")),
        ("qnli/train_subset_b.json", 1000, 2, ("entailment", "not_entailment")),
        ("mnli/train_subset_a.json", 8999, 2, ("contradiction", "entailment", "neutral")),
    ],
)
def test_real_files(name, rows, width, names):
    examples = load_examples(SHARED / name)
    assert len(examples) == rows
    assert len(examples.texts[0]) == width
    assert examples.label_names == names


@needs_shared
def test_real_file_without_header():
    columns = ("source", "label", "mark", "sentence")
    files = ("in_domain_dev.tsv", "out_of_domain_dev.tsv")
    dev = [load_examples(SHARED / "cola" / name, columns=columns) for name in files]
    assert sum(map(len, dev)) == 1043
    assert all(itertools.chain.from_iterable(dev[0].texts))
