"""Declared pooling is read in every spelling; one that a family does not have is refused."""

import json

import pytest
from models.conftest import TinyBert
from models.tiny_checkpoints import ENCODERS, TinyCheckpoint, TinyDecoder

from loren_jax.models import load_classifier
from loren_jax.models.location import DOWNLOADED

FLAGS = dict.fromkeys(
    (
        "pooling_mode_cls_token",
        "pooling_mode_mean_tokens",
        "pooling_mode_max_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens",
        "pooling_mode_lasttoken",
    ),
    False,
)
SPELLINGS = {
    "flag": ({**FLAGS, "pooling_mode_mean_tokens": True}, "mean"),
    "flag of the first token": ({**FLAGS, "pooling_mode_cls_token": True}, "cls"),
    "no flag holds": (FLAGS, "cls"),
    "word": ({"embedding_dimension": 8, "pooling_mode": "mean", "include_prompt": True}, "mean"),
    "capitals": ({"pooling_mode": "MEAN"}, "mean"),
    "list": ({"pooling_mode": ["mean"]}, "mean"),
    "word before flags": (
        {**FLAGS, "pooling_mode_mean_tokens": True, "pooling_mode": "cls"},
        "cls",
    ),
    "nothing written": ({"word_embedding_dimension": 8}, "mean"),
}


def bare(checkpoint, directory, settings, folder="1_Pooling", modules=None):
    checkpoint = checkpoint.without_head()
    del checkpoint.raw["pooling"]
    checkpoint.write(directory)
    declare(directory, settings, folder, modules)
    return directory


def declare(root, settings, folder="1_Pooling", modules=None):
    (root / folder).mkdir()
    (root / folder / "config.json").write_text(json.dumps(settings))
    if modules is not None:
        (root / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(("settings", "pooling"), SPELLINGS.values(), ids=SPELLINGS)
def test_pooling_is_read_in_every_spelling(settings, pooling, tmp_path):
    directory = bare(TinyBert(), tmp_path, settings)
    for path in (directory, directory / "model.safetensors"):
        assert load_classifier(path, num_labels=2).config.pooling == pooling
    assert load_classifier(directory, num_labels=2, pooling="cls").config.pooling == "cls"


@pytest.mark.parametrize("kind", ["models", "sentence_transformer.modules"])
def test_pooling_lies_where_the_list_of_modules_says(kind, tmp_path):
    modules = [
        {"idx": 0, "path": "", "type": f"sentence_transformers.{kind}.Transformer"},
        {"idx": 1, "path": "middle", "type": f"sentence_transformers.{kind}.Pooling"},
    ]
    directory = bare(TinyBert(), tmp_path, {"pooling_mode": "mean"}, "middle", modules)
    assert load_classifier(directory, num_labels=2).config.pooling == "mean"


def test_pooling_beside_the_folder_of_the_transformer_is_read(tmp_path):
    modules = [
        {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    declare(tmp_path, {"pooling_mode": "mean"}, modules=modules)
    checkpoint = TinyBert().without_head()
    del checkpoint.raw["pooling"]
    for folder, pooling in {"0_Transformer": "mean", "other": "cls"}.items():
        directory = checkpoint.write(tmp_path / folder)
        assert load_classifier(directory, num_labels=2).config.pooling == pooling


def test_last_token_of_a_decoder_is_its_own_pooling(tmp_path):
    settings = {**FLAGS, "pooling_mode_lasttoken": True}
    directory = bare(TinyDecoder("llama"), tmp_path, settings)
    assert load_classifier(directory, num_labels=2).config.pooling == "last"


@pytest.mark.parametrize(
    ("family", "mode", "own"),
    [
        ("bert", "max", "cls"),
        ("bert", ["mean", "max"], "mean"),
        ("roberta", "mean", "cls"),
        ("distilbert", "mean", "cls"),
        ("llama", "weightedmean", "last"),
    ],
)
def test_pooling_that_a_family_does_not_have_is_refused(family, mode, own, tmp_path):
    checkpoint = TinyDecoder(family) if family == "llama" else TinyCheckpoint(ENCODERS[family])
    directory = bare(checkpoint, tmp_path, {"pooling_mode": mode})
    with pytest.raises(ValueError, match=rf"declares the pooling .*pass pooling=.*'{own}'"):
        load_classifier(directory, num_labels=2)
    assert load_classifier(directory, num_labels=2, pooling=own).config.pooling == own


def test_classifier_pools_as_its_head_was_trained(tmp_path):
    for number, checkpoint in enumerate((TinyBert(), TinyCheckpoint(ENCODERS["distilbert"]))):
        del checkpoint.raw["pooling"]
        directory = checkpoint.write(tmp_path / str(number))
        declare(directory, {"pooling_mode": "mean"})
        assert load_classifier(directory).config.pooling == "cls"


def test_download_brings_the_declaration():
    assert {"modules.json", "*_Pooling/config.json"} <= set(DOWNLOADED)
