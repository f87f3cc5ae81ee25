"""Configurations: what is read of a file, and what no network computes is refused by name."""

import pytest
from models.tiny_checkpoints import DECODERS, ENCODERS, SIZES

from loren_jax.models import FAMILIES, BertConfig, GPT2Config
from loren_jax.models.families import family_of

RAW = {
    **DECODERS,
    "bert": SIZES,
    "modernbert": ENCODERS["modernbert"],
    "roberta": {**SIZES, "max_position_embeddings": 10},
    "distilbert": {
        "vocab_size": 30,
        "dim": 8,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": 12,
        "activation": "gelu",
        "sinusoidal_pos_embds": True,  # its table is a tensor of the checkpoint all the same
    },
}


def read(family, change=(), **options):
    raw = {name: entry for name, entry in {**RAW[family], **dict(change)}.items() if entry != ...}
    return FAMILIES[family].config.from_hugging_face(raw, **options)


REFUSED = [
    ("bert", {"hidden_act": "mish"}, "hidden_act='mish'.*gelu"),
    ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
    ("bert", {"is_decoder": True}, "is_decoder"),
    ("bert", {"num_attention_heads": 3}, "multiple of num_attention_heads=3"),
    ("bert", {"num_hidden_layers": 0}, "num_hidden_layers=0"),
    ("bert", {"hidden_size": ...}, r"lacks.*hidden_size"),
    ("bert", {"vocab_size": "30"}, r"^config\.json: vocab_size='30' must be of type int$"),
    ("bert", {"num_hidden_layers": None}, "num_hidden_layers=None must be of type int$"),
    ("bert", {"hidden_size": 8.0}, r"hidden_size=8\.0 must be of type int$"),
    ("bert", {"pad_token_id": [1]}, r"pad_token_id=\[1\] must be of type int or null$"),
    ("bert", {"layer_norm_eps": "1e-12"}, "layer_norm_eps='1e-12' must be of type float or int$"),
    ("roberta", {"hidden_act": "mish"}, "hidden_act='mish' is not supported"),
    ("roberta", {"position_embedding_type": "relative_key_query"}, "embedding_type='relative"),
    ("roberta", {"is_decoder": True}, "is_decoder=True"),
    ("roberta", {"pad_token_id": None}, "pad_token_id=None"),
    ("roberta", {"max_position_embeddings": 2}, "max_position_embeddings=2 leaves no position"),
    ("distilbert", {"activation": "mish"}, "activation='mish' is not supported"),
    ("distilbert", {"n_heads": 3}, "dim=8 must be a multiple of n_heads=3"),
    ("distilbert", {"n_layers": 0}, "n_layers=0 must be at least 1"),
    ("distilbert", {"dim": ...}, r"lacks \['dim'\].*DistilBert"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
    ("gpt2", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn=True"),
    ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights=False"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention=True"),
    ("gpt2", {"activation_function": "mish"}, "activation_function='mish'.*gelu_new"),
    ("gpt2", {"n_head": 3}, "n_embd=8 must be a multiple of n_head=3"),
    ("gpt2", {"n_layer": 0}, "n_layer=0 must be at least 1"),
    ("gpt2", {"n_embd": "8"}, "n_embd='8' must be of type int$"),
    ("gpt2", {"n_embd": ...}, r"lacks.*n_embd.*GPT2"),
    ("opt", {"activation_function": "mish"}, r"activation_function='mish'.*relu"),
    ("llama", {"num_key_value_heads": 3}, "num_attention_heads=4.*num_key_value_heads=3"),
    ("llama", {"head_dim": 5}, "head_dim=5 must be even"),
    ("llama", {"hidden_size": 30}, "hidden_size=30 must be a multiple of num_attention_heads=4"),
    ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type='dynamic'"),
    ("llama", {"hidden_size": "32"}, "hidden_size='32' must be of type int$"),
    ("llama", {"num_attention_heads": None}, "num_attention_heads=None must be of type int$"),
    ("llama", {"hidden_act": "mish"}, "hidden_act='mish'"),
    ("mistral", {"sliding_window": 0}, "sliding_window=0 must be at least 1, or null"),
    ("mistral", {"sliding_window": "3"}, "sliding_window='3' must be of type int or null"),
    ("mistral", {"layer_types": ["full_attention"]}, r"layer_types=\['full_attention'\] is not"),
    ("qwen2", {"max_window_layers": "1"}, "max_window_layers='1' must be of type int$"),
    ("qwen2", {"use_sliding_window": "no"}, "use_sliding_window='no' must be of type bool or null"),
    ("qwen2", {"layer_types": "full_attention"}, "layer_types='full_attention' must be a list of"),
    ("qwen2", {"num_hidden_layers": ...}, r"lacks \['num_hidden_layers'\].*Qwen2"),
    ("qwen2", {"num_hidden_layers": "2"}, "num_hidden_layers='2' must be of type int$"),
    ("qwen3", {"layer_types": ["chunked_attention"] * 2}, "layer_types has 'chunked_attention'; a"),
    ("qwen3", {"layer_types": ["full_attention"]}, "has 1 entries.*num_hidden_layers=2"),
    ("qwen3", {"layer_types": ["sliding_attention"] * 2}, "sliding_window=None must be at least 1"),
    ("qwen3", {"num_key_value_heads": ...}, "num_attention_heads=4.*num_key_value_heads=32"),
    ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention=True is not"),
    ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar=0 must be positive"),
    (
        "gemma2",
        {"final_logit_softcapping": -1.0},
        r"final_logit_softcapping=-1\.0 must be positive",
    ),
    ("gemma2", {"attn_logit_softcapping": 0.0}, r"attn_logit_softcapping=0\.0 must be positive"),
    ("gemma2", {"hidden_activation": "mish"}, "hidden_activation='mish' is not supported"),
    ("gemma3_text", {"attn_logit_softcapping": 50.0}, r"attn_logit_softcapping=50\.0 is not"),
    ("gemma3_text", {"sliding_window_pattern": 0}, "sliding_window_pattern=0 must be at least 1"),
    ("gemma3_text", {"sliding_window_pattern": "6"}, "sliding_window_pattern='6' must be of type"),
    ("gemma3_text", {"rope_scaling": {"rope_type": "longrope"}}, "rope_type='longrope' is not"),
    ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers has 1 entries.*num_hidden_layers=2"),
    ("smollm3", {"no_rope_layers": [1, 2]}, r"no_rope_layers=\[1, 2\] must be a list of 0 and 1"),
    ("smollm3", {"no_rope_layers": "10"}, "no_rope_layers='10' must be a list of 0 and 1"),
    ("smollm3", {"no_rope_layer_interval": 0}, "no_rope_layer_interval=0 must be at least 1"),
    ("modernbert", {"num_hidden_layers": 1}, "num_hidden_layers=1 must be at least 2"),
    ("modernbert", {"local_attention": 0}, "local_attention=0 must be at least 1"),
    ("modernbert", {"classifier_activation": "mish"}, "classifier_activation='mish'.*gelu"),
    (
        "modernbert",
        {"classifier_pooling": "max"},
        r"pooling='max' must be one of \('cls', 'mean'\)",
    ),
    ("modernbert", {"global_attn_every_n_layers": 0}, "every_n_layers=0 must be at least 1"),
    ("modernbert", {"num_attention_heads": 5}, "hidden_size=12 must be a multiple of"),
    ("modernbert", {"num_attention_heads": 4}, "size of a head, 3, must be even"),
    ("modernbert", {"layer_types": ["full_attention"]}, "has 1 entries.*num_hidden_layers=3"),
    ("modernbert", {"hidden_activation": "mish"}, "hidden_activation='mish' is not supported"),
    ("qwen3", {"rope_parameters": {"rope_type": "yarn"}}, r"'yarn': .* lacks \['factor'\]"),
]


@pytest.mark.parametrize(("family", "change", "message"), REFUSED)
def test_unsupported_options_and_missing_sizes_are_refused(family, change, message):
    with pytest.raises(ValueError, match=message):
        read(family, change)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("bert", {"num_labels": 0}, "num_labels=0 must be at least 1"),
        ("roberta", {"pooling": "mean"}, r"pooling='mean' must be one of \('cls',\)"),
        ("gpt2", {"pooling": "mean"}, "pooling='mean'.*last"),
        ("gpt2", {"head": "regression"}, "head='regression'"),
    ],
)
def test_heads_that_a_family_does_not_have_are_refused(family, options, message):
    with pytest.raises(ValueError, match=message):
        read(family, **options)


def test_fields_are_read_and_the_rest_is_left():
    raw = {"layer_norm_eps": 1e-5, "hidden_act": "relu", "hidden_dropout_prob": 0.1}
    config = read("bert", raw, num_labels=5, pooling="mean")
    assert (config.layer_norm_eps, config.hidden_act) == (1e-5, "relu")
    assert (config.num_labels, config.pooling, config.max_position_embeddings) == (5, "mean", 512)
    config = read("distilbert", {"activation": "relu"}, num_labels=5)
    assert (config.hidden_size, config.num_hidden_layers, config.head_size) == (8, 1, 4)
    assert (config.intermediate_size, config.hidden_act, config.num_labels) == (12, "relu", 5)
    assert (config.max_length, config.layer_norm_eps, config.pad_token_id) == (512, 1e-12, 0)


def test_caller_decides_about_the_head():
    raw = {"num_labels": 9, "head": "x", "pooling": "cls", "activation_function": "gelu"}
    config = read("gpt2", raw, num_labels=4, head="language_model")
    sizes = {name: DECODERS["gpt2"][name] for name in DECODERS["gpt2"] if name != "model_type"}
    same = {"num_labels": 4, "head": "language_model", "activation_function": "gelu"}
    assert config == GPT2Config(**sizes, **same)


def test_family_is_found_by_its_configuration():
    for name, family in FAMILIES.items():
        assert family_of(read(name)) is family
    assert family_of(BertConfig(**SIZES)) is FAMILIES["bert"]
    with pytest.raises(TypeError, match=r"config is a dict; it must be one of.*BertConfig"):
        family_of({})
