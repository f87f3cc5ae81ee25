"""The processes and devices of a run: one of each, or many that exchange a few numbers a step.

* `options`: what a user says of them.
* `cluster`: joining the processes, and leaving them.
* `devices`, `mesh`: where the arrays of a run lie.
* `peers`, `judgement`, `last_words`: a process that dies or hangs ends the run on all.
"""

from loren_jax.train.cluster.cluster import ALONE, Cluster, joined
from loren_jax.train.cluster.devices import OneDevice
from loren_jax.train.cluster.options import ClusterConfig
from loren_jax.train.cluster.peers import PeerError

__all__ = ["ALONE", "Cluster", "ClusterConfig", "OneDevice", "PeerError", "joined"]
