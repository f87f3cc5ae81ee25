"""Fine-tune large models in JAX with forward passes only.

A zeroth-order step is *directions* x *scheme* x *evaluation*, followed by an ordinary Optax chain;
`loren_jax.types` has the contracts, `loren_jax.optimizers` the methods as points of that design.
"""

from loren_jax import diagnostics as diagnostics
from loren_jax import directions as directions
from loren_jax import evaluation as evaluation
from loren_jax import journal as journal
from loren_jax import lora as lora
from loren_jax import parts as parts
from loren_jax import schemes as schemes
from loren_jax import transforms as transforms
from loren_jax.blocks import blockwise as blockwise
from loren_jax.estimators import estimate as estimate
from loren_jax.estimators import with_aux as with_aux
from loren_jax.optimizers import hizoo as hizoo
from loren_jax.optimizers import input_subspace as input_subspace
from loren_jax.optimizers import kerzoo as kerzoo
from loren_jax.optimizers import loren as loren
from loren_jax.optimizers import lozo as lozo
from loren_jax.optimizers import lozo_m as lozo_m
from loren_jax.optimizers import mezo as mezo
from loren_jax.optimizers import mezo_adam as mezo_adam
from loren_jax.optimizers import mezo_bcd as mezo_bcd
from loren_jax.optimizers import mezo_svrg as mezo_svrg
from loren_jax.optimizers import r_adazo as r_adazo
from loren_jax.optimizers import subzero as subzero
from loren_jax.optimizers import tezo as tezo
from loren_jax.optimizers import zo_muon as zo_muon
from loren_jax.parts import trained as trained
from loren_jax.transforms import descend as descend
from loren_jax.transforms import train_step as train_step
from loren_jax.types import MatrixAxes as MatrixAxes
from loren_jax.version import installed as _installed

__version__ = _installed("loren-jax")
