"""Names of a network's matrices, as people say them: our modules' and transformers'."""

from collections.abc import Mapping, Sequence

from loren_jax.models.families import family_of
from loren_jax.models.network import NetworkConfig

_KERNEL = "/kernel"
_PATTERN = frozenset("*?[")


def kernel_names(config: NetworkConfig) -> dict[str, tuple[str, str]]:
    """Path of every kernel but the head's -> names of its module, ours and transformers'.

    Args:
      config: A configuration of any family.

    Returns:
      The names in full; `{layer}` in those of transformers stands for the layer's number.

    >>> from loren_jax.models import GPT2Config
    >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=2, n_head=2)
    >>> kernel_names(config)["layers/attention/input/kernel"]
    ('layers/attention/input', 'transformer.h.{layer}.attn.c_attn')
    """
    table = family_of(config).weight_table(config)
    return {
        row.path: (row.path.removesuffix(_KERNEL), row.name.removesuffix(".weight"))
        for row in table.rows
        if row.path.endswith(_KERNEL) and not (table.head and row.path.startswith(f"{table.head}/"))
    }


def kernel_patterns(
    config: NetworkConfig, targets: Sequence[str], leaf_paths: Sequence[str]
) -> tuple[str, ...]:
    """Patterns of paths for what may also be the short name of a module, as PEFT has them.

    A word without `*`, `?` and `[` that is no path itself stands for every kernel whose module is
    called so, here or in transformers, and for none of the head; a pattern stays as it is.

    Args:
      config: A configuration of any family.
      targets: Patterns, paths and names, such as `query`, `q_proj` or `output.dense`.
      leaf_paths: Paths of all parameters.

    Returns:
      Patterns and paths.

    Raises:
      ValueError: If a name is that of no kernel; it lists the names that there are.

    >>> from loren_jax.models import GPT2Config
    >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=2, n_head=2)
    >>> kernel_patterns(config, ["c_attn", "layers/*/bias"], [])
    ('layers/attention/input/kernel', 'layers/*/bias')
    """
    names, found = kernel_names(config), []
    for target in targets:
        if _PATTERN & set(target) or target in leaf_paths:
            found.append(target)
            continue
        meant = [path for path, modules in names.items() if _is_called(modules, target)]
        if not meant:
            raise ValueError(
                f"{target!r} matches no parameter and is the name of no matrix; the names are "
                f"{', '.join(_short(names))}; or give a pattern such as '*/attention/*/kernel'"
            )
        found += meant
    return tuple(dict.fromkeys(found))


def _is_called(modules: tuple[str, str], name: str) -> bool:
    ours, theirs = modules
    return f"/{ours}".endswith(f"/{name}") or f".{theirs}".endswith(f".{name}")


def _short(names: Mapping[str, tuple[str, str]]) -> list[str]:
    """The last words of all names, ours first."""
    ours = {ours.rpartition("/")[2] for ours, _ in names.values()}
    theirs = {theirs.rpartition(".")[2] for _, theirs in names.values()}
    return [*sorted(ours), *sorted(theirs - ours)]
