"""The header is what the package `gguf` reads, and damage is named."""

import struct

import numpy as np
import pytest
from checkpoints.gguf_files import write_gguf

from loren_jax.checkpoints.gguf.header import read_gguf_header


def test_header_is_what_the_package_reads(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", texts={"general.name": "Größe"})
    import gguf

    theirs = gguf.GGUFReader(path)
    ours = read_gguf_header(path)
    fields = {key: field.contents() for key, field in theirs.fields.items()}
    for key, value in ours.metadata.items():
        assert np.all(np.asarray(value) == np.asarray(fields.pop(key))) or value == 1e-5, key
    assert all(key.startswith("GGUF.") for key in fields)
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        place = ours.tensors[tensor.name]
        assert place.shape == tuple(tensor.shape[::-1].tolist())
        assert (place.kind, place.offset) == (tensor.tensor_type, tensor.data_offset)


def test_float32_becomes_the_shortest_decimal(tmp_path):
    header = read_gguf_header(write_gguf(tmp_path / "model.gguf"))
    assert header.get("llama.attention.layer_norm_rms_epsilon") == 1e-5
    assert header.get("llama.absent", 3) == 3
    with pytest.raises(ValueError, match=r"model\.gguf: the metadata has no 'llama\.absent'"):
        header.require("llama.absent")


def entry(key, kind, content):
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + content


def header(*entries, version=3, tensors=0, count=None, places=b""):
    counts = struct.pack("<IQQ", version, tensors, len(entries) if count is None else count)
    return b"GGUF" + counts + b"".join(entries) + places


HUGE = struct.pack("<Q", 2**60)
PLACE = struct.pack("<Q", 1) + b"a" + struct.pack("<IQIQ", 1, 4, 0, 0)
DAMAGED = {
    "empty": (b"", "is no GGUF"),
    "magic": (b"GGML" + bytes(20), "is no GGUF"),
    "version": (header(version=1), "has GGUF version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "has GGUF version 50331648"),
    "text": (header(entry(b"a", 8, HUGE)), "beyond the file's end"),
    "texts": (header(entry(b"a", 9, struct.pack("<I", 8) + HUGE)), "damaged or incomplete"),
    "numbers": (header(entry(b"a", 9, struct.pack("<I", 4) + HUGE)), "beyond the file's end"),
    "nested": (header(entry(b"a", 9, struct.pack("<IQ", 9, 1))), "metadata of type 9"),
    "kind": (header(entry(b"a", 77, bytes(8))), "metadata of type 77"),
    "entries": (header(count=2**60), "damaged or incomplete"),
    "tensors": (header(tensors=2**60), "damaged or incomplete"),
    "alignment": (header(entry(b"general.alignment", 4, bytes(4))), "general.alignment is 0"),
    "axes": (header(tensors=1, places=PLACE[:9] + b"\xff" + PLACE[10:]), "255 axes"),
    "twins": (header(tensors=2, places=PLACE + PLACE), "two tensors have one name"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_header_is_refused(content, message, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"model.gguf .*{message}"):
        read_gguf_header(path)
