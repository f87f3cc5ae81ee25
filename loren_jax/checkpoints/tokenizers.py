"""The tokenizer of a model: opened from its path, and as files for an export."""

import tempfile
from pathlib import Path
from typing import Any

from loren_jax.checkpoints.directory import CONFIG, read_json, refuse_pointer
from loren_jax.checkpoints.gguf import GGUFFile, gguf_tokenizer, read_gguf_header
from loren_jax.checkpoints.model_type import described_type
from loren_jax.checkpoints.opening import locate_weights

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
"""Files of a Hugging Face directory that make up its tokenizer."""

_GENERATION = "generation_config.json"
_TEMPLATES = "additional_chat_templates"

# Each set is a whole vocabulary; without any, transformers makes up a tokenizer that knows nothing.
_VOCABULARIES = (
    {"tokenizer.json"},
    {"vocab.txt"},
    {"vocab.json", "merges.txt"},
    {"tokenizer.model"},
)


def checkpoint_tokenizer(path: str | Path) -> Any:
    """Opens the tokenizer of a model; never asks the network, and runs nothing.

    Args:
      path: A directory with tokenizer files, a GGUF or a directory with one, or a file of weights
        beside which the tokenizer files lie.

    Returns:
      The Hugging Face tokenizer.

    Raises:
      FileNotFoundError: If there is no such path, or no tokenizer.
      ValueError: If the tokenizer is damaged or of a kind that is not supported.
    """
    path = Path(path)
    if gguf := _carrier(path):
        return gguf_tokenizer(read_gguf_header(gguf))
    directory = path if path.is_dir() else path.parent
    present = [name for name in TOKENIZER if (directory / name).is_file()]
    if not any(vocabulary <= set(present) for vocabulary in _VOCABULARIES):
        locate_weights(path)  # what is no model at all is not told about its tokenizer
        raise FileNotFoundError(
            f"{directory} has no tokenizer's vocabulary (tokenizer.json, vocab.txt, or vocab.json "
            "with merges.txt); copy the tokenizer's files beside the model"
        )
    for name in present:
        refuse_pointer(directory / name)
    raw = read_json(directory / CONFIG) if (directory / CONFIG).is_file() else None
    try:
        return _open(directory, raw)
    except Exception as error:  # tokenizers raises Exception itself
        if raw and not described_type(raw):
            raise ValueError(
                f"{directory / CONFIG} says no model_type, which tells the kind of the tokenizer; "
                'add it, such as "model_type": "bert"'
            ) from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{directory}: its tokenizer ({', '.join(present)}) cannot be opened ({reason}); fetch "
            "it again, or upgrade transformers and tokenizers if it is newer than they are"
        ) from error


def _open(directory: Path, raw: dict[str, Any] | None) -> Any:
    """Opens the tokenizer, for which nothing of a configuration counts but the kinds it names.

    The rest is not for transformers to read: it would tell of what is odd there as the tokenizer's.
    """
    from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig

    options: dict[str, Any] = {}
    if raw is not None:
        kinds = {"tokenizer_class": raw["tokenizer_class"]} if raw.get("tokenizer_class") else {}
        try:
            options["config"] = AutoConfig.for_model(described_type(raw) or "", **kinds)
        except ValueError:  # a type of nobody's, such as that of a mean-pooled BERT
            options["config"] = PreTrainedConfig(**kinds)
    return AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False, **options
    )


def tokenizer_files(path: str | Path) -> dict[str, bytes]:
    """The files of a model's tokenizer, for a directory that transformers opens.

    Args:
      path: As `checkpoint_tokenizer` takes it.

    Returns:
      File name -> content. Those that lie beside the weights as they are; for a GGUF those that
      its tokenizer is saved as; none if there is no tokenizer.

    Raises:
      ValueError: If the tokenizer is damaged or of a kind that is not supported.
    """
    path = Path(path)
    if directory := tokenizer_directory(path):
        files = [directory / name for name in TOKENIZER]
        return {file.name: file.read_bytes() for file in files if file.is_file()}
    try:
        tokenizer = checkpoint_tokenizer(path)
    except FileNotFoundError:
        return {}
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # which is what texts are padded with
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def tokenizer_directory(path: Path) -> Path | None:
    """Where the files of a model's tokenizer lie; None if a GGUF carries it."""
    if _carrier(path):
        return None
    return path if path.is_dir() else path.parent


def _carrier(path: Path) -> Path | None:
    """The GGUF that the tokenizer comes from, unless it has files of its own."""
    if path.is_dir() and any((path / name).is_file() for name in TOKENIZER):
        return None
    try:
        reader, file = locate_weights(path)
    except FileNotFoundError:
        if path.is_dir():
            return None
        raise
    return file if reader is GGUFFile else None


def companion_files(path: str | Path) -> dict[str, bytes]:
    """What lies beside a language model and tells how to write with it, file name -> content."""
    directory = Path(path) if Path(path).is_dir() else Path(path).parent
    files = [directory / _GENERATION, *sorted((directory / _TEMPLATES).glob("*.jinja"))]
    return {str(file.relative_to(directory)): file.read_bytes() for file in files if file.is_file()}
