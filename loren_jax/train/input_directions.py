"""The directions that the inputs of a run's matrices vary along, found before its first step."""

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.inputs import input_factors
from loren_jax.tasks import Tokens
from loren_jax.train.config import TrainConfig
from loren_jax.train.loss import cross_entropy
from loren_jax.train.trainee import Trainee
from loren_jax.types import PyTree


def factors_of(
    config: TrainConfig, train: Tokens, trainee: Trainee
) -> dict[str, np.ndarray] | None:
    """Fan-in vectors for every matrix that is trained, from the training texts.

    Labels are not looked at: the loss is run forwards, and what flows into the matrices is taken
    from it.

    Args:
        config: The run.
        train: Its training examples.
        trainee: What it trains.

    Returns:
        Path of a leaf to its vectors; None if the run does not ask for them.

    Raises:
        ValueError: If no trained leaf is a matrix that activations are multiplied with.
    """
    if config.input_directions is None:
        return None
    number, size = len(train.labels), config.eval_batch_size
    batches = [train.rows(np.arange(i, min(i + size, number))) for i in range(0, number, size)]

    def loss(params: PyTree, tokens: Tokens) -> jax.Array:
        logits = trainee.apply(params, *tokens[:3], *trainee.frozen)
        return jnp.mean(cross_entropy(logits, tokens.labels))

    try:
        found = input_factors(
            loss,
            trainee.params,
            count=config.input_directions,
            power=config.input_power,
            batches=batches,
            weights=lambda tokens: tokens.attention_mask,
            mask=trainee.mask,
        )
    except ValueError as error:
        raise ValueError(
            "input_directions: no trained leaf is a matrix that activations are multiplied with; "
            "train one, such as 'classifier/kernel', or leave input_directions away"
        ) from error
    return {path: np.asarray(vectors) for path, vectors in found.items()}


def passes_before(config: TrainConfig, examples: int) -> int:
    """Forward passes of a minibatch that finding them takes: one of all training examples.

    Args:
        config: The run.
        examples: Training examples.

    Returns:
        The number.
    """
    return 0 if config.input_directions is None else -(-examples // config.batch_size)
