"""A file appears whole or not at all."""

import pytest

from loren_jax.whole_file import whole_file


def test_what_was_there_stays_until_all_is_written(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("before")
    with whole_file(path) as file:
        file.write("née")
        file.flush()
        assert path.read_text() == "before"
    assert path.read_bytes() == "née".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "rows.bin"
    path.write_bytes(b"before")

    def fail():
        with whole_file(path, "wb") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
