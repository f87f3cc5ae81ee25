"""The methods, one file each: points of directions x scheme x evaluation, and an Optax chain.

========  =======================  ===============  ==========================  ==============
method    directions               scheme           after                       passes a step
========  =======================  ===============  ==========================  ==============
`loren`   `rank_one`, learned      `leave_one_out`  momentum, learning rate     K
`mezo`    `isotropic`              `two_sided`      learning rate               2 K
========  =======================  ===============  ==========================  ==============
"""

from loren_jax.optimizers.loren import loren as loren
from loren_jax.optimizers.loren import scale_by_loren as scale_by_loren
from loren_jax.optimizers.mezo import mezo as mezo
