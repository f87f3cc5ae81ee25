"""The file's format: its bytes, and every way in which they can be damaged."""

import json
import struct
import zlib

import numpy as np
import pytest

from loren_jax import journal
from loren_jax.journal.records import encode_header, record_size


def test_the_bytes_are_as_documented(file, header, losses):
    """Read here from the documentation alone."""
    data = file.read_bytes()
    magic, version, length = struct.unpack("<8sHI", data[:14])
    assert (magic, version) == (b"LORENJNL", 1)
    assert json.loads(data[14 : 14 + length]) == header
    (checksum,) = struct.unpack("<I", data[14 + length : 18 + length])
    assert checksum == zlib.crc32(data[: 14 + length])
    for step, record in enumerate(np.split(np.frombuffer(data[18 + length :], "<u4"), 3)):
        checksum = zlib.crc32(record[:-1].tobytes(), checksum)
        assert (record[0], record[-1]) == (step, checksum)
        np.testing.assert_array_equal(record[1:-1].view("<f4"), losses[step].ravel())


def test_what_was_written_is_read(file, header, losses):
    found = journal.read(file)
    assert found.header == header
    np.testing.assert_array_equal(found.losses, losses)
    assert (found.steps, found.leftover, found.damaged) == (3, 0, False)
    assert found.end == file.stat().st_size


def test_losses_that_are_not_finite_keep_their_bits(tmp_path, header):
    bits = np.array([[0x7FC00001], [0xFF800000]], np.uint32).view(np.float32)
    with journal.create(tmp_path / "j", header) as log:
        log.append(0, bits)
    np.testing.assert_array_equal(
        journal.read(tmp_path / "j").losses[0].view(np.uint32), bits.view(np.uint32)
    )


def test_cut_at_every_byte_of_the_last_record(file, losses):
    data = file.read_bytes()
    size = record_size((2, 1))
    for cut in range(size):
        file.write_bytes(data[: len(data) - size + cut])
        found = journal.read(file)
        np.testing.assert_array_equal(found.losses, losses[:2])
        assert (found.leftover, found.damaged) == (cut, False)


def test_cut_at_every_byte_of_the_header(file, header):
    data = file.read_bytes()
    for cut in range(len(encode_header(header))):
        file.write_bytes(data[:cut])
        with pytest.raises(journal.JournalError, match=r"no journal|ends inside its header"):
            journal.read(file)


def test_every_flipped_bit_of_the_header_is_found(file, header):
    data = file.read_bytes()
    for bit in range(8 * len(encode_header(header))):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        with pytest.raises(journal.JournalError):
            journal.read(file)


def test_every_flipped_bit_of_a_record_ends_the_journal_before_it(file, header, losses):
    data = file.read_bytes()
    start, size = len(encode_header(header)), record_size((2, 1))
    for bit in range(8 * start, 8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        whole = (bit // 8 - start) // size
        found = journal.read(file)
        np.testing.assert_array_equal(found.losses, losses[:whole])
        assert found.damaged == (whole < 2)  # of the last record it could be torn


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:8] + struct.pack("<H", 3) + data[10:], "version 3"),
        (lambda data: b"PK" + data[2:], "no journal"),
        (lambda data: b"", "no journal"),
    ],
)
def test_other_files_and_versions_are_refused(file, change, message):
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(journal.JournalError, match=message):
        journal.read(file)


def test_records_of_another_run_do_not_follow(file, tmp_path, header, losses):
    """The same steps behind another header have other checksums."""
    with journal.create(tmp_path / "other", header | {"run": {"name": "other"}}) as log:
        for step, row in enumerate(losses):
            log.append(step, row)
    size = record_size((2, 1))
    mixed = file.read_bytes()[:-size] + (tmp_path / "other").read_bytes()[-size:]
    file.write_bytes(mixed)
    assert journal.read(file).steps == 2


def test_a_header_needs_the_shape_of_the_losses(tmp_path):
    (tmp_path / "j").write_bytes(encode_header({"losses": [2]}))
    with pytest.raises(journal.JournalError, match="losses must be"):
        journal.read(tmp_path / "j")


def test_shortened(file, losses):
    short = journal.read(file).shorten(1)
    assert (short.steps, short.leftover) == (1, 2 * record_size((2, 1)))
    with pytest.raises(journal.JournalError, match="3 whole steps, not 4"):
        journal.read(file).shorten(4)


def test_a_thousand_steps_of_six_losses_are_under_64_kilobytes(tmp_path, header):
    """With a header as large as that of a model of 24 layers."""
    leaves = [[f"layers/{i}/kernel", [24, 1024, 1024], "float32"] for i in range(40)]
    header = header | {"losses": [6, 1], "params": {"leaves": leaves}}
    with journal.create(tmp_path / "j", header, fsync_every=1000) as log:
        for step in range(1000):
            log.append(step, np.zeros((6, 1)))
    assert (tmp_path / "j").stat().st_size < 64_000
