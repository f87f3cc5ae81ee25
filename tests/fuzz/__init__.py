"""Random programs over all of `jax.lax`: perturbed evaluation against copies in double precision.

* `drafts`: programs while they are drawn; `operations`: the table that they are drawn from.
* `programs`: a whole one; `perturbations`: its weights and directions.
* `comparison`: the oracle; `reproduction`: what is left of a failing one; `campaign`: many.

`python -m tests.fuzz --hours 2` from the root of the repository runs them by hand.
"""
