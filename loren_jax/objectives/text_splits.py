"""The texts of a run: what trains, what selects and what is reported, drawn by the seed."""

from typing import NamedTuple

from loren_jax.objectives.shared_config import HELD_OUT, ObjectiveConfig
from loren_jax.tasks.conversations import Texts, load_texts
from loren_jax.tasks.examples import split
from loren_jax.tasks.sources import HELD_OUT as HELD_OUT_SPLIT
from loren_jax.tasks.sources import is_file, local_splits
from loren_jax.tasks.splits import four_fifths


class TextSplits(NamedTuple):
    """Texts of a run: to train on, to evaluate on, and, if these select, to score once."""

    train: Texts
    held_out: Texts
    test: Texts | None = None


def text_splits(config: ObjectiveConfig, *, answered: bool = True) -> TextSplits:
    """The texts that a configuration asks for, drawn by its seed; perhaps without answers."""
    train, held_out = _load(config, answered)
    train, held_out = _draw(config, train, held_out)
    if config.keep == "last":
        return TextSplits(train, held_out)
    dev = min(config.dev_examples, len(train) // 5)
    _require_some(config, dev, len(train))
    own, selecting = split(train, train=len(train) - dev, held_out=dev, seed=config.seed)
    return TextSplits(own, selecting, held_out)


def _load(config: ObjectiveConfig, answered: bool) -> tuple[Texts, Texts | None]:
    """All texts, and those of a split of their own that is held out, if there is one."""

    def load(data: str, part: str | None) -> Texts:
        columns = config.columns if is_file(data) else None
        options = {"text_columns": config.text_columns, "answered": answered}
        return load_texts(data, split=part, columns=columns, **options)

    train = load(config.data, None)
    if config.held_out_data is None and local_splits(config.data) == ("train",):
        return train, None
    held_out = load(config.held_out_data or config.data, HELD_OUT_SPLIT)
    if held_out.documents != train.documents:
        raise ValueError(
            f"{held_out.places[0]}: the held-out texts and {train.places[0]} are of two kinds, "
            "dialogues and plain texts; give both of one kind"
        )
    return train, held_out


def _draw(config: ObjectiveConfig, train: Texts, held_out: Texts | None) -> tuple[Texts, Texts]:
    """So many as are asked for; held-out texts out of the others, where they have no split."""
    wanted, evaluated, seed = config.train_examples, config.held_out_examples, config.seed
    if held_out is not None:
        count = len(held_out) if evaluated is None else min(evaluated, len(held_out))
        most = len(train) if wanted is None else wanted
        return _first(train, most, seed), _first(held_out, count, seed)
    if evaluated == HELD_OUT and len(train) < 5 * HELD_OUT:
        rest, evaluated_texts = four_fifths(train, seed)
        _require_some(config, len(evaluated_texts), len(train))
        return _first(rest, len(rest) if wanted is None else wanted, seed), evaluated_texts
    if wanted is None and evaluated is None:
        raise ValueError(
            "train_examples and held_out_examples are both None, but both sets come from the same "
            "data; give one of them, or held_out_data"
        )
    evaluated = len(train) - (wanted or 0) if evaluated is None else evaluated
    wanted = len(train) - evaluated if wanted is None else wanted
    _require_some(config, min(evaluated, wanted), len(train))
    return split(train, train=wanted, held_out=evaluated, seed=seed)


def _first(texts: Texts, count: int, seed: int) -> Texts:
    return split(texts, train=count, held_out=0, seed=seed)[0]


def _require_some(config: ObjectiveConfig, count: int, total: int) -> None:
    if count < 1:
        raise ValueError(
            f"{config.data}: {total} texts are too few to hold some of them out; give more, or "
            "--held-out-data"
        )
