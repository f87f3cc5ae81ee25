"""Images: the models, the weights of a file, the preset and the table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax

ROOT = Path(__file__).parents[2]

# For this import alone: other examples have modules with the names of tests.
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [*sys.path, str(ROOT / "examples")])
    import vision
    import vision_models


def ran(*words, timeout=1200):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "vision.py"), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def tiny(seed=0):
    return vision_models.ViT(8, 4, 1, 8, 2, 2, 3, seed)


def written(path, rng):
    """The small transformer's weights under Google's names."""
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    file = {"cls": normal(1, 1, 8), "embedding/kernel": normal(4, 4, 1, 8)}
    file |= {
        "embedding/bias": normal(8),
        "Transformer/posembed_input/pos_embedding": normal(1, 5, 8),
    }
    norm = lambda name: {f"{name}/scale": normal(8), f"{name}/bias": normal(8)}
    file |= norm("Transformer/encoder_norm")
    for layer in range(2):
        own = f"Transformer/encoderblock_{layer}"
        file |= norm(f"{own}/LayerNorm_0") | norm(f"{own}/LayerNorm_2")
        for i, (a, b) in enumerate(((8, 32), (32, 8))):
            dense = f"{own}/MlpBlock_3/Dense_{i}"
            file |= {f"{dense}/kernel": normal(a, b), f"{dense}/bias": normal(b)}
        for name in ("query", "key", "value"):
            part = f"{own}/MultiHeadDotProductAttention_1/{name}"
            file |= {f"{part}/kernel": normal(8, 2, 4), f"{part}/bias": normal(2, 4)}
        part = f"{own}/MultiHeadDotProductAttention_1/out"
        file |= {f"{part}/kernel": normal(2, 4, 8), f"{part}/bias": normal(8)}
    np.savez(path, **file)
    return file


def test_weights_of_a_file_take_the_place_of_all_but_the_head(tmp_path):
    file = written(tmp_path / "vit.npz", np.random.default_rng(0))
    params = loren_jax.from_nnx(tiny()).params
    loaded = vision.loaded(str(tmp_path / "vit.npz"), params)
    query = "Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/kernel"
    leaves = dict(zip(loren_jax.noise.leaf_paths(loaded), jax.tree.leaves(loaded), strict=True))
    np.testing.assert_array_equal(leaves["blocks/attention/query/kernel"][1], file[query])
    np.testing.assert_array_equal(leaves["patches/kernel"], file["embedding/kernel"])
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(*map(jax.tree.leaves, (params, loaded)), strict=True)
    ]
    of_head = [path.startswith("head") for path in leaves]
    assert changed == [not head for head in of_head]


@pytest.mark.parametrize(
    "model", [tiny, lambda: vision_models.ResNet(1, (4, 8), 3)], ids=["vit", "resnet"]
)
def test_a_model_scores_images(model):
    with jax.numpy_rank_promotion("allow"):
        assert model()(jnp.ones((2, 8, 8, 1))).shape == (2, 3)


def test_a_crop_is_a_part_of_the_image_and_all_of_it_without_a_key():
    image = jnp.broadcast_to(jnp.linspace(0.0, 255.0, 32)[None, :, None, None], (2, 32, 32, 3))
    whole = vision.crop(None, image)
    parts = vision.crop(jax.random.key(0), image)
    assert whole.shape == parts.shape == (2, 224, 224, 3)
    rises = [float(x[-1, 0, 0] - x[0, 0, 0]) for x in (whole[0], *parts)]
    assert rises[0] == pytest.approx(2.0, abs=0.01)
    assert all(0 < rise < rises[0] for rise in rises[1:])
    assert rises[1] != rises[2]


def test_splits_share_no_image():
    pytest.importorskip("sklearn")
    splits = vision.digits(3)
    assert [len(labels) for _, labels in splits] == [1000, 297, 500]
    images = {bytes(np.asarray(image)) for images, _ in splits for image in images}
    assert len(images) > 1780  # a few of the 1,797 are the same


@pytest.mark.slow
def test_all_methods_go_through_one_function_into_one_table():
    pytest.importorskip("sklearn")
    printed = ran("--budget", "60", "--seeds", "2", "--networks", "ResNet")
    rows = re.findall(r"\| ResNet \| (\S+) \| 60 \| \S+ \| 0\.\d{3} ± 0\.\d{3} \|", printed)
    assert rows == ["Adam", "LOREN", "MeZO", "ZO-Muon"]


@pytest.mark.slow
def test_the_preset_is_compiled_of_abstract_arrays():
    printed = ran("--preset", "cifar100-vit-b16", "--compile-only")
    found = re.findall(
        r"(\S+): ([\d,]+) parameters, temporary memory of a step ([\d,]+) MiB", printed
    )
    assert [name for name, _, _ in found] == ["ZO-Muon", "MeZO", "LOREN"]
    assert {count for _, count, _ in found} == {"85,875,556"}
