"""A model is found by path and by name; what is not there names the way out."""

import huggingface_hub
import pytest

from loren_jax.models import locate


def test_directories_and_files_are_located(tmp_path):
    assert locate(tmp_path) == locate(str(tmp_path)) == tmp_path
    file = tmp_path / "model.gguf"
    file.touch()
    assert locate(file) == locate(str(file)) == file


@pytest.mark.parametrize("name", ["absent", "absent/deeper/still", "absent.gguf", "absent.bin"])
def test_absent_path_is_named_and_not_looked_for_on_the_hub(name, tmp_path):
    for path in (str(tmp_path / name), "models/stories.bin"):
        with pytest.raises(FileNotFoundError, match=f"{path}' is neither a directory nor a file"):
            locate(path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *((name, r"HF_HUB_OFFLINE.*directory$") for name in ("no-such-owner/no-model", "minilm")),
        *((name, r"\(HFValidationError\)") for name in ("owner/a..b", "owner/a--b")),
    ],
)
def test_hub_without_network_or_such_a_name_is_one_line(name, told):
    with pytest.raises(FileNotFoundError, match=rf"{name}.*{told}"):
        locate(name)


@pytest.mark.parametrize("pickled", [False, True])
def test_pickles_are_fetched_only_where_there_are_no_safetensors(pickled, tmp_path, monkeypatch):
    fetched = []

    def download(name, *, allow_patterns):
        fetched.append(allow_patterns)
        if not pickled:
            (tmp_path / "model.safetensors").touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("owner/model") == tmp_path
    asked = ["pytorch_model*.bin" in patterns for patterns in fetched]
    assert asked == ([False, True] if pickled else [False])
    assert all("config.json" in patterns for patterns in fetched)
