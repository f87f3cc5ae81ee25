"""Derivatives in the loss, rules of one's own, checkpoints."""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X = normal(0, 8, 16)
KERNEL = {"kernel": normal(1, 16, 16)}


@jax.custom_vjp
def sign(w):
    """With a gradient as if it were not there."""
    return jnp.sign(w)


sign.defvjp(lambda w: (sign(w), None), lambda _, g: (g,))


@jax.custom_vjp
def linear(x, w):
    """A layer."""
    return x @ w


linear.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g))


@jax.custom_jvp
def tanh_linear(w, x):
    """A layer."""
    return jnp.tanh(x @ w)


tanh_linear.defjvp(lambda given, _: (tanh_linear(*given), tanh_linear(*given)))


def own_mapping(x):
    """`tanh` that says what it is under `vmap`."""
    function = jax.custom_batching.custom_vmap(jnp.tanh)
    function.def_vmap(lambda size, mapped, x: (jnp.tanh(x), mapped[0]))
    return function(x)


def inner_step(p):
    """The loss behind a step of gradient descent, as in MAML."""
    value = lambda w: mean_square(X @ w)
    return value(p["kernel"] - 0.1 * jax.grad(value)(p["kernel"]))


def curvature(p):
    """A product with a Hessian."""
    slope = jax.grad(lambda z: jnp.sum(jnp.tanh(z @ p["kernel"]) ** 2))
    return mean_square(jax.vmap(lambda x: jax.jvp(slope, (x,), (x,))[1])(X))


def saved(policy):
    """Two layers under `jax.checkpoint`."""
    layers = lambda w: jnp.tanh(X @ w) @ w
    own = getattr(jax.checkpoint_policies, policy)
    return lambda p: mean_square(jax.checkpoint(layers, policy=own)(p["kernel"]))


layer = lambda p: lambda x: jnp.tanh(x @ p["kernel"])
slopes = lambda p: jax.vmap(jax.grad(lambda x: jnp.sum(layer(p)(x))))(X)
losses = {
    "custom_vjp, sign of a weight": lambda p: mean_square(X @ sign(p["kernel"])),
    "custom_vjp, linear": lambda p: mean_square(linear(X, p["kernel"])),
    "custom_jvp": lambda p: mean_square(tanh_linear(p["kernel"], X)),
    "checkpoint, everything_saveable": saved("everything_saveable"),
    "checkpoint, nothing_saveable": saved("nothing_saveable"),
    "checkpoint, dots_with_no_batch_dims_saveable": saved("dots_with_no_batch_dims_saveable"),
    "checkpoint_name": lambda p: mean_square(X @ checkpoint_name(p["kernel"], "w")),
    "grad in the loss (PINN)": lambda p: mean_square(slopes(p)),
    "jacfwd in the loss": lambda p: mean_square(jax.vmap(jax.jacfwd(layer(p)))(X)),
    "Hessian times vector in the loss": curvature,
    "a gradient step in the loss (MAML)": inner_step,
    "linear_transpose": lambda p: mean_square(
        jax.linear_transpose(lambda v: v @ p["kernel"], X)(X)[0]
    ),
    "linearize": lambda p: mean_square(jax.linearize(layer(p), X)[1](X)),
    "custom_vmap of activations": lambda p: mean_square(own_mapping(X @ p["kernel"])),
    "custom_vmap of a weight": lambda p: mean_square(X @ own_mapping(p["kernel"])),
}
cases.of(KERNEL, losses)
