"""What it gains that all queries of a step draw their answers with the same noise.

    python -m benchmarks reward_noise stories260K    # as llama2c.py writes it

K perturbed models answer the same B prompts under each of R noises, at temperature one; the reward
is the share of an answer's words that have three letters or fewer. The fitness of a model is its
mean reward less that of all K. Its variance over the noise is what a step cannot learn from:

* common: all K models have the noise of one number in a step,
* independent: model k has that of number j + k in step j, so that no two share one.

Both are of the same answers, put together in two ways. `gain` is the ratio of the variances, the
mean over sets of directions with its standard error; `signal / noise` the variance of the models'
mean fitness over the noise, to the variance of one step under common noise.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import loren_jax
from benchmarks.evidence.rewards import FILE, stories
from benchmarks.evidence.rows import Rows
from benchmarks.record import table
from loren_jax.checkpoints import checkpoint_tokenizer
from loren_jax.models import Decoding, LanguageModel, decode, load_language_model, locate
from loren_jax.models.generation import pad_left
from loren_jax.models.sampling import Sampling

QUERIES, PROMPTS, NOISES, SETS, TOKENS, SHORT = 16, 8, 24, 6, 32, 3


def short_words(said: str) -> float:
    """The share of words of three letters or fewer."""
    words = [word.strip('.,!?"') for word in said.split()]
    return float(np.mean([len(word) <= SHORT for word in words])) if words else 0.0


def observed(model: LanguageModel, scale: float) -> Callable[..., Any]:
    """`(set of directions, noise, prompts, their mask) -> tokens`, of all queries."""
    optimizer = loren_jax.loren(
        1.0, num_directions=QUERIES, perturbation_scale=scale, rank=1, chunk_size=QUERIES
    )
    how = Decoding(max_new_tokens=TOKENS, sampling=Sampling(temperature=1.0))
    answers = lambda *given: lambda params: decode(model.config, params, *given[1:], how, given[0])
    state = jax.jit(optimizer.init)(model.params)

    @jax.jit
    def see(state: Any, *given: Any) -> Any:
        return loren_jax.observe(answers(*given), optimizer, model.params, state).tokens

    return lambda number, *given: see(optax.tree.set(state, count=jax.numpy.int32(number)), *given)


def measure(source: str, scale: float) -> dict[str, Any]:
    """A row: one perturbation scale."""
    model, tokenizer = load_language_model(source), checkpoint_tokenizer(locate(source))
    rows, gains, ratios, see = stories(), [], [], observed(model, scale)
    rng = np.random.default_rng(0)
    for number in range(SETS):
        chosen = [rows[i]["prompt"] for i in rng.choice(len(rows), PROMPTS, replace=False)]
        ids, mask = pad_left([tokenizer(prompt)["input_ids"] for prompt in chosen])
        rewards = []
        for key in range(NOISES):
            tokens = np.asarray(see(number, key, ids, mask)).reshape(-1, TOKENS)
            said = tokenizer.batch_decode(tokens, skip_special_tokens=True)
            worth = np.array([short_words(text) for text in said])
            rewards.append(worth.reshape(QUERIES, PROMPTS).mean(-1))
        common = np.array(rewards)
        step, query = np.indices(common.shape)
        independent = common[(step + query) % NOISES, query]
        noise = [_noise(each) for each in (common, independent)]
        gains.append(noise[1] / noise[0])
        fitness = common - common.mean(1, keepdims=True)
        # The mean over R noises still has a share of their variance, which is no signal.
        ratios.append((fitness.mean(0).var(ddof=1) - noise[0] / NOISES) / noise[0])
    return {
        "kind": "noise",
        "scale": scale,
        "gain": float(np.mean(gains)),
        "error": float(np.std(gains, ddof=1) / SETS**0.5),
        "signal / noise": float(np.mean(ratios)),
        "queries": QUERIES,
        "prompts": PROMPTS,
        "noises": NOISES,
        "sets": SETS,
    }


def _noise(rewards: np.ndarray) -> float:
    """The variance of a model's fitness over the noise, the mean over the models."""
    fitness = rewards - rewards.mean(1, keepdims=True)
    return float(fitness.var(axis=0, ddof=1).mean())


def main() -> None:
    """Measures, adds rows, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="directory of stories260K")
    parser.add_argument("--scales", type=float, nargs="+", default=[1e-2, 3e-3])
    options = parser.parse_args()
    rows = Rows(FILE)
    for scale in options.scales:
        if not rows.has(kind="noise", scale=scale):
            rows.add(measure(options.model, scale))
    found = [{n: v for n, v in row.items() if n != "run"} for row in rows.where(kind="noise")]
    print(table(found))


if __name__ == "__main__":
    main()
