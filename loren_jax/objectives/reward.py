"""Answers that are worth something: a language model fine-tuned on a reward without a gradient."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int32, UInt32

from loren_jax import noise
from loren_jax.evaluation import Sharded
from loren_jax.losses import fitness
from loren_jax.models import Generated, LanguageModel, generate, locate, span_loss
from loren_jax.models.decoding import Answers, Decoding, decode
from loren_jax.models.generation import pad_left, resolve_options, round_length
from loren_jax.models.sampling import Sampling
from loren_jax.models.weights import ShardingOf
from loren_jax.objectives.adapters import storage_of, trainable_model
from loren_jax.objectives.drift import Drift
from loren_jax.objectives.judge import Judge
from loren_jax.objectives.reward_config import RewardConfig
from loren_jax.objectives.reward_tally import Tally, tell
from loren_jax.objectives.rewarded_prompts import Prompts
from loren_jax.objectives.saved_model import ModelObjective, model_directory
from loren_jax.objectives.saved_text import (
    DEFAULT_MAX_LENGTH,
    TextOrigin,
    TextReader,
    causal_model,
    save_text_model,
)
from loren_jax.objectives.shared_config import length_limit
from loren_jax.objectives.text_splits import text_splits
from loren_jax.reports.answers import ANSWERS
from loren_jax.tasks.batches import batch_indices
from loren_jax.tasks.rewards import source_of
from loren_jax.types import PyTree


class Asked(NamedTuple):
    """The prompts of a step.

    Attributes:
      input_ids: int32 array [B, T], padded on the left.
      attention_mask: bool array [B, T], true at tokens.
      rows: int32 array [B], the number of each among all prompts.
      key: uint32 array [2], of the noise that answers are drawn with.
    """

    input_ids: Int32[Any, "B T"]
    attention_mask: Bool[Any, "B T"]
    rows: Int32[Any, " B"]
    key: UInt32[Any, "2"]


class Reward(ModelObjective):
    """The objective of a rewarded model; see `loren_jax.objectives.objective` for its attributes.

    Args:
      config: What is asked.
      evaluation: The mesh that the optimiser evaluates on.
      sharding: `(path, shape) -> NamedSharding` of the model's parameters; None for one device.
      shown: Whether to tell what is learned from what.

    Raises:
      ValueError: If the data, the checkpoint, the reward or an argument is wrong.
      OSError: If a file is absent.
      ImportError: If the model's chat template needs a package that is absent.
    """

    def __init__(
        self,
        config: RewardConfig,
        *,
        evaluation: Sharded | None = None,
        sharding: ShardingOf | None = None,
        shown: bool = True,
    ):
        self._config, self._evaluation = config, evaluation
        source = locate(model_directory(config.model))
        splits = text_splits(config, answered=False)
        model = causal_model(
            source, dtype=config.dtype, sharding=sharding, storage=storage_of(config)
        )
        room = _room(model.config.max_length, config.max_new_tokens)
        limit = length_limit(config.max_length, min(DEFAULT_MAX_LENGTH, room or sys.maxsize), room)
        reader = TextReader(source, template=config.template)
        self._train = Prompts(splits.train, reader, limit)
        self._asked = held_out = Prompts(splits.held_out, reader, limit)
        sampling = Sampling(temperature=config.temperature)
        options = resolve_options(
            model.config, self._train.tokens, config.max_new_tokens, reader.stop_tokens, sampling
        )
        self._length = round_length(max(map(len, self._train.tokens)))
        answered = _answer_function(model, options, config.max_new_tokens)
        self._logits = trainable_model(config, model).apply
        trainable = trainable_model(config, model._replace(apply=answered))
        super().__init__(config, trainable, source, model.config)
        self._drift = None
        if config.anchored_weight_decay is not None:
            self._drift = Drift(model.apply, self.merge(self.params))
        self._tally, self._held_out_prompts = Tally(), len(held_out.tokens)

        def score(prompts: Prompts) -> Callable[[PyTree], dict[str, Any]]:
            return lambda params: self._score(prompts, params)

        self.evaluate = score(held_out)
        self.test, self._test_prompts = None, None
        if splits.test is not None:
            self._test_prompts = Prompts(splits.test, reader, limit)
            self.test = score(self._test_prompts)
        # Of one answer each, as a forward pass of a step also is.
        self.evaluation_passes = -(-len(held_out.tokens) // config.batch_size)
        self.batches = -(-len(self._train.tokens) // config.batch_size)
        self.select = "reward" if config.keep == "best" else None
        self.held_out = "dev" if config.keep == "best" else "held-out"
        self.shown: tuple[str, ...] = ("truncated", "reward")
        self.answers, self.voters = config.batch_size, config.voters
        self.title = f"{config.model}, {config.data}, {config.reward}, seed {config.seed}"
        self.inputs = {"prompts": self._train.flat(), "held-out prompts": held_out.flat()}
        self.inputs["reward"] = np.frombuffer(source_of(config.reward), np.uint8)
        self.full_batch, self.factors, self.passes_before = None, None, 0
        self._origin = TextOrigin(source, model.config, reader.template, "completion", limit)
        self._model, self._reader = model._replace(params={}), reader
        self._cut = self._train.cut + held_out.cut
        if config.batch_size > len(self._train.tokens):
            raise ValueError(
                f"batch_size is {config.batch_size}, but there are only "
                f"{len(self._train.tokens)} prompts to train on: lower batch_size"
            )
        # Last, as its processes take seconds to start.
        self._judge = Judge(config.reward, seconds=config.reward_seconds)
        if shown:
            print(self._describe(len(held_out.tokens)), file=sys.stderr)

    @property
    def facts(self) -> dict[str, Any]:
        """What a journal must say so that the model can be made again from it."""
        _, _, template, loss_on, max_length = self._origin
        return {"max_length": max_length, "template": template, "loss_on": loss_on}

    @property
    def told(self) -> dict[str, Any]:
        """Facts for the summary."""
        config = self._config
        return {
            "model": config.model,
            "data": config.data,
            "reward": config.reward,
            "seed": config.seed,
            "template": self._origin.template,
            "held_out": self.held_out,
            "train_examples": len(self._train.tokens),
            "held_out_examples": self._held_out_prompts,
            "prompts_cut": self._cut,
            "trained_parameters": self.trainable.trained_parameters,
            "parameters": self.trainable.parameters,
            "answers_per_pass": config.batch_size,
            "columns": [],
        }

    def loss(self, params: PyTree, batch: Asked, *frozen: Any) -> Any:
        """The answers to a batch, of which `judge` makes losses."""
        return self.trainable.apply(params, batch.input_ids, batch.attention_mask, batch, *frozen)

    def prompt_loss(self, params: PyTree, batch: Asked, *frozen: Any) -> jax.Array:
        """Mean cross-entropy of the tokens of prompts, which says how much noise a model bears.

        Rewards do not: they may be zero at the start, and what a step compares has a mean of zero.
        """
        ids, mask = batch.input_ids, jax.numpy.asarray(batch.attention_mask)
        behind = jax.numpy.pad(mask, ((0, 0), (1, 0)))[:, :-1]  # none is foretold by padding
        places = jax.numpy.broadcast_to(jax.numpy.arange(ids.shape[1]), ids.shape)
        return span_loss(self._logits(params, ids, mask, places, *frozen), ids, mask & behind)

    def judge(self, answers: Answers, batch: Asked) -> np.ndarray:
        """The losses (K, S) of the answers that all queries gave."""
        lengths, prompts = answers.lengths, answers.lengths.shape[-1]
        rewards, said, failures = self.rewards(answers, batch)
        config = self._config
        scale = None if config.compared == "plain" else config.compared
        found = fitness(jax.numpy.asarray(rewards, np.float32), scale)
        first = np.array(said, object).reshape(-1, prompts)
        self._tally.add(
            np.asarray(batch.key).tobytes(),
            rewards,
            failures,
            np.asarray(answers.ended),
            changed=int((first != first[:1]).any(0).sum()),
            tied=round(float(found.tied) * prompts),
            prompts=prompts,
            tokens=int(np.sum(lengths)),
        )
        return np.asarray(found.losses)

    def rewards(
        self, answers: Answers, batch: Asked
    ) -> tuple[np.ndarray, list[str], Mapping[str, int]]:
        """What the answers of all queries are worth (K, S, B), the texts, and why some are not."""
        tokens, lengths, _ = answers
        rows = np.broadcast_to(batch.rows, lengths.shape).reshape(-1)
        said = [
            self._reader.decode(row[:length].tolist())
            for row, length in zip(
                tokens.reshape(-1, tokens.shape[-1]), lengths.reshape(-1), strict=True
            )
        ]
        rewards, failures = self._train.judge(self._judge, rows.tolist(), said)
        return rewards.reshape(lengths.shape), said, failures

    def batch(self, step: int) -> Asked:
        """The prompts of a step."""
        config = self._config
        rows = batch_indices(config.seed, step, len(self._train.tokens), config.batch_size)
        ids, mask = pad_left([self._train.tokens[row] for row in rows])
        wider = ((0, 0), (self._length - ids.shape[1], 0))
        key = noise.words(noise.fold(noise.run_key(config.seed), step))
        asked = Asked(
            np.pad(ids, wider), np.pad(mask, wider), rows.astype(np.int32), np.asarray(key)
        )
        if self._evaluation is None:
            return asked
        placed = self._evaluation.place_batch(asked._replace(key=asked.rows))
        return placed._replace(key=asked.key)

    def save(self, directory: Path, params: PyTree) -> None:
        """Writes the model of merged parameters, which `generate` and transformers read."""
        save_text_model(directory, self._origin, params, overwrite=True)

    def says(self, params: PyTree) -> list[str]:
        """The greedy answers to the held-out prompts."""
        return [self._reader.decode(tokens) for tokens in self._greedy(params, self._asked).tokens]

    def worth(self, said: Sequence[str]) -> dict[str, Any]:
        """The mean `reward` of answers to the held-out prompts, and its `reward_error`."""
        return self._mean(self._asked, said)[0]

    def _greedy(self, params: PyTree, prompts: Prompts) -> Generated:
        return generate(
            self._model._replace(params=self.merge(params)),
            prompts.tokens,
            max_new_tokens=self._config.max_new_tokens,
            stop_tokens=self._reader.stop_tokens,
            batch_size=self._config.eval_batch_size,
        )

    def _mean(self, prompts: Prompts, said: Sequence[str]) -> tuple[dict[str, Any], np.ndarray]:
        """Scores of answers, and what each is worth."""
        rewards, failures = prompts.judge(self._judge, range(len(said)), said)
        there, nan = rewards[np.isfinite(rewards)], float("nan")
        tell(failures, "held-out answers")
        scores = {
            "reward": float(there.mean()) if len(there) else nan,
            "reward_error": float(there.std() / (len(there) - 1) ** 0.5) if len(there) > 1 else nan,
            "failed": sum(failures.values()) / len(said),
            "examples": len(said),
        }
        return scores, rewards

    def _score(self, prompts: Prompts, params: PyTree) -> dict[str, Any]:
        """The rewards of greedy answers, and what was counted since the last of these."""
        found = self._greedy(params, prompts)
        said = [self._reader.decode(tokens) for tokens in found.tokens]
        scores, rewards = self._mean(prompts, said)
        scores["truncated"] = 1 - sum(found.ended) / len(found.ended)
        if prompts is self._test_prompts:  # looked at once, for its numbers
            return scores
        if self._drift is not None:
            scores |= self._drift(self.merge(params), prompts.tokens, found.tokens)
        since, self._tally = self._tally.shares(), Tally()
        return scores | since | {ANSWERS: prompts.excerpt(said, rewards.tolist())}

    def _describe(self, held_out: int) -> str:
        lines = [
            f"{self._config.data}: {len(self._train.tokens)} prompts to train on, {held_out} held "
            f"out; rewarded by {self._config.reward}"
        ]
        if self._cut:
            lines.append(
                f"{self._cut} of them are longer than {self._origin.max_length} tokens and are cut "
                "from the left"
            )
        return "\n".join(lines)


def _room(positions: int | None, answer: int) -> int | None:
    """The tokens of a prompt that a model has room for beside an answer; None without a limit."""
    if positions is not None and positions <= answer:
        raise ValueError(
            f"max_new_tokens is {answer}, but the model has {positions} positions, which leaves no "
            "room for a prompt: lower it"
        )
    return None if positions is None else positions - answer


def _answer_function(model: LanguageModel, options: Decoding, most: int) -> Callable[..., Any]:
    """`(params, ids, mask, batch) -> answers`, with the noise of the batch."""

    def answer(params: PyTree, ids: Any, mask: Any, batch: Asked) -> Answers:
        key = noise.from_words(jax.numpy.asarray(batch.key))
        return decode(model.config, params, ids, mask, options, key, rows=batch.rows, limit=most)

    return answer
