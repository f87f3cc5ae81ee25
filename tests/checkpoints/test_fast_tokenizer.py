"""A token that is added must have a name."""

import pytest

from loren_jax.checkpoints.fast_tokenizer import fast_tokenizer


@pytest.mark.parametrize("which", [{"add_bos": True}, {"add_bos": False, "add_eos": True}])
def test_added_token_must_be_named(which):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0}, merges=[]))
    with pytest.raises(ValueError, match="does not name"):
        fast_tokenizer(tokenizer, {}, **which)
    wrapped = fast_tokenizer(tokenizer, {"pad_token": "a"}, add_bos=False, chat_template="x")
    assert wrapped("aa")["input_ids"] == [0, 0]
    assert (wrapped.pad_token_id, wrapped.chat_template) == (0, "x")
