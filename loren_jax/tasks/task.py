"""What a named benchmark task is: data, classes, inputs, prompt and metrics, and no code.

One instance per task; `glue.py` and `superglue.py` hold them. The fields are the columns of the
Hugging Face Hub, and the label names are in its order, so that a number means the same everywhere.
"""

import string
from dataclasses import dataclass

from loren_jax.tasks.metrics import METRICS
from loren_jax.tasks.prompts import Prompt


@dataclass(frozen=True)
class DataFile:
    """One local file of a task.

    Attributes:
        name: file name inside the task's folder.
        columns: column names, for a file without a header.
        renamed: pairs of a column in the file and the field that it is.
    """

    name: str
    columns: tuple[str, ...] | None = None
    renamed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Task:
    """A benchmark task.

    Attributes:
        name: as the command line and local folders spell it.
        title: as papers spell it.
        hub: data set on the Hub, with its configuration after a colon.
        label_names: the classes, in the order of their numbers.
        inputs: without a prompt, the text or the pair of texts, from the fields in braces.
        prompt: with a prompt, its template and answers.
        metrics: names in `METRICS`; the first one selects.
        train_files: local files of the training split; alternatives, the first complete one counts.
        validation_files: local files of the validation split, likewise.
        hub_validation: name of the validation split on the Hub.
    """

    name: str
    title: str
    hub: str
    label_names: tuple[str, ...]
    inputs: tuple[str, ...]
    prompt: Prompt
    metrics: tuple[str, ...]
    train_files: tuple[tuple[DataFile, ...], ...]
    validation_files: tuple[tuple[DataFile, ...], ...]
    hub_validation: str = "validation"

    def __post_init__(self) -> None:
        if len(self.prompt.words) != len(self.label_names):
            raise ValueError(
                f"{self.name}: {len(self.prompt.words)} answers for {len(self.label_names)} classes"
            )
        if unknown := set(self.metrics) - set(METRICS):
            raise ValueError(f"{self.name}: unknown metrics {sorted(unknown)}")
        if set(self.prompt.fields) != set(self.fields):
            raise ValueError(f"{self.name}: inputs and prompt have different fields")

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that the inputs need, in their order."""
        return tuple(
            name
            for text in self.inputs
            for _, name, _, _ in string.Formatter().parse(text)
            if name is not None
        )
