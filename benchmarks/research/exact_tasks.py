"""The two problems of `exact`, cut into parts at which gradients may end.

A tree of parameters has one entry a part, in the order of the network, so that the gradient of the
last parts needs no more of the others than their outputs. Blocks are scanned, with `jax.checkpoint`
around each where that is asked for.
"""

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.evidence import llama2c
from benchmarks.evidence.tasks import Task, blocks, classification, language_task
from benchmarks.fetched import minilm
from benchmarks.research import problem
from loren_jax.models import bind, load_classifier, load_language_model, span_loss
from loren_jax.models.cache import Places
from loren_jax.models.layers import padding_mask

Loss = Callable[[Any, Any], jax.Array]


class Parted(NamedTuple):
    """A task whose parameters are cut into parts.

    Attributes:
      task: its loss keeps what a gradient needs.
      remat: the same loss with `jax.checkpoint` around each block.
      lasts: what may be trained by gradients, by name: the last parts.
      above: parts that a gradient goes through above the last ones, untrained.
      weigh: what each row of a batch counts in its mean loss, up to a factor, `(B,)`.
    """

    task: Task
    remat: Loss
    lasts: Mapping[str, tuple[str, ...]]
    above: tuple[str, ...]
    weigh: Callable[[Any], jax.Array]

    def gradient_passes(self, exact: tuple[str, ...]) -> float:
        """What the gradient of some parts counts as: a backward pass is two forward passes.

        Counted are products with matrices: one for the gradient of a matrix and one for that of
        its inputs, of what the gradient goes through; of what lies above, that of the inputs alone.
        """
        size = {name: _matrices(part) for name, part in self.task.params.items()}
        own = sum(2 * size[name] for name in exact)
        through = sum(size[name] for name in self.above if name not in exact)
        return 1 + (own + through) / sum(size.values())


def _matrices(part: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(part) if leaf.ndim > 1)


def through(layers: nnx.Module, x: jax.Array, *shared: Any, remat: bool) -> jax.Array:
    """Stacked layers one after another."""
    layer, stack = nnx.split(layers)
    apply = lambda x, own: (nnx.merge(layer, own)(x, *shared), None)
    return jax.lax.scan(jax.checkpoint(apply) if remat else apply, x, stack)[0]


def language(seed: int, data_dir: Path, model_file: Path | None) -> Parted:
    """`language_task` in four parts: embedding, four blocks, the last block, the last norm.

    The output matrix is the embedding, which the last parts do not have.
    """
    if model_file is None:
        raise SystemExit("language: give --model-file")
    whole = language_task(model_file, seed, data_dir=data_dir)
    params = whole.params
    cut = lambda part: jax.tree.map(lambda x: x[part], params["layers"])
    parts = {
        "word": params["word"],
        "below": cut(slice(-1)),
        "block": cut(slice(-1, None)),
        "norm": params["norm"],
    }
    plain, remat, score = _language_functions(model_file)
    task = whole._replace(name="language", params=parts, loss=plain, score=score)
    return Parted(task, remat, {"block": ("block", "norm")}, ("word",), _tokens)


@functools.cache
def _language_functions(model_file: Path) -> tuple[Loss, Loss, Any]:
    """The same for every seed, so that they are compiled once."""
    config = _config(model_file)

    def loss(params: Any, batch: Any, remat: bool) -> jax.Array:
        join = lambda name: {"word": params["word"], "norm": params["norm"], "layers": params[name]}
        lower, upper = (bind(config, join(name)) for name in ("below", "block"))
        angles = config.rotary.angles(np.arange(batch["ids"].shape[1]), config.head_size)
        shared = Places.whole(batch["mask"]).mask(), angles
        x = through(lower.layers, lower.word(batch["ids"]), *shared, remat=remat)
        x = upper.norm(through(upper.layers, x, *shared, remat=remat))
        return span_loss(upper.token_logits(x), batch["ids"], batch["mask"])

    def score(params: Any, held_out: Any) -> dict[str, jax.Array]:
        def block(part: Any) -> tuple[jax.Array, jax.Array]:
            mask = (part[0]["mask"] * part[1][:, None]).astype(jnp.int32)
            tokens = jnp.sum(mask[:, 1:])
            return loss(params, part[0] | {"mask": mask}, False) * tokens, tokens

        nats, tokens = jax.lax.map(block, held_out)
        return {"loss": jnp.sum(nats) / jnp.sum(tokens)}

    return functools.partial(loss, remat=False), functools.partial(loss, remat=True), score


def _config(model_file: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return load_language_model(llama2c.convert(model_file, Path(folder) / "model")).config


def tail(seed: int, data_dir: Path, model_file: Path | None) -> Parted:
    """MiniLM on SST-2 above its fourth layer, whose outputs are computed once: three parts."""
    found = problem.load(data_dir, seed, "tail")
    cut = lambda part: jax.tree.map(lambda x: jnp.asarray(x[part]), found.params["layers"])
    parts = {
        "below": cut(slice(-1)),
        "block": cut(slice(-1, None)),
        "head": jax.tree.map(jnp.asarray, found.params["classifier"]),
    }
    (plain, score), (remat, _) = _tail_functions(False), _tail_functions(True)
    rows = [part.batch() for part in (found.train, found.dev, found.test)]
    task = Task(
        name="tail",
        params=parts,
        loss=plain,
        score=score,
        metric="loss",
        train=rows[0],
        dev=blocks(rows[1], 64),
        test=blocks(rows[2], 64),
        batch_size=16,
        facts={
            "model": "all-MiniLM-L6-v2",
            "tokens": problem.LENGTH,
            "trained": "two layers, head",
        },
    )
    return Parted(task, remat, {"head": ("head",), "block": ("block", "head")}, (), _alike)


def _tokens(batch: Any) -> jax.Array:
    return jnp.sum(batch["mask"][:, 1:], 1)


def _alike(batch: Any) -> jax.Array:
    return jnp.ones(batch["labels"].shape)


@functools.cache
def _tail_functions(remat: bool) -> tuple[Loss, Any]:
    """The same for every seed, so that they are compiled once."""
    model = load_classifier(minilm(), num_labels=2, key=0)

    def logits(params: Any, inputs: Any) -> jax.Array:
        x, mask = inputs
        join = lambda name: {
            **model.params, "classifier": params["head"], "layers": params[name]
        }  # fmt: skip
        lower, upper = (bind(model.config, join(name)) for name in ("below", "block"))
        x = through(lower.layers, x, padding_mask(mask), remat=remat)
        x = through(upper.layers, x, padding_mask(mask), remat=remat)
        return upper.classify(x, mask != 0)

    return classification(logits)


PROBLEMS: dict[str, Callable[[int, Path, Path | None], Parted]] = {
    "language": language,
    "tail": tail,
}
