"""Versions of installed packages, this one's among them."""

from importlib import metadata


def installed_version(package: str) -> str:
    """The version of an installed package, or `unknown` where it is run from its sources.

    Args:
      package: its name in a package index.

    Returns:
      The version.

    >>> installed_version("no-such-package")
    'unknown'
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
