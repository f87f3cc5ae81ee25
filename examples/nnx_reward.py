"""A Flax NNX decoder of one's own, trained on what its answers are worth, without a gradient.

Run it: python examples/nnx_reward.py
The decoder is random and tiny; any other that writes tokens from parameters will do. A Python
function judges what all perturbed models of a step say: the share of tokens that are greater than
the one before. It takes half a minute on a CPU and prints the mean reward of answers to held-out
prompts before and after; expected: 0.455 and about 0.86.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import loren_jax

VOCABULARY, WIDTH, PROMPT, ANSWER, QUERIES = 32, 32, 4, 8, 32


class Decoder(nnx.Module):
    """One block of causal attention."""

    def __init__(self, rngs):
        self.tokens = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
        self.places = nnx.Embed(PROMPT + ANSWER, WIDTH, rngs=rngs)
        self.mix = nnx.MultiHeadAttention(4, WIDTH, decode=False, rngs=rngs)
        self.head = nnx.Linear(WIDTH, VOCABULARY, rngs=rngs)

    def __call__(self, ids):
        """Logits of the token behind each."""
        x = self.tokens(ids) + self.places(jnp.arange(ids.shape[1]))
        return self.head(x + self.mix(x, mask=nnx.make_causal_mask(ids)))


functional = loren_jax.from_nnx(Decoder(nnx.Rngs(0)))


def answers(params, prompts, key):
    """What is drawn behind some prompts, with the same noise whatever the parameters are."""
    noise = jax.random.gumbel(key, (ANSWER, len(prompts), VOCABULARY))
    decoder, ids = functional.merge(params), jnp.pad(prompts, ((0, 0), (0, ANSWER)))
    for place, drawn in enumerate(noise, PROMPT):
        ids = ids.at[:, place].set(jnp.argmax(decoder(ids)[:, place - 1] + drawn, axis=1))
    return ids[:, PROMPT:]


reward = lambda said: np.mean(np.diff(said, axis=-1) > 0, axis=-1)  # or any other Python code
optimizer = loren_jax.loren(0.1, num_directions=QUERIES, perturbation_scale=0.1, rank=1)
see = jax.jit(lambda x, s, *of: loren_jax.observe(lambda x: answers(x, *of), optimizer, x, s))
update, params = jax.jit(lambda f, *at: optimizer.update(None, *at, losses=f)), functional.params
state, key, plain = optimizer.init(params), jax.random.key(0), jax.jit(answers)
prompts = np.random.default_rng(0).integers(0, VOCABULARY, (201, 16, PROMPT))
before = reward(plain(params, prompts[-1], key)).mean()
for step, asked in enumerate(prompts[:-1]):
    said = see(params, state, asked, jax.random.fold_in(key, step))  # (QUERIES, 1, 16, ANSWER)
    losses = loren_jax.losses.fitness(jnp.asarray(reward(said))).losses
    updates, state = update(losses, state, params)
    params = optax.apply_updates(params, updates)
print(f"reward {before:.3f} -> {reward(plain(params, prompts[-1], key)).mean():.3f}")
