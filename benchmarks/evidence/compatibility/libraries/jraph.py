"""Graphs: Jraph."""

import jax.numpy as jnp
import jraph

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jraph")
GRAPH = jraph.GraphsTuple(
    nodes=normal(0, 6, 8), edges=jnp.ones((8, 1)), senders=jnp.array([0, 1, 2, 3, 4, 5, 0, 1]),
    receivers=jnp.array([1, 2, 3, 4, 5, 0, 3, 4]), n_node=jnp.array([6]), n_edge=jnp.array([8]),
    globals=None,
)  # fmt: skip


def network(p):
    """Of edges and nodes."""
    edges = lambda e, s, r, g: jnp.tanh(jnp.concatenate([e, s, r], -1) @ p["edges"])
    nodes = lambda n, s, r, g: jnp.tanh(n @ p["nodes"] + s + r)
    return mean_square(jraph.GraphNetwork(edges, nodes)(GRAPH).nodes)


def convolution(p):
    """Of nodes."""
    layer = jraph.GraphConvolution(lambda nodes: nodes @ p["nodes"], add_self_edges=True)
    return mean_square(layer(GRAPH).nodes)


cases.of({"nodes": normal(1, 8, 8), "edges": normal(2, 17, 8)}, {"GraphNetwork": network})
cases.of({"nodes": normal(1, 8, 8)}, {"GraphConvolution": convolution})
