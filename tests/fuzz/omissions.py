"""Public functions of `jax.lax` that no operation runs, and why not."""

OMITTED = {
    "after_all": "makes a token, of no arrays' values",
    "create_token": "makes a token, of no arrays' values",
    "broadcast_shapes": "takes shapes",
    "conv_dimension_numbers": "takes shapes",
    "conv_general_permutations": "takes dimension numbers",
    "conv_general_shape_tuple": "takes shapes",
    "conv_shape_tuple": "takes shapes",
    "conv_transpose_shape_tuple": "takes shapes",
    "dtype": "gives a type",
    "empty": "its values are not defined",
    "infeed": "reads what a host sends",
    "outfeed": "writes to a host",
    "padtype_to_pads": "takes shapes",
    "pbroadcast": "has no implementation on CPUs",
    "precv": "receives from another device, of which there is none",
    "psend": "sends to another device, of which there is none",
    "psum_scatter_start": "half of an exchange of which `psum_scatter` is the whole",
    "reduce_window_shape_tuple": "takes shapes",
    "rng_uniform": "draws anew at each call, so that no two runs agree",
    "shape_as_value": "takes a shape",
}
