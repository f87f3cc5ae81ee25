"""Why a directory that somebody takes for a model is none that we read: told by what is there."""

import json
from pathlib import Path

from loren_jax.checkpoints.directory import ADAPTER_CONFIG

_FOREIGN = {
    "tf_model.h5": "TensorFlow",
    "model.ckpt.index": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "rust_model.ot": "Rust",
    "openvino_model.xml": "OpenVINO",
    "model.onnx": "ONNX",
}


def explain_absence(path: Path, wanted: str) -> FileNotFoundError:
    """The error for a directory without weights or configuration, in one line.

    It says what is there instead and what to do, or else what was `wanted`.
    """
    return FileNotFoundError(
        _adapter(path) or _cache(path) or _inside(path) or _odd(path) or wanted
    )


def _adapter(path: Path) -> str:
    if not (path / ADAPTER_CONFIG).is_file():
        return ""
    try:
        base = json.loads((path / ADAPTER_CONFIG).read_text()).get("base_model_name_or_path")
    except (ValueError, AttributeError):
        base = None
    return (
        f"{path} is a PEFT adapter of {base or 'another model'} and no model; merge it into that "
        "model with PEFT's merge_and_unload(), save the result and name its directory"
    )


def _cache(path: Path) -> str:
    """The Hub's cache of a model, above its snapshots."""
    snapshots = sorted(folder for folder in path.glob("snapshots/*") if folder.is_dir())
    if not snapshots:
        return ""
    return f"{path} is the Hub's cache of a model; name one of its snapshots: {snapshots[-1]}"


def _inside(path: Path) -> str:
    found = sorted(file.parent.name for file in path.glob("*/config.json"))
    models = [name for name in found if list((path / name).glob("*.safetensors"))]
    models += [name for name in found if list((path / name).glob("pytorch_model*.bin"))]
    if not models or (path / "config.json").is_file():
        return ""
    return f"{path} has no model itself, but its folder has one; name {path / models[0]}"


def _odd(path: Path) -> str:
    """Files that would be weights but for something."""
    weights = sorted([*path.glob("*.safetensors*"), *path.glob("pytorch_model*.bin*")])
    if dangling := [file.name for file in weights if file.is_symlink() and not file.exists()]:
        return (
            f"{path / dangling[0]} is a link to a file that does not exist; copy the model with "
            "what its links point to (cp -rL), or fetch it again"
        )
    names = [file.name for file in weights]
    if any("-of-" in name for name in names):
        return (
            f"{path} has {len(names)} shards ({names[0]}, ...) but no index of them (.index.json); "
            "fetch the model again"
        )
    if names:
        return (
            f"{path} has weights only as {', '.join(names)}; name that file, or rename it to "
            "model.safetensors"
        )
    for name, framework in _FOREIGN.items():
        if (path / name).is_file():
            return (
                f"{path} has weights of {framework} alone ({name}); take the model's safetensors, "
                "or convert it with transformers"
            )
    return ""
