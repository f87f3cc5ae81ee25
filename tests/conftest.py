"""Strict JAX and no network, before anything imports JAX."""

import gc
import operator
import os
import resource
import zlib
from importlib import util
from pathlib import Path

import jaxlib.version

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("KERAS_BACKEND", "jax")

# Tests compile much and compute little: the back end's optimiser costs more than it gains, and so
# do parts of one module compiled in parallel. Each fusion by the older generator takes half of the
# time; JAX 0.12 does not know it, and an unknown flag ends the process. None of this changes what
# the tests measure of memory. The environment's flags come last, so that they win.
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_backend_optimization_level=0",
        "--xla_cpu_parallel_codegen_split_count=1",
        *["--xla_cpu_use_fusion_emitters=false"] * (jaxlib.version.__version_info__ < (0, 11)),
        os.environ.get("XLA_FLAGS", ""),
    ]
)

import jax
import jaxtyping
import pytest
from _pytest.mark.structures import ParameterSet

jax.config.update("jax_numpy_rank_promotion", "raise")
# Where in the source each operation stands is written into every program, and read by no test.
jax.config.update("jax_traceback_in_locations_limit", 0)
# Traces are many objects that live long: Python would look through all of them again and again.
gc.set_threshold(20_000, 20, 50)


def pytest_itemcollected(item):
    """Half of all tests are slow; of rows of a table and tests of whole runs, seven of eight.

    Which, their names say, so that other promises are kept on other rows, on every machine alike.
    """
    path = item.nodeid.split("::")[0]
    if not path.startswith("tests/"):
        return
    rare = hasattr(item, "callspec") or _WHOLE_RUNS & {*Path(path).parts}
    if zlib.crc32(item.nodeid.encode()) % (8 if rare else 2):
        item.add_marker(pytest.mark.slow)


_WHOLE_RUNS = {"cli", "objectives", "runs", "test_cli.py", "test_run_faults.py", "train"}


def pytest_collection_modifyitems(config, items):
    """Drops what `each_value` leaves out, and skips an example that cannot skip itself."""
    left_out = [item for item in items if item.get_closest_marker("each_value") and _crossed(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    if util.find_spec("keras") is None:
        for item in items:
            if item.name == "loren_jax.frameworks.from_keras":
                item.add_marker(pytest.mark.skip(reason="needs keras"))


def _crossed(item):
    """Whether this row has no part in the walk along all tables at once, the shorter ones again
    and again: then each of its values has been on a row of the walk."""
    places, sizes = [], []
    for table in item.iter_markers("parametrize"):
        names, rows = table.args[:2]
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
        parsed = [ParameterSet.extract_from(row, force_tuple=len(names) == 1) for row in rows]
        own = [item.callspec.params[name] for name in names]
        here = [all(map(operator.is_, row.values, own)) for row in parsed]
        places.append(here.index(True))
        sizes.append(len(here))
    walk = range(max(sizes))
    return places not in [[step % size for size in sizes] for step in walk]


@pytest.fixture(autouse=True, scope="session")
def _programs(tmp_path_factory):
    """What one worker has compiled the others read; processes that tests start and kill do not."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    yield
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """JAX keeps all that it has traced and compiled: gigabytes in the end. While there is room,
    what modules have in common is not compiled again, and no search for garbage looks at it."""
    yield
    if _resident_bytes() > _ROOM:
        jax.clear_caches()
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def _room():
    """Bytes that a worker may keep: half of the machine is the workers'."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        memory = 8 << 30
    return memory // 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


_ROOM = _room()


def _resident_bytes():
    """Of this process, where the system says it; else the most that it has been."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()


@pytest.fixture
def without_checked_annotations():
    """As for a user: the package's own checks speak, not those of its annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny encoder, reviews, and SST-2 in its own files."""
    from tiny_task import write_data, write_model, write_task

    directory = tmp_path_factory.mktemp("place")
    write_model(directory / "encoder")
    write_data(directory / "reviews.tsv")
    write_task(directory / "tasks", train=80)
    return directory
