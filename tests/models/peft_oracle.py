"""What PEFT does with a directory of adapters, by its own rules, in numpy."""

import json

import numpy as np
from safetensors.numpy import load_file

WRAPPER = "base_model.model."


def adapted_modules(config, modules):
    """The modules that PEFT's `target_modules` choose."""
    targets = config["target_modules"]
    return {m for m in modules if any(m == t or m.endswith(f".{t}") for t in targets)}


def saved_modules(config, modules):
    """The modules that are replaced as wholes, with those that PEFT adds for a classifier."""
    names = set(config["modules_to_save"] or ())
    if config["task_type"] == "SEQ_CLS":
        names |= {"classifier", "score"}
    return {m for m in modules if any(f"{m}.".startswith(f"{n}.") for n in names)}


def applied(directory, base):
    """The tensors of the base model with the adapters of a directory, in float64.

    Nothing in the directory may be left over, and nothing may be missing.
    """
    config = json.loads((directory / "adapter_config.json").read_text())
    assert (config["peft_type"], config["bias"]) == ("LORA", "none")
    stored = load_file(directory / "adapter_model.safetensors")
    assert all(name.startswith(WRAPPER) for name in stored)
    own = {n.removeprefix(WRAPPER): tensor.astype(np.float64) for n, tensor in stored.items()}
    whole = {name: own.pop(name) for name in list(own) if ".lora_" not in name}
    modules = {name.rpartition(".")[0] for name in (*base, *whole)}
    assert {name.rpartition(".")[0] for name in whole} == saved_modules(config, modules)
    result = {name: tensor.astype(np.float64) for name, tensor in base.items()} | whole
    for module in adapted_modules(config, modules):
        down, up = own.pop(f"{module}.lora_A.weight"), own.pop(f"{module}.lora_B.weight")
        assert down.shape[0] == up.shape[1] == config["r"]
        change = config["lora_alpha"] / config["r"] * up @ down
        result[f"{module}.weight"] += change.T if config["fan_in_fan_out"] else change
    assert not own
    return result
