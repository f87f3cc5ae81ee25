"""Other people's code, with perturbed evaluation and on perturbed copies."""

from benchmarks.evidence.compatibility.__main__ import main

__all__ = ["main"]
