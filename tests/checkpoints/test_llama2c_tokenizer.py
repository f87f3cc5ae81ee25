"""The tokenizer beside a llama2.c model segments as run.c does."""

import struct

import pytest
from checkpoints.llama2c_files import PIECES, write_model, write_tokenizer
from checkpoints.real_models import BABY, STORIES

from loren_jax.checkpoints.llama2c_tokenizer import (
    find_llama2c_tokenizer,
    llama2c_tokenizer,
    read_pieces,
)

TEXTS = [
    "Once upon a time, there was a little girl named Lily.",
    "  two  spaces\n\tand a tab ",
    "naïve — “quoted” … 日本 🙂",
    "zzzz oooooo llllll tttthe the  the",
    "",
    " ",
]


def reference(path, text):
    """llama2.c's encoding, from its own file: a space, the characters, the best joint each time."""
    content, pieces, at = path.read_bytes(), [], 4
    while at < len(content):
        score, size = struct.unpack_from("<fi", content, at)
        pieces.append((content[at + 8 : at + 8 + size], score))
        at += 8 + size
    numbers = {piece: number for number, (piece, _) in reversed(list(enumerate(pieces)))}
    ids = [numbers[b" "]] if text else []
    for character in text:
        whole = character.encode()
        ids += [numbers[whole]] if whole in numbers else [3 + byte for byte in whole]
    while True:
        best_score, best = -1e10, None
        for place in range(len(ids) - 1):
            joint = numbers.get(pieces[ids[place]][0] + pieces[ids[place + 1]][0])
            if joint is not None and pieces[joint][1] > best_score:
                best_score, best = pieces[joint][1], (place, joint)
        if best is None:
            return [1, *ids]
        ids[best[0] : best[0] + 2] = [best[1]]


@pytest.mark.parametrize("model", [STORIES])
@pytest.mark.parametrize("text", TEXTS)
def test_segmentation_of_stories_is_that_of_llama2c(text, model):
    tokenizer = llama2c_tokenizer(model)
    ids = tokenizer(text)["input_ids"]
    assert ids == reference(model.with_name("tok512.bin"), text)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("model", [BABY])
def test_baby_has_one_token_for_each_character(model):
    tokenizer = llama2c_tokenizer(model)
    text = "Lily's dog said: “Hi!”"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", *("▁" + text.replace(" ", "▁"))]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer("日本")["input_ids"] == [1, 3, 0]


@pytest.mark.parametrize("text", ["hello", "he llo\nlohé", "  hehello"])
def test_segmentation_of_a_made_tokenizer_is_that_of_llama2c(text, tmp_path):
    write_model(tmp_path / "model.bin")
    path = write_tokenizer(tmp_path / "tok.bin")
    tokenizer = llama2c_tokenizer(tmp_path / "model.bin")
    ids = tokenizer(text)["input_ids"]
    assert ids == reference(path, text)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_special_tokens_have_names(tmp_path):
    write_model(tmp_path / "model.bin")
    write_tokenizer(tmp_path / "tok.bin")
    tokenizer = llama2c_tokenizer(tmp_path / "model.bin")
    assert (tokenizer.unk_token_id, tokenizer.bos_token_id) == (0, 1)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 2)
    assert (tokenizer.eos_token, tokenizer.model_max_length) == ("</s>", 6)


def test_tokenizer_is_found_by_its_size(tmp_path):
    model = tmp_path / "tokens-model.bin"
    write_model(model)
    with pytest.raises(FileNotFoundError, match=r"no tokenizer of 269 tokens.*tok\*\.bin"):
        find_llama2c_tokenizer(model, 269)
    path = write_tokenizer(tmp_path / "tok269.bin")
    write_tokenizer(tmp_path / "tok268.bin", PIECES[:-1])
    assert find_llama2c_tokenizer(model, 269) == path
    write_tokenizer(tmp_path / "tokenizer.bin")
    with pytest.raises(ValueError, match=r"may be tok269\.bin or tokenizer\.bin; leave one"):
        find_llama2c_tokenizer(model, 269)


@pytest.mark.parametrize("kept", [4, 9, 20, -1])
def test_damaged_tokenizer_is_named(kept, tmp_path):
    path = write_tokenizer(tmp_path / "tok.bin")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"tok\.bin(:| is no tokenizer)"):
        read_pieces(path)
