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
UPPER = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
LOWER = {"sliding_window": 2, "layer_types": ["sliding_attention", "full_attention"]}
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
    ("qwen3", "classification"): ("classification", {"sliding_window": 2}),  # which is not in use
}

VARIANTS = {
    "gpt2": {},
    "opt": {"word_embed_proj_dim": 4, "do_layer_norm_before": False},
    "llama": {"tie_word_embeddings": True},
    "mistral": {},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
}
"""Those with the most of their own: OPT-350m's form, a Llama that ties its embeddings."""
