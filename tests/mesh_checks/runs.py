"""Whole runs, and models as they are read."""

import dataclasses
import tempfile
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from mesh_checks.meshes import mesh_of


def _runs_of(optimizer, **options):
    """Summaries and journals of a run on one device and on two along each axis of a mesh."""
    from tiny_task import write_model, write_task

    from loren_jax import journal
    from loren_jax.train import TrainConfig, train

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_model(place / "encoder")
        write_task(place / "tasks", train=80)
        config = TrainConfig(
            optimizer=optimizer,
            model=str(place / "encoder"),
            data="sst2",
            data_dir=place / "tasks",
            pooling="mean",
            batch_size=8,
            train_examples=40,
            dev_examples=16,
            **options,
        )
        for size in (1, 2):
            own = dataclasses.replace(config, output=place / str(size))
            run = train(own, dict.fromkeys(("population", "data", "model"), size))
            yield run.summary, journal.read(own.output / "run.journal")


def _apart(one, other):
    """How far the losses of two journals are apart."""
    losses = (np.asarray(journal.losses, np.float64) for journal in (one, other))
    return float(np.abs(np.subtract(*losses)).max())


def trained():
    """Whole runs: adapters beside sharded weights, by a method that needs all examples at once."""
    from loren_jax.train import OPTIONS

    method = OPTIONS["mezo_svrg"](learning_rate=0.05, every=2)
    options = {"steps": 4, "micro_batch_size": 4, "eval_every": 2, "checkpoint_every": 3}
    (summary, one), (found, other) = _runs_of(method, **options, lora_rank=2)
    scores = lambda summary: (summary.after["accuracy"], summary.test["accuracy"])
    return {"losses": _apart(one, other), "same scores": scores(summary) == scores(found)}


def paced():
    """Whole runs without a learning rate, whose walk is found on the mesh."""
    from loren_jax.train import OPTIONS

    method = OPTIONS["loren"](num_directions=4)
    (_, one), (_, other) = _runs_of(method, steps=6, eval_every=3)
    walk = lambda run: run.header["method"]["schedule"]["automatic"]["walk"]
    return {"walk": abs(walk(other) / walk(one) - 1), "losses": _apart(one, other)}


def packed():
    """Runs beside matrices of 4 bits that the axis model divides, and what of them lies where."""
    from tiny_text import write_dialogues
    from train.test_low_bit_runs import config_of, write_packed

    from loren_jax import journal
    from loren_jax.models import load_language_model, tensor_parallel
    from loren_jax.models.low_bit import Storage
    from loren_jax.train import train

    ways = {"scales": {}, "adapters": {"rate": 1e-2, "scale": 1e-2, "lora_rank": 2}}
    found = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        files = write_packed(place / "decoder"), write_dialogues(place / "dialogues.jsonl")
        for way, options in ways.items():
            losses = []
            for axes in (1, 2):
                config = config_of(files, place / f"{way}{axes}", **options)
                train(config, dict.fromkeys(("population", "data", "model"), axes))
                recorded = journal.read(config.output / "run.journal").losses
                losses.append(np.asarray(recorded, np.float64))
            found[way] = float(np.abs(losses[0] - losses[1]).max())
        mesh, rule = mesh_of(1, 1, 2), tensor_parallel("model", 2)
        sharding = lambda path, shape: NamedSharding(mesh, rule(path, shape))
        model = load_language_model(files[0], storage=Storage("file"), sharding=sharding)
        leaves = model.params["layers"] | model.params["layers"]["attention"]
        part = lambda array: list(array.addressable_shards[0].data.shape)
        for name in ("up", "down", "output"):
            kernel = leaves[name]["kernel"]
            found[name] = {"codes": part(kernel.codes), "scales": part(kernel.scales)}
        return found


def reading():
    """A checkpoint read part by part: the same parameters, each part read once."""
    from models.tiny_checkpoints import DECODERS, TinyCheckpoint

    from loren_jax.checkpoints.source import SafetensorsFile
    from loren_jax.models import load_language_model, tensor_parallel

    read = []
    whole_part = SafetensorsFile.read_part

    def listened(self, name, index):
        part = whole_part(self, name, index)
        read.append((name, part.size / np.prod(self.shape(name))))
        return part

    SafetensorsFile.read_part = listened
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        raw = DECODERS["llama"] | {"vocab_size": 16, "intermediate_size": 24}
        path = TinyCheckpoint(raw, head="language_model").write(Path(directory) / "tiny")
        expected = load_language_model(path).params
        for kind in (AxisType.Auto, AxisType.Explicit):
            read.clear()
            mesh, rule = mesh_of(2, 1, 4, kind=kind), tensor_parallel("model", 4)
            place = lambda path, shape, mesh=mesh, rule=rule: NamedSharding(mesh, rule(path, shape))
            params = load_language_model(path, sharding=place).params
            up = params["layers"]["up"]["kernel"]
            down = [share for name, share in read if "down_proj" in name]
            found[kind.name] = {
                "equal": jax.tree.all(jax.tree.map(np.array_equal, params, expected)),
                "spec": str(up.sharding.spec),
                "part": up.addressable_shards[0].data.shape,
                "down": down,
                "norm": [share for name, share in read if name == "model.norm.weight"],
            }
    return found


def texts():
    """Text by parameters or prompts that are sharded: the tokens of one device."""
    from models.test_generation import PROMPTS, model_of

    from loren_jax.models import Decoding, Sampling, decode, generate, tensor_parallel
    from loren_jax.models.weights import flatten_params, unflatten_params

    mesh, found = mesh_of(1, 2, 2), {}
    for family in ("llama", "gpt2"):
        model = model_of(family)
        spec = tensor_parallel("model", 2)
        flat = {
            path: jax.device_put(leaf, NamedSharding(mesh, spec(path, leaf.shape)))
            for path, leaf in flatten_params(model.params).items()
        }
        split = model._replace(params=unflatten_params(flat))
        options = {"max_new_tokens": 8, "temperature": 1.5, "key": 2}
        one, other = (generate(m, PROMPTS, **options).tokens for m in (model, split))
        ids = np.random.default_rng(0).integers(3, 13, (4, 6))
        how = Decoding(max_new_tokens=8, sampling=Sampling(temperature=1.5))
        run = jax.jit(lambda p, ids, how=how, c=model.config: decode(c, p, ids, ids > 0, how, 2))
        whole = run(model.params, ids)
        rows = run(split.params, jax.device_put(ids, NamedSharding(mesh, PartitionSpec("data"))))
        found[family] = {
            "parameters": one == other,
            "prompts": bool(np.array_equal(whole.tokens, rows.tokens)),
            "spread": len(rows.tokens.sharding.device_set),
        }
    return found
