"""A model of llama2.c becomes a directory that computes and segments as llama2.c does."""

import struct
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.evidence.llama2c import convert
from loren_jax.checkpoints import checkpoint_config, checkpoint_tokenizer, open_checkpoint
from loren_jax.checkpoints.gguf.tensors import half_split
from loren_jax.models import generate, load_language_model, span_loss

WIDTH, HIDDEN, LAYERS, HEADS, KEY_HEADS, LENGTH = 8, 12, 2, 2, 1, 6
PIECES = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256))]
PIECES += ["he", " he", "llo", "ll", "lo", "h", "e", "l", "o", " "]
LAYER = {
    "input_layernorm": (WIDTH,),
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (4, WIDTH),
    "self_attn.v_proj": (4, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "post_attention_layernorm": (WIDTH,),
    "mlp.gate_proj": (HIDDEN, WIDTH),
    "mlp.down_proj": (WIDTH, HIDDEN),
    "mlp.up_proj": (HIDDEN, WIDTH),
}
TURNED = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KEY_HEADS}


def write(folder, *, tied=True, pieces=PIECES):
    """Numbers that count through the file, and what becomes of them."""
    count, expected, content = 0, {}, b""

    def put(name, shape):
        nonlocal count, content
        array = np.arange(count, count + np.prod(shape), dtype="<f4").reshape(shape)
        count, content = count + array.size, content + array.tobytes()
        expected[f"{name}.weight"] = array

    put("model.embed_tokens", (len(pieces), WIDTH))
    for name, shape in LAYER.items():
        for layer in range(LAYERS):
            full = f"model.layers.{layer}.{name}"
            put(full, shape)
            if name in TURNED:
                rows = half_split(expected[f"{full}.weight"], TURNED[name])
                expected[f"{full}.weight"] = rows
    put("model.norm", (WIDTH,))
    put("rotation", (2 * LENGTH, 2))
    del expected["rotation.weight"]
    if not tied:
        put("lm_head", (len(pieces), WIDTH))
    tokens = len(pieces) if tied else -len(pieces)
    header = struct.pack("<7i", WIDTH, HIDDEN, LAYERS, HEADS, KEY_HEADS, tokens, LENGTH)
    (folder / "model.bin").write_bytes(header + content)
    entries = [piece.encode() for piece in pieces]
    scores = [0.0 if number < 259 else -float(number) for number in range(len(entries))]
    (folder / "tok.bin").write_bytes(
        bytes(4)
        + b"".join(struct.pack("<fi", s, len(e)) + e for s, e in zip(scores, entries, strict=True))
    )
    return folder / "model.bin", expected


@pytest.mark.parametrize("tied", [True, False])
def test_every_array_is_found_and_named(tied, tmp_path):
    model, expected = write(tmp_path, tied=tied)
    directory = convert(model, tmp_path / "out")
    source = open_checkpoint(directory)
    assert sorted(source.names()) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(source.read(name), array)
    assert checkpoint_config(directory)["tie_word_embeddings"] == tied
    assert load_language_model(directory).config.max_length == LENGTH


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


def check_segmentation(directory, tokens, *texts):
    tokenizer = checkpoint_tokenizer(directory)
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert ids == reference(tokens, text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert (tokenizer.bos_token, tokenizer.pad_token_id) == ("<s>", 2)


def test_segmentation_is_that_of_llama2c(tmp_path):
    directory = convert(write(tmp_path)[0], tmp_path / "out")
    check_segmentation(directory, tmp_path / "tok.bin", "hello", "he llo\nlohé", "  hehello")


def test_damaged_files_and_missing_tokenizers_are_named(tmp_path):
    model, _ = write(tmp_path)
    content = model.read_bytes()
    for kept in (0, 20, 28, -4):
        model.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=r"model\.bin(: its header asks| is no float32 model)"):
            convert(model, tmp_path / "out")
    model.write_bytes(content)
    (tmp_path / "tok.bin").unlink()
    with pytest.raises(ValueError, match="0 files tok"):
        convert(model, tmp_path / "out")


STORIES = (
    Path(__file__).resolve().parents[3] / "shared" / "models" / "stories260K" / "stories260K.bin"
)


@pytest.mark.skipif(not STORIES.is_file(), reason=f"needs {STORIES}")
def test_trained_story_teller_tells_a_story_and_predicts_one(tmp_path):
    """A wrong turn of the rotary embedding or a transposed matrix leaves a text without sense.

    The golden perplexity is that of transformers 5.23.0 with torch 2.13.0.
    """
    directory = convert(STORIES, tmp_path / "stories")
    texts = ("  two  spaces\n\tand a tab ", "naïve “quoted” 日本 🙂", "zz ooo lll tthe", "", " ")
    check_segmentation(directory, STORIES.with_name("tok512.bin"), *texts)
    loaded, tokenizer = load_language_model(directory), checkpoint_tokenizer(directory)
    written = tokenizer.decode(generate(loaded, [1], max_new_tokens=63)).strip()
    assert written.startswith("Once upon a time, there was a little girl named Lily. She loved to")
    story = "Once upon a time there was a little girl. She liked to play with her dog in the park."
    ids = np.array([tokenizer(story)["input_ids"]])
    logits = jax.jit(loaded.apply)(loaded.params, ids, np.ones_like(ids))
    perplexity = np.exp(span_loss(logits, ids, np.ones_like(ids)))
    assert perplexity == pytest.approx(2.432728, rel=1e-3)
