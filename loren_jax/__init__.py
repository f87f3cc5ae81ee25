"""Fine-tune large models in JAX with forward passes only.

A zeroth-order step is *directions* x *scheme* x *evaluation*, followed by an ordinary Optax chain;
`loren_jax.types` has the contracts, `loren_jax.optimizers` the methods as points of that design.
"""

from loren_jax import directions as directions
from loren_jax import evaluation as evaluation
from loren_jax import schemes as schemes
from loren_jax.estimators import estimate as estimate
from loren_jax.optimizers import loren as loren
from loren_jax.optimizers import mezo as mezo
from loren_jax.optimizers import scale_by_loren as scale_by_loren
from loren_jax.transforms import descend as descend
from loren_jax.transforms import train_step as train_step
from loren_jax.types import MatrixAxes as MatrixAxes
