"""Matrices of 8 or 4 bits a number, which become floats one at a time, where they are multiplied.

`forms` has the ways of packing, by the names that GGUF gives them; `matrix` the pytree; `absmax`
makes one of floats. Every other array of a model stays what it was.
"""

from loren_jax.quantised.absmax import quantised_rows
from loren_jax.quantised.forms import FORMS, Form, common_form, form_numbered
from loren_jax.quantised.matrix import Quantised, as_dense, as_shapes, is_frozen, is_quantised

__all__ = [
    "FORMS",
    "Form",
    "Quantised",
    "as_dense",
    "as_shapes",
    "common_form",
    "form_numbered",
    "is_frozen",
    "is_quantised",
    "quantised_rows",
]
