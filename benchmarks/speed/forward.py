"""Forward passes of our own networks beside `transformers` with PyTorch.

MiniLM's shape and that of a Llama of SmolLM2's, random weights, float32: the last hidden states of
a batch, in one process, turn by turn, on all cores. Beside them what each takes for its products
with weights alone, the floor of a network on that library: the rest is attention, gelu, norms.

Needs `torch` (`pip install torch`).

    python -m benchmarks forward                # some five minutes
    python -m benchmarks forward --tokens 16x32
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.record import save, table
from benchmarks.timers import Timers
from loren_jax.models import BertConfig, LlamaConfig, init_params
from loren_jax.models.families import bind

BOUND = 1.15
MINILM = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
SMOLLM2 = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
}
MODELS = {
    "minilm": (MINILM, BertConfig, "BertConfig", "BertModel"),
    "llama": (SMOLLM2, LlamaConfig, "LlamaConfig", "LlamaModel"),
}


def ours(name: str, ids: jax.Array) -> Callable[[], Any]:
    """The forward pass of our network."""
    shape, kind, _, _ = MODELS[name]
    head = {} if name == "minilm" else {"head": "language_model"}
    config = kind.from_hugging_face(shape | {"model_type": kind.__name__[:-6].lower()}, **head)
    params, mask = init_params(config), jnp.ones_like(ids)
    encode = jax.jit(lambda params: bind(config, params).encode(ids, mask))
    return lambda: encode(params)


def theirs(name: str, ids: jax.Array) -> Callable[[], Any]:
    """That of `transformers`, with its default attention."""
    import torch
    import transformers

    torch.set_grad_enabled(False)
    shape, _, config, kind = MODELS[name]
    model = getattr(transformers, kind)(getattr(transformers, config)(**shape)).eval()
    numbers = torch.tensor(ids.tolist())

    def run() -> None:
        model(numbers)

    return run


def products(name: str) -> list[tuple[int, int, int]]:
    """`(how many, fan-in, fan-out)` of the matrices that every token meets."""
    shape, *_ = MODELS[name]
    width, inner, layers = (
        shape[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    if name == "minilm":
        return [(4 * layers, width, width), (layers, width, inner), (layers, inner, width)]
    narrow = width * shape["num_key_value_heads"] // shape["num_attention_heads"]
    mlp = [(2 * layers, width, inner), (layers, inner, width)]
    return [(2 * layers, width, width), (2 * layers, width, narrow), *mlp]


def our_products(name: str, tokens: int) -> Callable[[], Any]:
    """Products with weights alone, by XLA, of each shape in a program of its own."""
    draw = lambda *shape: jax.random.normal(jax.random.key(0), shape)
    calls = [
        (jax.jit(jnp.matmul), draw(tokens, n), draw(n, m), many) for many, n, m in products(name)
    ]

    def run() -> None:
        for matmul, x, w, many in calls:
            for _ in range(many):
                jax.block_until_ready(matmul(x, w))

    return run


def their_products(name: str, tokens: int) -> Callable[[], Any]:
    """The same by PyTorch."""
    import torch

    calls = [(torch.randn(tokens, n), torch.randn(n, m), many) for many, n, m in products(name)]

    def run() -> None:
        for x, w, many in calls:
            for _ in range(many):
                torch.matmul(x, w)

    return run


def measure(name: str, tokens: str, turns: int) -> dict[str, Any]:
    """One row."""
    batch, length = map(int, tokens.split("x"))
    ids = jax.random.randint(jax.random.key(1), (batch, length), 1, 30000)
    timers = Timers()
    timers.add("ours", ours(name, ids))
    timers.add("torch", theirs(name, ids))
    timers.add("our products", our_products(name, batch * length))
    timers.add("torch's products", their_products(name, batch * length))
    timers.run(turns)
    seconds = {f"{n} (s)": statistics.median(s) for n, s in timers.seconds.items()}
    median, minima = timers.ratio("ours", "torch", 1)
    verdict = f"{median:.2f} <= {BOUND}: {'yes' if median <= BOUND else 'NO'}"
    row = {"model": name, "tokens": tokens, **seconds}
    return row | {"ours / torch": median, "(minima)": minima, "bound met": verdict}


def main() -> None:
    """Measures every model at every size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tokens", nargs="+", default=["16x32", "64x128"])
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    rows = [
        measure(name, tokens, options.turns) for name in options.models for tokens in options.tokens
    ]
    print(table(rows))
    print(f"saved {save('forward', rows, turns=options.turns)}")


if __name__ == "__main__":
    main()
