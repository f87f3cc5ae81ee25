"""Random programs by hand, for minutes or hours: `python -m tests.fuzz --hours 2`.

Run it from the root of the repository. Exit code 1 if any program failed. The process has two
devices for its meshes; one with another number of devices draws other programs of the same seeds.
"""

import argparse
import itertools
import json
import os
import sys

import jaxlib.version

# As in tests/conftest.py: programs compile much and compute little.
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_backend_optimization_level=0",
        "--xla_cpu_parallel_codegen_split_count=1",
        # Meshes are of two devices.
        "--xla_force_host_platform_device_count=2",
        *["--xla_cpu_use_fusion_emitters=false"] * (jaxlib.version.__version_info__ < (0, 11)),
        os.environ.get("XLA_FLAGS", ""),
    ]
)


def main(arguments: list[str] | None = None) -> int:
    """Runs programs as the command line says."""
    options = _options(arguments)
    if options.typed:
        import jaxtyping

        jaxtyping.install_import_hook("loren_jax", "beartype.beartype")
    from . import campaign
    from .operations.table import TABLE

    if options.only is not None and options.only not in TABLE:
        print(f"--only {options.only} is no operation: one of {', '.join(sorted(TABLE))}.")
        return 2
    first = options.seed if options.replay is None else options.replay
    count = options.programs if options.replay is None else 1
    seeds = itertools.count(first) if count is None else iter(range(first, first + count))
    seconds = options.seconds
    if options.hours is not None:
        seconds = options.hours * 3600
    if seconds is None and count is None:
        seconds = 60.0

    def show(program, verdict):
        only = f" --only {options.only!r}" if options.only else ""
        print(f"\nFAILURE; again: python -m tests.fuzz --replay {program.seed}{only}")
        print(f"{program.text}\n  {verdict.what}", flush=True)

    if options.replay is not None:
        from .programs import draw

        print(f"as drawn:\n{draw(options.replay, options.only).text}")
    report = campaign.run(
        seeds,
        seconds=seconds,
        only=options.only,
        on_failure=show,
        on_progress=lambda report: print(report, flush=True),
        every=options.every,
        reduce=not options.whole,
    )
    print(f"\n{report}\n{sum(report.ran.values())} steps of {len(report.ran)} operations compared")
    for title, counts in (("failures", report.failures), ("skipped", report.skips)):
        for name, number in counts.most_common():
            print(f"{title}: {number} x {name}")
    if options.json:
        print(json.dumps({"programs": report.programs, **report.kinds}))
    return int(report.kinds["wrong"] > 0)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="time limit; 60 if nothing else is said")
    parser.add_argument("--hours", type=float, help="time limit in hours")
    parser.add_argument("--seed", type=int, default=0, help="of the first program; then one more")
    parser.add_argument("--programs", type=int, help="how many")
    parser.add_argument("--only", metavar="NAME", help="an operation that each program holds")
    parser.add_argument("--replay", type=int, metavar="SEED", help="one program again")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between progress lines")
    parser.add_argument("--whole", action="store_true", help="do not make failing programs smaller")
    parser.add_argument("--typed", action="store_true", help="check annotated shapes, as tests do")
    parser.add_argument("--json", action="store_true", help="end with counts, as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
