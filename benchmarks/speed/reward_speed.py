"""What a step on a reward costs beside plain generation of as many answers by one model.

    python -m benchmarks reward_speed                # SmolLM2-135M, minutes
    python -m benchmarks reward_speed stories260K    # a directory, as llama2c.py writes it

A step is all of it: K perturbed models (LOREN, rank 1) answer the same B prompts, their tokens come
to the host and become text, processes judge the text, rewards become losses, losses the update.
Plain generation answers the same K B prompts in one batch of the unperturbed model, and judges
nothing. Both write the same number of tokens, as no token ends an answer. They take turns in one
process; `share` is the time of the plain generation over that of the step, the median of the turns'
ratios, with the least and the largest; `processor` is that of all threads of this process, minima.

Memory is what XLA plans (`temp_size_in_bytes`): more than plain generation's by `beyond / matrix`
of the model's largest matrix.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.fetched import smollm2
from benchmarks.record import save, table
from benchmarks.timers import Timers
from loren_jax.checkpoints import checkpoint_tokenizer
from loren_jax.models import Decoding, LanguageModel, decode, load_language_model, locate
from loren_jax.objectives.judge import Judge
from loren_jax.runs.programs import Programs, compile_step

QUERIES, PROMPTS, LENGTH, TOKENS = 16, 8, 64, 32


def prompts(model: LanguageModel, length: int) -> np.ndarray:
    """Tokens that mean nothing; what they are costs nothing either."""
    rng = np.random.default_rng(0)
    return rng.integers(3, model.config.vocab_size, (PROMPTS, length)).astype(np.int32)


def plain(model: LanguageModel, ids: np.ndarray) -> tuple[Callable[[], Any], int]:
    """One model that answers all prompts of a step, and its temporary bytes."""
    many, how = np.tile(ids, (QUERIES, 1)), Decoding(max_new_tokens=TOKENS)
    answered = lambda params, ids: decode(model.config, params, ids, jnp.ones_like(ids), how).tokens
    program = jax.jit(answered).lower(model.params, many).compile()
    call = lambda: program(model.params, many)
    return call, program.memory_analysis().temp_size_in_bytes


class Step:
    """A step on a reward; its parts' seconds are summed up in `parts`.

    Args:
        model: The model.
        said: Tokens to text.
        judge: Of the text.
        ids: The prompts.
        chunk: Queries at a time; None for the optimiser's own choice.
    """

    def __init__(
        self,
        model: LanguageModel,
        said: Callable[[np.ndarray], list[str]],
        judge: Judge,
        ids: np.ndarray,
        chunk: int | None,
    ):
        how, mask = Decoding(max_new_tokens=TOKENS), np.ones_like(ids)
        optimizer = loren_jax.loren(1e-6, num_directions=QUERIES, rank=1, chunk_size=chunk)
        self._said, self._judge, self._ids = said, judge, ids
        self._params = jax.tree.map(jnp.copy, model.params)
        self._state = jax.jit(optimizer.init)(self._params)
        answers = lambda params, ids: decode(model.config, params, ids, mask, how)
        self.programs: Programs = compile_step(
            answers, optimizer, self._params, self._state, ids, None, (), self._judged
        )
        self.parts = dict.fromkeys(("judge", "absorb"), 0.0)

    def _judged(self, answers: Any, batch: Any) -> np.ndarray:
        start = time.perf_counter()
        said = self._said(answers.tokens.reshape(-1, TOKENS))
        rewards = self._judge(said, said, [{}] * len(said)).rewards
        found = loren_jax.losses.fitness(jnp.asarray(rewards.reshape(QUERIES, 1, PROMPTS)))
        losses = np.asarray(found.losses)
        self.parts["judge"] += time.perf_counter() - start
        return losses

    def __call__(self) -> Any:
        """A step; the parameters change a little."""
        losses = self.programs.probe(self._params, self._state, self._ids)
        start = time.perf_counter()
        moved = self.programs.absorb(self._params, self._state, losses)
        self._params, self._state = jax.block_until_ready(moved)
        self.parts["absorb"] += time.perf_counter() - start
        return self._state


def measure(source: str, turns: int, chunks: list[int | None]) -> list[dict[str, Any]]:
    """Rows of one model: plain generation, and a step for each way to run its queries."""
    model, tokenizer = load_language_model(source), checkpoint_tokenizer(locate(source))
    length = min(LENGTH, (model.config.max_length or 1024) - TOKENS)
    ids, timers = prompts(model, length), Timers()
    said = lambda rows: tokenizer.batch_decode(rows, skip_special_tokens=True)
    call, temporary = plain(model, ids)
    timers.add("plain", call)
    with Judge("length:1") as judge:
        steps = {}
        for chunk in chunks:
            name = f"step, {'default' if chunk is None else chunk} at once"
            steps[name] = Step(model, said, judge, ids, chunk)
            timers.add(name, steps[name])
            steps[name].parts.update(judge=0.0, absorb=0.0)
        timers.run(turns)
    rows = [_row("plain generation", "plain", timers, {}, temporary)]
    matrix = max(leaf[0].nbytes if leaf.ndim > 2 else leaf.nbytes for leaf in _leaves(model))
    for name, step in steps.items():
        parts = {f"{n} ms": 1e3 * seconds / turns for n, seconds in step.parts.items()}
        own = step.programs.temporary_bytes or 0
        rows.append(_row(name, name, timers, parts, own))
        rows[-1]["beyond / matrix"] = (own - temporary) / matrix
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _leaves(model: LanguageModel) -> list[jax.Array]:
    return jax.tree.leaves(model.params)


def _row(
    by: str, name: str, timers: Timers, parts: Mapping[str, float], temporary: int
) -> dict[str, Any]:
    pairs = zip(timers.seconds["plain"], timers.seconds[name], strict=True)
    shares = sorted(base / own for base, own in pairs)
    tokens, best = QUERIES * PROMPTS * TOKENS, min(timers.seconds[name])
    return {
        "by": by,
        "tokens a second": tokens / best,
        "share": float(np.median(shares)),
        "least": shares[0],
        "largest": shares[-1],
        "ms": 1e3 * best,
        "processor ms": 1e3 * min(timers.processor[name]),
        **parts,
        "temporary MiB": temporary / 2**20,
    }


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a directory or GGUF; by default SmolLM2-135M")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--chunks", type=int, nargs="*", default=[QUERIES])
    parser.add_argument("--default-chunk", action="store_true", help="the optimiser's own, too")
    options = parser.parse_args()
    chunks = [*options.chunks, *([None] if options.default_chunk else [])]
    source = options.model or str(smollm2())
    rows = measure(source, options.turns, chunks)
    print(table(rows))
    name = "reward_speed" if options.model is None else f"reward_speed_{source.rsplit('/', 1)[-1]}"
    sizes = {"queries": QUERIES, "prompts": PROMPTS, "tokens": TOKENS}
    save(name, rows, **sizes, turns=options.turns)


if __name__ == "__main__":
    main()
