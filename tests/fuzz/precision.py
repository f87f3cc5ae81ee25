"""The number types of a program: as drawn, or every inexact one made double."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

FLOATS = {
    "f64": np.dtype(np.float64),
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f16": np.dtype(np.float16),
    "f8e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
OTHERS = {
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "u8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
    "c64": np.dtype(np.complex64),
}
NAMES = {dtype: name for name, dtype in (FLOATS | OTHERS).items()}


def is_floating(dtype: Any) -> bool:
    """Whether a type is a real floating-point one, the narrow ones included."""
    return jnp.issubdtype(dtype, jnp.floating)


def is_integer(dtype: Any) -> bool:
    """Whether a type is an integer one; bool is none."""
    return jnp.issubdtype(dtype, jnp.integer)


def spacing(dtype: Any) -> float:
    """The relative distance of neighbouring numbers."""
    return float(jnp.finfo(dtype).eps)


@dataclass(frozen=True)
class Types:
    """What an operation asks for the type of what it makes.

    Attributes:
      double: whether all inexact types are double.
      device: whether constants are on a device before the program is traced, as a batch is; else
        they are NumPy's, as those that a user writes into a loss.
    """

    double: bool
    device: bool = True

    def __call__(self, dtype: Any) -> Any:
        """The type that stands for the drawn one."""
        if self.double and jnp.issubdtype(dtype, jnp.complexfloating):
            return np.dtype(np.complex128)
        if self.double and is_floating(dtype):
            return np.dtype(np.float64)
        return np.dtype(dtype)

    def array(self, constant: np.ndarray) -> jax.Array:
        """A constant of the program."""
        constant = constant.astype(self(constant.dtype))
        if not self.device:
            return jnp.asarray(constant)
        with jax.ensure_compile_time_eval():
            return jnp.asarray(constant)


OWN, DOUBLE = Types(False), Types(True)


def text_of(dtype: Any, shape: tuple[int, ...]) -> str:
    """A short name, as of a report: `bf16[2,3]`."""
    name = NAMES.get(np.dtype(dtype), np.dtype(dtype).name)
    return f"{name}[{','.join(map(str, shape))}]"
