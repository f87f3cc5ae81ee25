"""The directions that the inputs of a run's matrices vary along, found before its first step."""

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.inputs import input_factors
from loren_jax.objectives._cross_entropy import cross_entropy
from loren_jax.objectives.adapters import TrainableModel
from loren_jax.objectives.config import ClassificationConfig
from loren_jax.tasks import Tokens
from loren_jax.types import PyTree


def find_factors(
    config: ClassificationConfig, train: Tokens, trainable: TrainableModel
) -> dict[str, np.ndarray]:
    """Fan-in vectors for every matrix that is trained, by path, from the training texts.

    Labels are not looked at: the loss is run forwards, and what flows into the matrices is taken
    from it. A ValueError if no trained leaf is a matrix that activations are multiplied with.
    """
    assert config.input_directions is not None
    number, size = len(train.labels), config.eval_batch_size
    batches = [train.rows(np.arange(i, min(i + size, number))) for i in range(0, number, size)]

    def loss(params: PyTree, tokens: Tokens) -> jax.Array:
        logits = trainable.apply(params, *tokens[:3], *trainable.frozen)
        return jnp.mean(cross_entropy(logits, tokens.labels))

    try:
        found = input_factors(
            loss,
            trainable.params,
            count=config.input_directions,
            power=config.input_power,
            batches=batches,
            weights=lambda tokens: tokens.attention_mask,
            mask=trainable.mask,
        )
    except ValueError as error:
        raise ValueError(
            "input_directions: no trained leaf is a matrix that activations are multiplied with; "
            "train one, such as 'classifier/kernel', or leave input_directions away"
        ) from error
    return {path: np.asarray(vectors) for path, vectors in found.items()}
