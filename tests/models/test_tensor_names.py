"""Checkpoints under other names: each loads as the plain one does, or says what it is.

What `transformers` loads as well is compared with it by an oracle test.
"""

import jax
import numpy as np
import pytest
from models.conftest import TinyBert
from models.tiny_checkpoints import (
    ENCODERS,
    TORCH_CLASSES,
    Tensors,
    TinyDecoder,
    checkpoint_of,
    decoder_batch,
    load,
    torch_logits,
)

from loren_jax.models import load_classifier, load_language_model

INT = np.arange(10, dtype=np.int64)[None]
EXTRA = np.ones(1, np.float32)


def moved(old, new):
    """The change that stores a tensor under another name."""
    return lambda tensors: {new if name == old else name: t for name, t in tensors.items()}


def added(**tensors):
    """The change that adds tensors; a double underscore stands for a point."""
    extra = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return lambda old: {**old, **extra}


def wrapped(prefix, *, only=""):
    """The change that puts a prefix before names."""
    return lambda tensors: {
        prefix + name if name.startswith(only) else name: t for name, t in tensors.items()
    }


def old_norms(tensors):
    """Layer norms as TensorFlow calls them."""
    named = lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    )
    return {named(name): tensor for name, tensor in tensors.items()}


LM = "language_model"
TIED = {"tie_word_embeddings": True}
BERT_WORD = "bert.embeddings.word_embeddings.weight"
ROBERTA_WORD = "roberta.embeddings.word_embeddings.weight"
DISTILBERT_WORD = "distilbert.embeddings.word_embeddings.weight"
BUFFERS = {
    "distilbert": ("distilbert", {}, added(distilbert__embeddings__position_ids=INT)),
    "bert": ("bert", {}, added(bert__embeddings__position_ids=INT)),
    "segments": ("bert", {}, added(bert__embeddings__token_type_ids=INT)),
    "roberta": ("roberta", {}, added(roberta__embeddings__position_ids=INT)),
    "opt version": ("opt", {}, added(model__decoder__version=EXTRA)),
    "llama rotary": ("llama", {}, added(model__layers__0__self_attn__rotary_emb__inv_freq=EXTRA)),
    "old norms, bert": ("bert", {}, old_norms),
    "old norms, roberta": ("roberta", {}, old_norms),
}
ONE_OF_A_PAIR = {
    "gpt2": ("gpt2", {"head": LM}, moved("transformer.wte.weight", "lm_head.weight")),
    "llama": ("llama", {"head": LM, **TIED}, moved("model.embed_tokens.weight", "lm_head.weight")),
    "opt": ("opt", {"head": LM}, moved("model.decoder.embed_tokens.weight", "lm_head.weight")),
    "bert": ("bert", {"head": LM}, moved(BERT_WORD, "cls.predictions.decoder.weight")),
    "bert bias": (
        "bert",
        {"head": LM},
        moved("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ),
    "roberta": ("roberta", {"head": LM}, moved(ROBERTA_WORD, "lm_head.decoder.weight")),
    "distilbert": ("distilbert", {"head": LM}, moved(DISTILBERT_WORD, "vocab_projector.weight")),
}
WRAPPED = {
    "doubled, llama": ("llama", {"head": LM, **TIED}, wrapped("model.", only="model.")),
    "doubled, opt": ("opt", {"head": LM}, wrapped("model.", only="model.")),
}
FOREIGN = {
    f"{prefix}{family}": (family, {}, wrapped(prefix))
    for prefix in ("module.", "_orig_mod.", "base_model.model.", "model.", "module._orig_mod.")
    for family in ("bert", "distilbert", "gpt2", "llama", "opt")
    if (prefix, family) not in {("model.", "llama"), ("model.", "opt")}
} | {"one pair and a prefix": ("gpt2", {"head": LM}, lambda tensors: wrapped("module.")(
    moved("transformer.wte.weight", "lm_head.weight")(tensors)))}  # fmt: skip
SAME = {
    f"{kind}: {case}": entry
    for kind, cases in {"buffer": BUFFERS, "pair": ONE_OF_A_PAIR, "wrapped": WRAPPED}.items()
    for case, entry in cases.items()
}


def loaded(checkpoint, directory):
    return load(checkpoint.write(directory), checkpoint.config.head)


@pytest.mark.parametrize(
    ("family", "options", "change"), (SAME | FOREIGN).values(), ids=SAME | FOREIGN
)
def test_other_names_give_the_same_parameters(family, options, change, tmp_path):
    checkpoint = checkpoint_of(family, **options)
    plain = loaded(checkpoint, tmp_path / "plain")
    checkpoint.tensors = Tensors(change(checkpoint.tensors))
    changed = loaded(checkpoint, tmp_path / "changed")
    jax.tree.map(np.testing.assert_array_equal, changed.params, plain.params)


@pytest.mark.oracle
@pytest.mark.parametrize(("family", "options", "change"), SAME.values(), ids=SAME)
def test_other_names_are_what_transformers_makes_of_them(family, options, change, tmp_path):
    torch = pytest.importorskip("torch")
    import transformers

    checkpoint = checkpoint_of(family, **options)
    checkpoint.tensors = Tensors(change(checkpoint.tensors))
    ours = loaded(checkpoint, tmp_path)
    ids, mask = decoder_batch()
    ids[mask == 0] = checkpoint.config.pad_token_id
    architecture = TORCH_CLASSES.get(
        (family, checkpoint.config.head), checkpoint.export.architecture
    )
    stock, report = getattr(transformers, architecture).from_pretrained(
        tmp_path, output_loading_info=True, dtype=torch.float32
    )
    assert not report["missing_keys"], report
    wanted = torch_logits(stock.eval(), ids, mask)
    found = np.asarray(ours.apply(ours.params, ids, mask))
    read = mask[:, :, None] if found.ndim == 3 else 1
    np.testing.assert_allclose(found * read, wanted * read, atol=2e-5)


@pytest.mark.parametrize(
    ("family", "prefix"),
    [("bert", "roberta."), ("bert", "module.electra."), ("roberta", "bert."), ("gpt2", "bert.")],
)
def test_tensors_of_another_family_are_not_taken_for_its_own(family, prefix, tmp_path):
    checkpoint = checkpoint_of(family)
    own = checkpoint.table.prefix
    checkpoint.tensors = Tensors(
        (prefix + name.removeprefix(own) if name.startswith(own) else name, tensor)
        for name, tensor in checkpoint.tensors.items()
    )
    with pytest.raises(ValueError, match=rf"called '{prefix}\*', but those .* '{own}\*'; correct"):
        load_classifier(checkpoint.write(tmp_path))


PEFT = "bert.encoder.layer.0.attention.self.query"
LLAMA = "model.layers.0.self_attn.q_proj"
ADAPTER, QUANTISED = r"is of a PEFT adapter.*merge_and_unload", r"{}' is of a quantised model; take"
ENDINGS = ("weight_scale", "SCB", "qweight", "weight.absmax", "scales")
NO_PLAIN_MODEL = [
    ("bert", moved(f"{PEFT}.weight", f"{PEFT}.base_layer.weight"), ADAPTER),
    ("bert", moved("classifier.weight", "classifier.modules_to_save.default.weight"), ADAPTER),
    ("bert", moved(f"{PEFT}.bias", f"base_model.model.{PEFT}.lora_A.weight"), ADAPTER),
    *(("llama", added(**{f"{LLAMA}.{e}": EXTRA}), QUANTISED.format(e)) for e in ENDINGS),
]


@pytest.mark.parametrize(("family", "change", "message"), NO_PLAIN_MODEL)
def test_adapter_that_is_not_merged_and_quantised_model_are_named(
    family, change, message, tmp_path
):
    checkpoint = checkpoint_of(family)
    checkpoint.tensors = Tensors(change(checkpoint.tensors))
    with pytest.raises(ValueError, match=message):
        load_classifier(checkpoint.write(tmp_path))


def test_two_tensors_of_one_name_are_refused(tmp_path):
    checkpoint = TinyBert()
    checkpoint.tensors["bert.embeddings.LayerNorm.gamma"] = np.ones(8, np.float32)
    with pytest.raises(ValueError, match="two tensors go by the same name"):
        load_classifier(checkpoint.write(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lm_head.weight", r"'lm_head\.weight'; it is the output layer: set \"tie"),
        ("model.embed_tokens.weight", r"missing, the first is 'model\.embed_tokens\.weight'"),
    ],
)
def test_of_a_pair_that_is_not_tied_neither_replaces_the_other(name, message, tmp_path):
    checkpoint = TinyDecoder("llama", "language_model", tie_word_embeddings=False)
    del checkpoint.tensors[name]
    with pytest.raises(ValueError, match=message):
        load_language_model(checkpoint.write(tmp_path))


@pytest.mark.parametrize("family", ENCODERS)
def test_only_a_language_model_needs_tied_embeddings(family, tmp_path):
    plain, untied = (checkpoint_of(family), checkpoint_of(family))
    untied.raw["tie_word_embeddings"] = False
    plain, untied = (loaded(c, tmp_path / str(n)) for n, c in enumerate((plain, untied)))
    jax.tree.map(np.testing.assert_array_equal, untied.params, plain.params)
    model = checkpoint_of(family, head="language_model")
    model.raw["tie_word_embeddings"] = False
    with pytest.raises(ValueError, match="tie_word_embeddings=False is not supported"):
        loaded(model, tmp_path / "language_model")
