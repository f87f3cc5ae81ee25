"""Fine-tune large models in JAX with forward passes only.

A zeroth-order step is *directions* x *scheme* x *evaluation*, followed by an ordinary Optax chain;
`loren_jax.types` has the contracts, `loren_jax.optimizers` the methods as points of that design.
"""

from loren_jax import diagnostics as diagnostics
from loren_jax import directions as directions
from loren_jax import evaluation as evaluation
from loren_jax import inputs as inputs
from loren_jax import journal as journal
from loren_jax import lora as lora
from loren_jax import losses as losses
from loren_jax import parts as parts
from loren_jax import schemes as schemes
from loren_jax import transforms as transforms
from loren_jax.blocks import blockwise as blockwise
from loren_jax.estimators import estimate as estimate
from loren_jax.estimators import with_aux as with_aux
from loren_jax.optimizers import *  # noqa: F403
from loren_jax.parts import trained as trained
from loren_jax.transforms import descend as descend
from loren_jax.transforms import train_step as train_step
from loren_jax.types import MatrixAxes as MatrixAxes
from loren_jax.version import installed as _installed

__version__ = _installed("loren-jax")
