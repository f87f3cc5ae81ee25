"""The table of rules, by primitive. Every primitive that is not in it makes its leaves dense."""

from loren_jax.evaluation._perturbed import (
    contraction,
    control_flow,
    convolution,
    elementwise,
    indexing,
    one_layer,
    ragged,
    reshaping,
    sums,
)
from loren_jax.evaluation._perturbed.interpreter import Rule

RULES: dict[str, Rule] = {
    "dot_general": contraction.dot_general,
    "conv_general_dilated": convolution.conv_general_dilated,
    "ragged_dot_general": ragged.ragged_dot_general,
    "gather": indexing.gather,
    "slice": indexing.slice_,
    "split": indexing.split,
    "rev": indexing.rev,
    "dynamic_slice": indexing.dynamic_slice,
    "squeeze": indexing.squeeze,
    "transpose": reshaping.transpose,
    "reshape": reshaping.reshape,
    "broadcast_in_dim": reshaping.broadcast_in_dim,
    "stack": reshaping.stack,
    "concatenate": reshaping.concatenate,
    "pad": sums.pad,
    "add": sums.add,
    "sub": sums.add,
    "square": sums.square,
    "integer_pow": sums.square,
    "reduce_sum": sums.reduce_sum,
    "convert_element_type": elementwise.convert_element_type,
    "mul": elementwise.scale,
    "div": elementwise.scale,
    "neg": elementwise.scale,
    "select_n": elementwise.select_n,
    "copy": elementwise.identity,
    "copy_p": elementwise.identity,
    "name": elementwise.identity,
    "stop_gradient": elementwise.identity,
    "pvary": elementwise.each_part,
    "pcast": elementwise.each_part,
    "shard_map": control_flow.shard_map,
    "scan": control_flow.scan,
    "while": control_flow.while_,
    "cond": control_flow.cond,
    one_layer.PUT_LAYER: one_layer.moved_stack,
} | dict.fromkeys(control_flow.CALLS, control_flow.call)

DIFFERENTIABLE: dict[str, Rule] = (
    RULES
    | {"stop_gradient": elementwise.each_part, "ragged_dot_general": ragged.differentiable}
    | dict.fromkeys(control_flow.CHECKPOINTS, control_flow.checkpoint)
    | dict.fromkeys(control_flow.CUSTOM, control_flow.custom_derivative)
)
"""The same values, and the derivatives that the program has: a query asks for none."""
