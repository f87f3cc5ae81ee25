"""The layout of a Llama model's tensors: from what other formats store to Hugging Face's."""

import numpy as np


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of a query or key projection for Hugging Face's rotary embedding.

    A rotary embedding turns pairs of features. GGUF and llama2.c store the two of a pair as
    neighbours, Hugging Face half a head apart.

    Args:
        rows: Kernel (D_out, D_in) or bias (D_out) with neighbouring pairs.
        heads: Number of heads H in D_out.

    Returns:
        The same rows with pairs half a head apart.

    Example:
        >>> half_split(np.array([0, 10, 1, 11, 2, 12, 3, 13]), heads=2).tolist()
        [0, 1, 10, 11, 2, 3, 12, 13]
    """
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)
