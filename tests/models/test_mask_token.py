"""The mask token is found in whatever files the tokenizer has."""

import json

import pytest

from loren_jax.models.mask_token import mask_token_id

FAST = {"added_tokens": [{"id": 0, "content": "[PAD]"}, {"id": 103, "content": "[MASK]"}]}


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({}, None),
        ({"tokenizer.json": FAST}, 103),
        ({"tokenizer.json": {"added_tokens": []}, "vocab.json": {"<mask>": 7}}, 7),
        ({"vocab.txt": "[PAD]\r\n\r\n[MASK]\r\n"}, 2),
        ({"added_tokens.json": {"<mask>": 9}, "vocab.json": {"a": 0}}, 9),
        (
            {
                "vocab.json": {"<mask>": 7, "<blank>": 8},
                "tokenizer_config.json": {"mask_token": {"content": "<blank>"}},
            },
            8,
        ),
        (
            {
                "vocab.json": {"<mask>": 7, "<blank>": 8},
                "special_tokens_map.json": {"mask_token": "<blank>"},
            },
            8,
        ),
        ({"vocab.json": {"a": 0}, "tokenizer_config.json": {"mask_token": None}}, None),
    ],
)
def test_number_is_found(files, number, tmp_path):
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text, newline="")
    assert mask_token_id(tmp_path) == number
