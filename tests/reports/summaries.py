"""Numbers of a run, made up."""

from loren_jax.reports import Summary

SUMMARY = Summary(
    steps=150,
    planned_steps=150,
    interrupted=False,
    stopped=False,
    metric=None,
    selected_step=None,
    before={"accuracy": 0.466, "loss": 0.701, "examples": 500},
    after={"accuracy": 0.766, "loss": 0.513, "examples": 500},
    test=None,
    forward_passes=9600,
    evaluation_forward_passes=20,
    nonfinite=0,
    training_seconds=80.0,
    evaluation_seconds=12.34,
    compile_seconds=3.0,
    forward_passes_per_second=120.0,
    temporary_bytes=89 * 2**20,
    peak_resident_bytes=2**30,
    peak_device_bytes=None,
    facts={
        "optimizer": "loren",
        "model": "minilm",
        "data": "reviews",
        "held_out": "held-out",
        "majority_accuracy": 0.534,
        "held_out_examples": 500,
        "trained_parameters": 770,
        "parameters": 22566146,
    },
)
