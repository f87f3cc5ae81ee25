"""A search in place of training: perturb a model once in many ways, and keep what answers best.

Every report of a model that learned from a reward should stand beside what this gives for as many
answers: a model has many good neighbours (RandOpt, https://arxiv.org/abs/2603.12228).
"""

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from loren_jax import journal
from loren_jax.objectives import Reward
from loren_jax.reports import files
from loren_jax.reports.metrics import MetricsWriter
from loren_jax.reports.summary import Summary, write_report
from loren_jax.runs import Run
from loren_jax.runs.directory import claim, hold
from loren_jax.runs.environment import environment, peak_device_bytes, peak_resident_bytes
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import observe
from loren_jax.types import PyTree


class Candidate(NamedTuple):
    """A perturbation, and the mean reward of its answers to the prompts that all answer.

    Attributes:
      reward: NaN where none of its answers could be judged.
      draw: Number of the step whose directions these would be.
      direction: Which of them.
      point: Which multiple of it.
    """

    reward: float
    draw: int
    direction: int
    point: int


def best_of(run: Run, objective: Reward) -> Summary:
    """Searches with as many answers as the run would ask for, and writes what it found.

    Of `steps` steps a part, their square root, goes into more prompts for each candidate: all
    answer the prompts of these first steps. The best is scored on the held-out prompts, and so is
    the vote of the best few: the answer that most of them give, of equals that of the better one.

    Args:
      run: What would be trained.
      objective: Its objective.

    Returns:
      The numbers, with `reward` of the best and `vote_reward`; the model is the best one's.

    Raises:
      ValueError: The run is of several devices, or its optimiser cannot be asked.
    """
    if run.evaluation is not None and run.evaluation.mesh.size > 1:
        raise ValueError("baseline best-of runs on one device: leave --mesh away")
    assert isinstance(run.optimizer, journal.Method)
    optimizer, start = run.optimizer.build(), time.perf_counter()
    with hold(run.directory):
        claim(run.directory, overwrite=run.overwrite)
        told = {"config": dict(run.config), **environment()}
        files.write_json(run.directory / files.CONFIG, told)
        with MetricsWriter(run.directory / files.METRICS) as metrics:
            metrics.write("config", 0, 0, **told)
            before = dict(objective.evaluate(run.params))
            metrics.write("evaluation", 0, 0, **_numbers(before))
            begun = time.perf_counter()
            found, passes = search(run, objective, optimizer)
            seconds = time.perf_counter() - begun
            best = [_params(optimizer, run.params, one) for one in found[: objective.voters]]
            after = dict(objective.evaluate(best[0])) | _vote(objective, best)
            metrics.write("evaluation", run.steps, passes, **_numbers(after))
        summary = Summary(
            steps=run.steps,
            planned_steps=run.steps,
            interrupted=False,
            stopped=False,
            metric=None,
            selected_step=None,
            before=before,
            after=after,
            test=None,
            forward_passes=passes,
            evaluation_forward_passes=(1 + len(best)) * run.evaluation_passes,
            nonfinite=sum(math.isnan(one.reward) for one in found),
            training_seconds=round(seconds, 3),
            evaluation_seconds=round(time.perf_counter() - start - seconds, 3),
            compile_seconds=0.0,
            forward_passes_per_second=passes / seconds,
            temporary_bytes=None,
            peak_resident_bytes=peak_resident_bytes(),
            peak_device_bytes=peak_device_bytes(),
            facts={**run.told, "candidates": len(found), "voters": len(best)},
        )
        run.finish(best[0])
        write_report(run.directory, summary, run.title, run.held_out)
    return summary


def search(run: Run, objective: Reward, optimizer: ZerothOrder) -> tuple[list[Candidate], int]:
    """All candidates, the best first, and the forward passes that they took."""
    share = math.isqrt(run.steps)
    batches, draws = [run.batch(step) for step in range(share)], run.steps // share
    state = jax.jit(optimizer.init)(run.params)
    value = lambda batch, frozen: lambda params: run.loss(params, batch, *frozen)
    see = jax.jit(
        lambda params, state, batch, frozen: observe(value(batch, frozen), optimizer, params, state)
    )
    found: list[Candidate] = []
    for draw in range(draws):
        own = optax.tree.set(state, count=jnp.int32(draw))
        answers = [see(run.params, own, batch, run.frozen) for batch in batches]
        pairs = zip(answers, batches, strict=True)
        rewards = [objective.rewards(jax.device_get(said), batch)[0] for said, batch in pairs]
        means = _means(np.concatenate(rewards, axis=-1))
        found += [Candidate(float(mean), draw, *where) for where, mean in np.ndenumerate(means)]
        best = max((one.reward for one in found if one.reward == one.reward), default=math.nan)
        print(f"{len(found)} candidates, the best with {best:.4f}", file=sys.stderr)
    found.sort(key=lambda one: -one.reward if one.reward == one.reward else math.inf)
    return found, len(found) * share


def _means(rewards: np.ndarray) -> np.ndarray:
    """Over the prompts, of what could be judged."""
    there = np.isfinite(rewards)
    with np.errstate(invalid="ignore"):
        return np.where(there, rewards, 0).sum(-1) / there.sum(-1)


def _params(optimizer: ZerothOrder, params: PyTree, one: Candidate) -> PyTree:
    state = optax.tree.set(jax.jit(optimizer.init)(params), count=jnp.int32(one.draw))
    return jax.jit(optimizer.ask)(params, state, one.direction, one.point)


def _vote(objective: Reward, best: Sequence[PyTree]) -> dict[str, float]:
    """What the answers are worth that most of the best give to the held-out prompts."""
    said = [objective.says(params) for params in best]
    scores = objective.worth([majority(row) for row in zip(*said, strict=True)])
    return {"vote_reward": scores["reward"], "vote_reward_error": scores["reward_error"]}


def majority(answers: Sequence[str]) -> str:
    """The answer that is given most often, but for case and spaces; of equals the first.

    >>> majority(["No", "yes", "Yes ", "no?"])
    'yes'
    """
    plain = [" ".join(answer.casefold().split()) for answer in answers]
    counts = Counter(plain)
    return answers[max(range(len(plain)), key=lambda number: (counts[plain[number]], -number))]


def _numbers(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if not isinstance(value, dict)}
