"""Decoders in their published variants: head, and what config.json says beyond the tiny one."""

UNTIED = {
    "tie_word_embeddings": False,
    "n_inner": 20,
    "activation_function": "relu",
    "layer_norm_epsilon": 1e-2,
}
SHAPE_350M = {"do_layer_norm_before": False, "word_embed_proj_dim": 6}
BARE = {
    "enable_bias": False,
    "layer_norm_elementwise_affine": False,
    "_remove_final_layer_norm": True,
    "activation_function": "gelu",
}
# Of the four pairs of a head one turns fast, two are interpolated and one is slow.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SHARED = {
    "num_key_value_heads": 1,
    "rope_theta": 100.0,
    "rope_scaling": LLAMA3,
    "attention_bias": True,
    "mlp_bias": True,
}
TIED = {
    "tie_word_embeddings": True,
    "head_dim": 6,
    "hidden_act": "gelu",
    "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50.0},
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
UPPER = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
LOWER = {"sliding_window": 2, "layer_types": ["sliding_attention", "full_attention"]}
UNCAPPED = {"final_logit_softcapping": None, "attn_logit_softcapping": None}
SCALED = {
    **{"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "tie_word_embeddings": False},
    **{"final_logit_softcapping": None},
}
RENEWED = {
    "layer_types": ["full_attention", "sliding_attention"],
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 200.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    },
}
LISTED = {
    **{"no_rope_layers": [0, 1], "use_sliding_window": True, "sliding_window": 2},
    **{"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
}
CASES = {
    ("gpt2", "classification"): ("classification", {}),
    ("gpt2", "language model"): ("language_model", {}),
    ("gpt2", "untied"): ("language_model", UNTIED),
    ("opt", "classification"): ("classification", {}),
    ("opt", "350m"): ("language_model", SHAPE_350M),
    ("opt", "bare"): ("language_model", BARE),
    ("llama", "4 to 1, llama3, biases"): ("classification", SHARED),
    ("llama", "4 to 2, untied"): ("language_model", {}),
    ("llama", "tied, linear, wide heads"): ("language_model", TIED),
    ("mistral", "window shorter than the text"): ("language_model", {}),
    ("mistral", "no window, tied, wide heads"): (
        "classification",
        {"sliding_window": None, "tie_word_embeddings": True, "head_dim": 12},
    ),
    ("qwen2", "tied, no window"): (
        "language_model",
        {"tie_word_embeddings": True, "rope_theta": 1e6, "use_sliding_window": False},
    ),
    ("qwen2", "upper layers read a window"): ("classification", {}),
    ("qwen2", "untied, lower layers read a window"): ("language_model", LOWER),
    ("qwen3", "tied"): ("language_model", {"tie_word_embeddings": True, "rope_theta": 1e6}),
    ("qwen3", "untied, biases, upper layers read a window"): (
        "language_model",
        {**UPPER, "attention_bias": True},
    ),
    ("qwen3", "yarn, a window that is not in use"): (
        "classification",
        {"sliding_window": 2, "rope_scaling": YARN},
    ),
    ("gemma2", "window shorter than the text"): ("language_model", {}),
    ("gemma2", "untied, no caps, other kinds"): (
        "language_model",
        {**UNCAPPED, "tie_word_embeddings": False, **LOWER, "attention_bias": True},
    ),
    ("gemma2", "classification"): ("classification", {"hidden_activation": "gelu"}),
    ("gemma3_text", "local rotation and window"): ("language_model", {}),
    ("gemma3_text", "scaled, untied, no cap"): ("language_model", SCALED),
    ("gemma3_text", "as transformers 5 writes it"): ("classification", RENEWED),
    ("smollm3", "tied, every other layer turns"): ("language_model", {}),
    ("smollm3", "untied, listed layers, window, biases"): ("language_model", LISTED),
    ("smollm3", "classification"): ("classification", {"rope_theta": 100.0}),
}

VARIANTS = {
    "gpt2": {},
    "opt": {"word_embed_proj_dim": 4, "do_layer_norm_before": False},
    "llama": {"tie_word_embeddings": True},
    "mistral": {},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "gemma2": {},
    "gemma3_text": RENEWED,
    "smollm3": {},
}
"""Those with the most of their own: OPT-350m's form, a Llama that ties its embeddings."""
