"""Runs beside weights of few bits: what is frozen stays to the bit, what is trained goes out."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints.gguf_files import write_gguf
from stopped_runs import facts, stopped
from tiny_text import write_decoder, write_dialogues

from loren_jax import journal
from loren_jax.cli import main
from loren_jax.models import load_language_model
from loren_jax.models.low_bit import Storage
from loren_jax.models.weights import flatten_params
from loren_jax.quantised import Quantised, as_dense
from loren_jax.train import OPTIONS, TrainRewardConfig, TrainTextConfig, resume, train
from loren_jax.train.reconstruction import export_step, verify

SIZES = {"hidden_size": 32, "intermediate_size": 64}
GGUF_SIZES = {
    "embedding_length": 32,
    "feed_forward_length": 64,
    "block_count": 2,
    "attention.head_count": 2,
    "attention.head_count_kv": 1,
}


def write_packed(directory, packing="Q4_0", seed=0):
    """The directory of a GGUF, whose tokenizer is beside it."""
    write_decoder(directory, **SIZES)
    (directory / "model.safetensors").unlink()
    vocabulary = json.loads((directory / "config.json").read_text())["vocab_size"]
    rng = np.random.default_rng(seed)
    draw = lambda *shape: (0.3 * rng.standard_normal(shape)).astype(np.float32)
    tensors = {"token_embd.weight": draw(vocabulary, 32), "output_norm.weight": draw(32) + 1}
    for layer in range(2):
        own = {"attn_norm": draw(32) + 1, "ffn_norm": draw(32) + 1}
        own |= {"attn_q": draw(32, 32), "attn_k": draw(16, 32), "attn_v": draw(16, 32)}
        own |= {"attn_output": draw(32, 32), "ffn_down": draw(32, 64)}
        own |= {"ffn_gate": draw(64, 32), "ffn_up": draw(64, 32)}
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in own.items()}
    write_gguf(directory / "model.gguf", packing=packing, numbers=GGUF_SIZES, tensors=tensors)
    return directory


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    return write_packed(place / "decoder"), write_dialogues(place / "dialogues.jsonl")


def config_of(files, output, rate=1e-4, scale=1e-3, **more):
    options = OPTIONS["mezo"](learning_rate=rate, perturbation_scale=scale, max_slope=100.0)
    return TrainTextConfig(
        optimizer=options,
        model=str(files[0]),
        data=str(files[1]),
        output=output,
        batch_size=4,
        eval_batch_size=8,
        max_length=60,
        buckets=1,
        steps=6,
        checkpoint_every=2,
        **({"quantise": "file", "eval_every": 6} | more),
    )


@pytest.fixture(scope="module")
def scales(files, tmp_path_factory):
    """A run that trains the scales."""
    config = config_of(files, tmp_path_factory.mktemp("runs") / "scales")
    return config, train(config)


@pytest.fixture(scope="module")
def adapters(files, tmp_path_factory):
    """A run that trains adapters and the norms beside them."""
    output = tmp_path_factory.mktemp("runs") / "adapters"
    config = config_of(
        files, output, 1e-2, 1e-2, lora_rank=2, trainable=("*norm/scale",), eval_every=3
    )
    return config, train(config)


def leaves_of(path, storage=None):
    return flatten_params(load_language_model(path, storage=storage).params)


def test_scales_are_trained_and_go_out_as_the_same_gguf(files, scales):
    config, result = scales
    assert result.summary.facts["trained_parameters"] < result.summary.facts["parameters"] / 30
    before = leaves_of(files[0], Storage("file", ("*/scales",)))
    after = leaves_of(config.output / "trained.gguf", Storage("file", ("*/scales",)))
    for path, leaf in before.items():
        if not isinstance(leaf, Quantised):
            np.testing.assert_array_equal(leaf, after[path])
            continue
        np.testing.assert_array_equal(leaf.codes, after[path].codes)
        assert np.any(leaf.scales != after[path].scales)
    saved = leaves_of(config.output / "model")
    for path, leaf in after.items():  # scales are of half precision in the file
        dense = as_dense(leaf)
        np.testing.assert_allclose(dense, saved[path], rtol=1e-3, atol=1e-6)


def test_the_journal_knows_the_codes_and_makes_the_scales_again(files, scales, tmp_path):
    config, _ = scales
    recorded = journal.read(config.output / "run.journal")
    names = {path: dtype for path, _, dtype in recorded.header["params"]["leaves"]}
    assert names["layers/up/kernel/codes"] == "uint8"
    assert names["layers/up/kernel/scales"] == "float32"
    assert recorded.header["method"]["trained"] == [n for n in names if n.endswith("/scales")]
    assert verify(config.output).same
    export_step(config.output, tmp_path / "model", step=3)
    assert (tmp_path / "model" / "model.safetensors").is_file()
    other = write_packed(tmp_path / "other", seed=1)
    with pytest.raises(journal.JournalError, match=r"the base model.*the numbers are not"):
        verify(config.output, base=str(other))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scales", "adapters"])
def test_an_interrupted_run_goes_on_to_the_same_bits(kind, request, tmp_path):
    config, result = request.getfixturevalue(kind)
    directory = stopped(config, tmp_path / "run", 3)
    resume(directory)
    assert facts(directory) == facts(result.directory)


def test_adapters_beside_a_packed_base_go_out_merged_and_as_peft_has_them(files, adapters):
    config, _ = adapters
    assert not (config.output / "trained.gguf").exists()
    names = {path: dtype for path, _, dtype in frozen_leaves(config)}
    assert names["0/layers/up/kernel/codes"] == "uint8"
    assert verify(config.output).same
    settings = json.loads((config.output / "adapter" / "adapter_config.json").read_text())
    assert settings["r"] == 2
    base, saved = leaves_of(files[0]), leaves_of(config.output / "model")
    np.testing.assert_allclose(saved["layers/up/kernel"], base["layers/up/kernel"], atol=1e-6)
    moved = np.abs(saved["layers/attention/query/kernel"] - base["layers/attention/query/kernel"])
    assert moved.max() > 1e-4
    assert np.any(saved["norm/scale"] != base["norm/scale"])


def frozen_leaves(config):
    return journal.read(config.output / "run.journal").header["run"]["frozen"]["leaves"]


@pytest.mark.slow
def test_a_trunk_of_16_bits_has_trained_leaves_of_32(files, tmp_path):
    trained = ("layers/*norm/scale", "layers/down/kernel")
    config = config_of(files, tmp_path / "run", quantise="bfloat16", trainable=trained)
    train(config)
    leaves = journal.read(config.output / "run.journal").header["params"]["leaves"]
    names = {path: dtype for path, _, dtype in leaves}
    assert names["layers/up/kernel/codes"] == "uint16"  # the bits of bfloat16
    assert names["layers/down/kernel"] == "float32"
    assert names["layers/mlp_norm/scale"] == "float32"


def test_the_command_line_takes_a_file_and_needs_a_rate(files, tmp_path, capsys):
    words = (
        f"train --objective text --model {files[0]} --data {files[1]} --output {tmp_path / 'run'} "
        "--steps 2 --batch-size 4 --max-length 60 --buckets 1 --optimizer mezo --quantise int8"
    )
    assert main(words.split()) == 2
    assert "learning-rate is not given, and for the scales of quantised" in capsys.readouterr().err
    assert main([*words.split(), "--learning-rate", "1e-6"]) == 0
    assert "trained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantise": "bfloat16"}, "quantise bfloat16 has no scales to train: give lora_rank"),
        ({"trainable": ("*/codes",)}, "codes, a part of a quantised matrix that no step changes"),
    ],
)
def test_what_cannot_be_trained_is_refused(options, words, files, tmp_path):
    with pytest.raises(ValueError, match=words):
        train(config_of(files, tmp_path / "run", **options))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loren", "mezo_adam", "lozo", "hizoo", "zo_muon"])
def test_other_methods_train_scales_and_leave_codes_alone(name, files, tmp_path):
    options = OPTIONS[name](learning_rate=1e-4, perturbation_scale=1e-3)
    config = dataclasses.replace(
        config_of(files, tmp_path / "run"), optimizer=options, steps=2, eval_every=2
    )
    train(config)
    before, after = (
        jax.tree.leaves(load_language_model(path, storage=Storage("file")).params)
        for path in (files[0], config.output / "trained.gguf")
    )
    codes = [x.dtype == jnp.uint8 for x in before]
    for code, a, b in zip(codes, before, after, strict=True):
        if code:
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"lora_rank": 1}])
def test_answers_of_a_packed_model_are_rewarded(more, files, tmp_path):
    config = TrainRewardConfig(
        optimizer=OPTIONS["loren"](
            learning_rate=1e-3, perturbation_scale=0.03, num_directions=3, rank=1
        ),
        model=str(files[0]),
        data=str(files[1]),
        reward="f1",
        quantise="file",
        output=tmp_path / "run",
        batch_size=4,
        max_new_tokens=6,
        temperature=1.0,
        steps=2,
        eval_every=2,
        **more,
    )
    assert 0 <= train(config).summary.after["reward"] <= 1
    assert verify(config.output).same
