"""How the tensors of a checkpoint are called: wrappers, tied pairs, adapters and quantisation.

A checkpoint comes from whatever wrote it: a model inside another module puts that module's name
before every other, and of tensors that share their memory only one is stored. Here such names
become those of the weight table; what is no plain model is told by name.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from loren_jax.checkpoints import TensorSource

if TYPE_CHECKING:
    from loren_jax.models.weights import WeightTable

_ADAPTERS = (".base_layer.", ".modules_to_save.", ".original_module.", ".lora_", "lora_embedding_")
_ENCODERS = ("bert", "roberta", "distilbert", "electra")
_PACKED = (
    *(".qweight", ".qzeros", ".scales", ".g_idx", ".SCB", ".absmax", ".quant_map", ".quant_state"),
    *(".weight_scale", ".weight_scale_inv", ".weight_packed", ".weight_format", ".input_scale"),
    *(".weight.absmax", ".weight.quant_map", ".nested_absmax", ".nested_quant_map"),
)


def stored_names(source: TensorSource, table: "WeightTable") -> dict[str, str]:
    """Canonical name of every tensor of a checkpoint -> its name there.

    Also of tensors that the table has no place for, but not of those that are another task's. A
    ValueError if two have one name, or they are of another family, of an adapter or quantised.
    """
    names = source.names()
    _refuse_what_is_no_plain_model(source.name, names)
    wrapper = wrapper_of(names, table)
    _refuse_another_family(source.name, wrapper, table.prefix)
    bare = {name: name.removeprefix(wrapper) for name in names}
    own = (name for name in bare.values() if not table.is_ignored(name))
    prefixed = any(name.startswith(table.prefix) for name in own)
    found = {table.canonical_name(bare[name], prefixed=prefixed): name for name in names}
    if len(found) != len(names):
        raise ValueError(f"{source.name}: two tensors go by the same name; export it anew")
    for twin, canonical in table.tied:
        if canonical not in found and twin in found:
            found[canonical] = found.pop(twin)
    return {name: stored for name, stored in found.items() if not table.is_foreign(name)}


def wrapper_of(names: Iterable[str], table: "WeightTable") -> str:
    """What stands before the names that the table knows, because the model was part of another.

    The first row that is found at the end of a name tells it; whether the rest fits is for the
    matching to say, which is total.

    >>> from loren_jax.models.weights import WeightRow, WeightTable
    >>> table = WeightTable((WeightRow("model.embed.weight", "word/embedding"),), "model.")
    >>> wrapper_of(["module.model.embed.weight"], table)
    'module.'
    >>> wrapper_of(["model.model.embed.weight"], table), wrapper_of(["embed.weight"], table)
    ('model.', '')
    """
    for row in table.rows:
        if not row.name.startswith(table.prefix):
            continue
        anchor = row.first_name.removeprefix(table.prefix)
        for name in names:
            if name == anchor or name.endswith(f".{anchor}"):
                return name.removesuffix(anchor).removesuffix(table.prefix)
    return ""


def _refuse_what_is_no_plain_model(source: str, names: list[str]) -> None:
    for name in names:
        if any(part in name for part in _ADAPTERS):
            raise ValueError(
                f"{source}: tensor {name!r} is of a PEFT adapter that is not merged into its model;"
                " merge it with PEFT's merge_and_unload() and save the model again"
            )
        if name.endswith(_PACKED):
            raise ValueError(
                f"{source}: tensor {name!r} is of a quantised model; take the model in float32, "
                "float16 or bfloat16, or dequantise it before"
            )


def _refuse_another_family(source: str, wrapper: str, prefix: str) -> None:
    """Encoders share most names but do not compute the same: RoBERTa counts positions from 2."""
    others = [part for part in wrapper.split(".") if part in _ENCODERS and f"{part}." != prefix]
    if others:
        raise ValueError(
            f"{source}: its tensors are called '{wrapper}*', but those of the family that "
            f"config.json names '{prefix}*'; correct model_type there, or rename the tensors"
        )
