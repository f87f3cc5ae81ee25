"""Finding a model: a path, or a name on the Hugging Face Hub."""

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError

from loren_jax.checkpoints import CONFIG, TOKENIZER
from loren_jax.models.sentence_encoder import MODULES, POOLING_CONFIGS

DOWNLOADED = [CONFIG, MODULES, POOLING_CONFIGS, *TOKENIZER]
SAFETENSORS = ["model.safetensors.index.json", "*.safetensors"]
PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


def locate(model: str | Path) -> Path:
    """Finds the files of a model.

    Args:
      model: A directory, a single file that is a whole model (GGUF), or the name of a
        model on the Hugging Face Hub, which is downloaded unless it is in the cache.

    Returns:
      The directory or the file.

    Raises:
      FileNotFoundError: If there is no such path, or the Hub does not give a model of the name.

    >>> locate("./no/such/model")
    Traceback (most recent call last):
    ...
    FileNotFoundError: './no/such/model' is neither a directory nor a file, nor can ...
    """
    if Path(model).exists():
        return Path(model)
    file = str(model).endswith((".gguf", ".bin", ".safetensors"))
    if file or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(model)):
        raise FileNotFoundError(
            f"{str(model)!r} is neither a directory nor a file, nor can it be a model's name on "
            "the Hub"
        )
    try:
        return _download(str(model))
    except (OSError, HFValidationError) as error:
        raise FileNotFoundError(
            f"model={str(model)!r} is no path here and could not be fetched from the Hugging Face "
            f"Hub ({type(error).__name__}); with a network, unset HF_HUB_OFFLINE and check the "
            "name; without one, pass a downloaded model's directory"
        ) from error


def _download(name: str) -> Path:
    fetch = lambda patterns: Path(
        huggingface_hub.snapshot_download(name, allow_patterns=[*DOWNLOADED, *patterns])
    )
    directory = fetch(SAFETENSORS)
    # Many models are there in both forms; the older one is fetched only where it is the only one.
    return directory if list(directory.glob("*.safetensors")) else fetch(PICKLED)
