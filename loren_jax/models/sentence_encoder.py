"""How a sentence encoder says that it pools its tokens, in all spellings of sentence-transformers.

Such a directory has a file of modules, and the pooling's settings in a folder of their own: a word
(`"pooling_mode": "mean"`) since version 5.4, before that one flag for each mode.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loren_jax.checkpoints import CONFIG, read_json
from loren_jax.checkpoints.directory import read_list

MODULES = "modules.json"
POOLING_CONFIGS = "*_Pooling/config.json"
"""Where the settings of the pooling lie."""

_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# The only flag that holds where it is not written.
_DEFAULT = "pooling_mode_mean_tokens"
_OURS = {"lasttoken": "last", "last": "last", "mean": "mean", "cls": "cls"}


def declared_pooling(directory: Path, poolings: tuple[str, ...]) -> str | None:
    """The pooling that a sentence encoder's directory declares, or None if it declares none.

    The directory may be the folder of the transformer inside the model's, or the file of its
    weights. Another pooling than the family's `poolings`, or several at once, is a ValueError.
    """
    place = _pooling_config(directory)
    if place is None:
        return None
    modes = pooling_modes(read_json(place))
    if not modes:
        return None
    name = _OURS.get(modes[0], "")
    if len(modes) == 1 and name in poolings:
        return name
    raise ValueError(
        f"{place} declares the pooling {' with '.join(modes)}, which this family of models does "
        f"not have here; to train with another one, pass pooling={' or '.join(map(repr, poolings))}"
    )


def pooling_modes(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The modes that the settings of a pooling name, as sentence-transformers calls them.

    >>> pooling_modes({"pooling_mode": "Mean"}), pooling_modes({"pooling_mode_cls_token": True})
    (('mean',), ('mean', 'cls'))
    >>> pooling_modes({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    ('cls',)
    """
    words = settings.get("pooling_mode")
    if words is not None:
        listed = words.split("+") if isinstance(words, str) else words
        return tuple(str(word).strip().lower() for word in listed)
    flags = {_DEFAULT: True, **settings}
    return tuple(mode for flag, mode in _FLAGS.items() if flags.get(flag))


def _pooling_config(path: Path) -> Path | None:
    directory = path if path.is_dir() else path.parent
    for root in (directory, directory.parent):
        if not (root / MODULES).is_file():
            continue
        modules = [m for m in read_list(root / MODULES) if isinstance(m, Mapping)]
        folders = [str(module.get("path", "")) for module in modules]
        if root != directory and directory.name not in folders:
            continue
        for module, folder in zip(modules, folders, strict=True):
            place = root / folder / CONFIG
            if str(module.get("type", "")).endswith("Pooling") and place.is_file():
                return place
    return next(iter(sorted(directory.glob(POOLING_CONFIGS))), None)
