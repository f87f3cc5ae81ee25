"""Tiny files of llama2.c: a model, and a tokenizer."""

import struct

import numpy as np

WIDTH, HIDDEN, LAYERS, HEADS, KEY_HEADS, LENGTH = 8, 12, 2, 2, 1, 6
PIECES = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256))]
PIECES += ["he", " he", "llo", "ll", "lo", "h", "e", "l", "o", " "]


def write_model(path, *, vocabulary=269, tied=True):
    """Arrays that count from zero through the file; returned in the file's order."""
    shapes = [
        (vocabulary, WIDTH),
        (LAYERS, WIDTH),
        (LAYERS, WIDTH, WIDTH),
        (LAYERS, 4, WIDTH),
        (LAYERS, 4, WIDTH),
        (LAYERS, WIDTH, WIDTH),
        (LAYERS, WIDTH),
        (LAYERS, HIDDEN, WIDTH),
        (LAYERS, WIDTH, HIDDEN),
        (LAYERS, HIDDEN, WIDTH),
        (WIDTH,),
        (LENGTH, 2),
        (LENGTH, 2),
    ]
    shapes += [] if tied else [(vocabulary, WIDTH)]
    sizes = [int(np.prod(shape)) for shape in shapes]
    numbers = np.arange(sum(sizes), dtype="<f4")
    sign = 1 if tied else -1
    header = struct.pack("<7i", WIDTH, HIDDEN, LAYERS, HEADS, KEY_HEADS, sign * vocabulary, LENGTH)
    path.write_bytes(header + numbers.tobytes())
    pieces = np.split(numbers, np.cumsum(sizes)[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def write_tokenizer(path, pieces=PIECES):
    entries = [piece.encode() for piece in pieces]
    scores = [0.0 if number < 259 else -float(number) for number in range(len(entries))]
    path.write_bytes(
        struct.pack("<i", max(map(len, entries)))
        + b"".join(
            struct.pack("<fi", score, len(entry)) + entry
            for score, entry in zip(scores, entries, strict=True)
        )
    )
    return path
