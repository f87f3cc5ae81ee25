"""In which type numbers are added up: float32 at least, float64 where one of them is.

Half precision and 8-bit floats are storage: a sum is taken in a wide type and rounded once, last.
"""

from typing import Any

import jax.numpy as jnp


def wide(*values: Any) -> Any:
    """The type that a sum of these arrays, numbers or dtypes is taken in.

    Unlike JAX's promotion it takes 8-bit floats, and never ends below float32 or complex64.

    >>> wide("bfloat16", "int8"), wide("float8_e4m3fn", "float64"), wide("complex64")
    (dtype('float32'), dtype('float64'), dtype('complex64'))
    """
    dtypes = [jnp.dtype(v) if isinstance(v, str) else jnp.result_type(v) for v in values]
    double = any(dtype in (jnp.float64, jnp.complex128) for dtype in dtypes)
    if any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes):
        return jnp.dtype(jnp.complex128 if double else jnp.complex64)
    return jnp.dtype(jnp.float64 if double else jnp.float32)


def loss_dtype() -> Any:
    """The type that losses are kept in: float64 where JAX has it switched on, else float32.

    A function of the process and not of the loss, which a state that has not seen one cannot know.
    """
    return jnp.result_type(float)
