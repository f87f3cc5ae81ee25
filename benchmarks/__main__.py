"""Runs a benchmark by its name, from the root of a checkout.

python -m benchmarks                     # lists them
python -m benchmarks step_time --quick   # further words are its own options
"""

import importlib
import sys

from benchmarks.catalogue import BY_NAME, listed


def main() -> int | None:
    """Reads the name and leaves the rest of the command line to the benchmark."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "--list"):
        sys.stdout.write(f"{__doc__}\n{listed()}\n")
        return None
    if name not in BY_NAME:
        raise SystemExit(f"there is no benchmark {name!r}: it is one of {', '.join(BY_NAME)}")
    sys.argv = [f"-m benchmarks {name}", *sys.argv[2:]]
    return importlib.import_module(BY_NAME[name].module).main()


if __name__ == "__main__":
    sys.exit(main())
