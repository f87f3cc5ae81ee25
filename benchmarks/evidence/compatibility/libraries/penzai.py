"""Penzai."""

import jax
import jax.numpy as jnp
from penzai import pz
from penzai.models.transformer.variants import llamalike_common as llama

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import next_token

cases = Cases("penzai")


@cases
def transformer():
    """Llama-like transformer with named axes."""
    config = llama.LlamalikeTransformerConfig(
        num_kv_heads=1, query_head_multiplier=2, embedding_dim=32, projection_dim=16,
        mlp_hidden_dim=64, num_decoder_blocks=2, vocab_size=100, mlp_variant="swiglu",
        tie_embedder_and_logits=False, rope_wavelength=10000.0, rms_norm_eps=1e-5,
        attention_type=llama.AttentionTypeGlobalCausal(), use_layer_stack=False,
        parameter_dtype=jnp.float32, activation_dtype=jnp.float32,
    )  # fmt: skip
    model = llama.build_llamalike_transformer(config, init_base_rng=jax.random.key(0))
    unbound, variables = pz.unbind_params(model, freeze=True)
    ids = jax.random.randint(jax.random.key(0), (2, 8), 0, 100)
    named, places = pz.nx.wrap(ids).tag("batch", "seq"), pz.nx.wrap(jnp.arange(8)).tag("seq")

    def loss(own):
        scores = pz.bind_variables(unbound, own)(named, token_positions=places)
        return next_token(scores.unwrap("batch", "seq", "vocabulary"), ids)

    return variables, loss
