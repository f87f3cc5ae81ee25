"""The classification head of a checkpoint: whether it has one, and for how many classes."""

from collections.abc import Mapping
from typing import Any

from loren_jax.checkpoints import CONFIG, TensorSource
from loren_jax.models.tensor_names import stored_names
from loren_jax.models.weights import WeightTable, head_names

_OTHER_TASKS = ("ForTokenClassification", "ForMultipleChoice")
_HEADS = ("classifier.*", "score.*")


def announces_a_classifier(raw: Mapping[str, Any]) -> bool:
    """Whether a configuration says that its model classifies sequences."""
    return any("SequenceClassification" in str(name) for name in raw.get("architectures") or ())


def heads_of_other_tasks(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Patterns of a head that has the name of a classifier's, and was trained for words or choices.

    Its numbers would be a start like any other, but a worse one than a new head.
    """
    classes = raw.get("architectures") or ()
    others = any(str(name).endswith(_OTHER_TASKS) for name in classes)
    return _HEADS if others and not announces_a_classifier(raw) else ()


def label_count(
    source: TensorSource, table: WeightTable, raw: Mapping[str, Any], wanted: int | None
) -> int:
    """Number of labels: the head's if the checkpoint has one, which must then be the wanted one."""
    names, present = head_names(table), stored_names(source, table)
    if not present.keys() & set(names):
        if announces_a_classifier(raw):
            raise ValueError(
                f"{source.name}: {CONFIG} announces a classifier, but the tensors "
                f"{names} are missing; fetch or export the model again"
            )
        if wanted is None:
            raise ValueError(f"{source.name} has no head; pass num_labels= for a new one")
        return wanted
    if names[-1] not in present:  # half a head, which is refused when the tensors are matched
        return wanted or 1
    labels = source.shape(present[names[-1]])[0]
    if wanted not in (None, labels):
        raise ValueError(
            f"num_labels={wanted}, but {names[-1]!r} in {source.name} has {labels} labels; pass "
            f"num_labels={labels}, or load the encoder from a checkpoint without a head"
        )
    return labels


def new_layer(source: TensorSource, table: WeightTable) -> str | None:
    """Path of the head's last layer, if the checkpoint has no tensor of a head; else None."""
    if stored_names(source, table).keys() & set(head_names(table)):
        return None
    rows = [row for row in table.rows if row.path.startswith(f"{table.head}/")]
    return rows[-1].path.rpartition("/")[0]
