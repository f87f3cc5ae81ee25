"""Tunix's models, with and without Qwix's adapters."""

import jax
import jax.numpy as jnp
import qwix
from flax import nnx
from tunix.models.gemma import model as gemma
from tunix.models.gemma3 import model as gemma3
from tunix.models.llama3 import model as llama3
from tunix.models.qwen2 import model as qwen2
from tunix.models.qwen3 import model as qwen3

import loren_jax
from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import next_token

cases = Cases("google-tunix", "qwix")
IDS = jax.random.randint(jax.random.key(1), (2, 8), 0, 64)
PLACES = jnp.broadcast_to(jnp.arange(8), (2, 8))
MASK = jnp.broadcast_to(jnp.tril(jnp.ones((8, 8), bool)), (2, 8, 8))
SIZES = {"vocab_size": 64, "embed_dim": 32, "hidden_dim": 64, "num_heads": 4, "head_dim": 8}
SIZES |= {"num_kv_heads": 2, "rope_theta": 10000}
LLAMA = SIZES | {"norm_eps": 1e-5}
QWEN = SIZES | {"norm_eps": 1e-6, "num_layers": 1}


def of(model, filter=None):
    """Parameters and loss of a model."""
    functional = loren_jax.from_nnx(model, filter)

    def loss(model):
        out = model(IDS, PLACES, None, MASK)
        return next_token(out[0] if isinstance(out, tuple) else out, IDS)

    return functional.params, lambda p: functional.loss(loss)(p)


def llama(layers=1, **own):
    """Llama 3."""
    return llama3.Llama3(llama3.ModelConfig(num_layers=layers, **LLAMA, **own), rngs=nnx.Rngs(0))


cases(lambda: of(llama(2)), "Llama 3")
tied = {"weight_tying": True, "remat_config": llama3.RematConfig.BLOCK}
cases(lambda: of(llama(**tied)), "Llama 3, tied, rematerialised")
rngs = nnx.Rngs
two = {"use_tied_embedding": False}
cases(lambda: of(qwen2.Qwen2(qwen2.ModelConfig(**QWEN, **two), rngs=rngs(0))), "Qwen 2")
cases(lambda: of(qwen3.Qwen3(qwen3.ModelConfig(**QWEN), rngs=rngs(0))), "Qwen 3")
many = {"num_experts": 4, "num_experts_per_tok": 2}
cases(lambda: of(qwen3.Qwen3(qwen3.ModelConfig(**QWEN, **many), rngs=rngs(0))), "Qwen 3, experts")
GEMMA = {"num_layers": 2, "num_embed": 64, "embed_dim": 32, "hidden_dim": 64, "num_heads": 4}
GEMMA |= {"head_dim": 8, "num_kv_heads": 1, "sliding_window_size": 4}


@cases
def gemma_two():
    """Gemma 2, soft caps, local attention."""
    kinds = gemma.AttentionType
    own = {"final_logit_softcap": 30.0, "attn_logits_soft_cap": 50.0}
    own |= {f"use_{name}_norm": True for name in ("post_attn", "pre_ffw", "post_ffw")}
    own |= {"attention_types": (kinds.GLOBAL, kinds.LOCAL_SLIDING)}
    made = getattr(gemma, "Gemma", None) or gemma.Transformer
    return of(made(gemma.ModelConfig(**GEMMA, **own), rngs=nnx.Rngs(0)))


@cases
def gemma_three():
    """Gemma 3."""
    config = gemma3.ModelConfig(**GEMMA, param_dtype=jnp.float32)
    return of(gemma3.Gemma3(config, rngs=nnx.Rngs(0)))


def adapted(**quantised):
    """Llama 3 with Qwix's adapters, which alone are trained."""
    base = llama()
    modules = ".*q_proj|.*kv_proj|.*gate_proj|.*down_proj"
    provider = qwix.LoraProvider(module_path=modules, rank=2, alpha=2.0, **quantised)
    inputs = base.get_model_input()
    return of(qwix.apply_lora_to_model(base, provider, rngs=nnx.Rngs(0), **inputs), nnx.LoRAParam)


empty = "with flax 0.12.8, nnx.state of what qwix 0.1.8 returns is empty: theirs"
flat = {"tolerance": 0.05, "scale": 0.1, "remark": empty}
cases(adapted, "Llama 3, qwix LoRA", **flat)
for kind in ("int8", "nf4"):
    own = {"weight_qtype": kind, "tile_size": 16}
    cases(lambda own=own: adapted(**own), f"Llama 3, qwix QLoRA {kind}", **flat)
