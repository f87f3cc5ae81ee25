"""What is there is named where a model was expected."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.checkpoints import checkpoint_config, open_checkpoint

WEIGHTS = {"a": np.ones(2, np.float32)}


def refusal(directory):
    """What opening says; where there is no configuration, it says the same."""
    with pytest.raises(FileNotFoundError) as without:
        checkpoint_config(directory)
    (directory / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError) as caught:
        open_checkpoint(directory)
    assert str(caught.value) == str(without.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ADAPTER, OF = "adapter_config.json", "is a PEFT adapter of {} and no model; merge it"
WITHOUT = {
    "adapter": ({ADAPTER: '{"base_model_name_or_path": "org/base"}'}, OF.format("org/base")),
    "adapter of nothing": ({ADAPTER: "{}"}, OF.format("another model")),
    "adapter's list": ({ADAPTER: "[]"}, OF.format("another model")),
    "adapter's half": ({ADAPTER: "{"}, OF.format("another model")),
    "shards": (
        {f"model-0000{number}-of-00002.safetensors": "" for number in (1, 2)},
        "has 2 shards (model-00001-of-00002.safetensors, ...) but no index",
    ),
    "TensorFlow": ({"tf_model.h5": ""}, "has weights of TensorFlow alone (tf_model.h5); take"),
    "Flax": ({"flax_model.msgpack": ""}, "has weights of Flax alone (flax_model.msgpack); take"),
    "another name": (
        {"model.fp16.safetensors": ""},
        "has weights only as model.fp16.safetensors; name that file",
    ),
}


@pytest.mark.parametrize(("files", "said"), WITHOUT.values(), ids=WITHOUT)
def test_what_is_there_instead_is_named(files, said, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert said in refusal(tmp_path)


def test_model_beside_adapter_files_is_opened(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    for name in ("model.safetensors", "model.fp16.safetensors"):
        save_file(WEIGHTS, tmp_path / name)
    for path in (tmp_path, tmp_path / "model.fp16.safetensors"):
        assert open_checkpoint(path).names() == ["a"]


def test_link_to_nothing_is_called_so(tmp_path):
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / "absent")
    said = refusal(tmp_path)
    assert "model.safetensors is a link to a file that does not exist; copy" in said


@pytest.mark.parametrize("folder", ["0_Transformer", "snapshots/abc"])
def test_folder_with_the_model_is_named(folder, tmp_path):
    inner = tmp_path / folder
    inner.mkdir(parents=True)
    (inner / "config.json").write_text(json.dumps({"model_type": "bert"}))
    save_file(WEIGHTS, inner / "model.safetensors")
    for ask in (checkpoint_config, open_checkpoint):
        with pytest.raises(FileNotFoundError, match=rf"name .*{folder}$"):
            ask(tmp_path)
