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


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ('{"base_model_name_or_path": "org/base"}', "org/base"),
        ("{}", "another model"),
        ("[]", "another model"),
        ("{", "another model"),
    ],
)
def test_adapter_is_named_with_its_model(settings, base, tmp_path):
    (tmp_path / "adapter_config.json").write_text(settings)
    save_file(WEIGHTS, tmp_path / "adapter_model.safetensors")
    said = refusal(tmp_path)
    assert f"is a PEFT adapter of {base} and no model; merge it" in said


def test_model_beside_adapter_files_is_opened(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).names() == ["a"]


def test_shards_without_an_index_are_counted(tmp_path):
    for number in (1, 2):
        save_file(WEIGHTS, tmp_path / f"model-0000{number}-of-00002.safetensors")
    assert "has 2 shards (model-00001-of-00002.safetensors, ...) but no index" in refusal(tmp_path)


def test_weights_of_another_name_are_named(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.fp16.safetensors")
    assert "has weights only as model.fp16.safetensors; name that file" in refusal(tmp_path)
    assert open_checkpoint(tmp_path / "model.fp16.safetensors").names() == ["a"]


@pytest.mark.parametrize(
    ("name", "framework"), [("tf_model.h5", "TensorFlow"), ("flax_model.msgpack", "Flax")]
)
def test_weights_of_other_frameworks_are_named(name, framework, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    assert f"has weights of {framework} alone ({name}); take" in refusal(tmp_path)


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
