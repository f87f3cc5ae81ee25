"""What is exported of a decoder is what stock transformers loads, and what we read back."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_decoders import TORCH_CLASSES, TinyDecoder, batch, compiled, read_only

from loren_jax.models import (
    export_classifier,
    export_language_model,
    load_classifier,
    load_language_model,
)

VARIANTS = {
    "gpt2": {},
    "opt": {"word_embed_proj_dim": 4, "do_layer_norm_before": False},
    "llama": {"tie_word_embeddings": True},
}
"""Those with the most of their own: OPT-350m's form, a Llama that ties its embeddings."""


def exported(decoder, tmp_path):
    """The directory, and its model as we read it."""
    source, directory = decoder.write(tmp_path / "source"), tmp_path / "exported"
    if decoder.config.head == "classification":
        names = ("bad", "fair", "good")
        export_classifier(directory, source, decoder.config, decoder.params(), names)
        return directory, load_classifier(directory)
    export_language_model(directory, source, decoder.config, decoder.params())
    return directory, load_language_model(directory)


@pytest.mark.parametrize(("model_type", "head"), TORCH_CLASSES)
def test_it_comes_back_bit_for_bit(model_type, head, tmp_path):
    decoder = TinyDecoder(model_type, head, **VARIANTS[model_type])
    _, model = exported(decoder, tmp_path)
    labels = decoder.config.num_labels  # which a language model's directory does not tell
    assert dataclasses.replace(model.config, num_labels=labels) == decoder.config
    jax.tree.map(np.testing.assert_array_equal, model.params, decoder.params())


@pytest.mark.oracle
@pytest.mark.parametrize(("model_type", "head"), TORCH_CLASSES)
def test_transformers_loads_it_and_computes_the_same(model_type, head, tmp_path):
    torch = pytest.importorskip("torch")
    import transformers

    decoder = TinyDecoder(model_type, head, **VARIANTS[model_type])
    directory, _ = exported(decoder, tmp_path)
    auto = {
        "classification": transformers.AutoModelForSequenceClassification,
        "language_model": transformers.AutoModelForCausalLM,
    }[head]
    model, loading = auto.from_pretrained(directory, output_loading_info=True)
    assert type(model).__name__ == TORCH_CLASSES[model_type, head]
    assert not loading["unexpected_keys"]
    assert set(loading["missing_keys"]) <= {"lm_head.weight"}
    ids, mask = batch()
    with torch.no_grad():
        found = model.eval()(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
    wanted = compiled(decoder.config)(decoder.params(), ids, mask)
    wanted = wanted if head == "classification" else wanted[0]
    np.testing.assert_allclose(
        read_only(found.logits.numpy(), mask), read_only(np.asarray(wanted), mask), atol=1e-5
    )
