"""`python -m loren_jax` is `loren-jax`."""

import sys

from loren_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
