"""Finding, loading and exporting models, and the errors on the way."""

import json
from copy import deepcopy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.tiny_checkpoints import ENCODERS, TinyCheckpoint, TinyDecoder
from quickstart import minilm

from loren_jax.checkpoints import checkpoint_tokenizer
from loren_jax.checkpoints.special_tokens import mask_token_id
from loren_jax.models import (
    FAMILIES,
    export_classifier,
    export_language_model,
    load_classifier,
    load_language_model,
    load_prompted,
)
from loren_jax.models.families import family_described

LABELS = ("bad", "fair", "good")


def export(checkpoint, tmp_path, **options):
    """Exports a tiny checkpoint whose parameters have moved, as after training."""
    source = checkpoint.write(tmp_path / "source")
    (source / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    model = load_classifier(source, **options)
    params = jax.tree.map(lambda leaf: leaf * 1.125, model.params)
    out = export_classifier(tmp_path / "out", source, model.config, params, model.label_names)
    return out, model._replace(params=params)


ODD = {
    "nothing odd": {},
    "no type": {"model_type": None},
    "untied": {"tie_word_embeddings": False},
    "quantised before": {"quantization_config": {"quant_method": "bitsandbytes"}},
    "classes as a list": {"id2label": list(LABELS)},
    "of several labels": {"problem_type": "multi_label_classification"},
}


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("pooling", "odd"), [("mean", {}), *(("cls", odd) for odd in ODD.values())], ids=["mean", *ODD]
)
def test_stock_transformers_loads_the_export(
    pooling, odd, tiny_checkpoint, batch, tmp_path, monkeypatch
):
    torch = pytest.importorskip("torch")
    import transformers

    # Code that comes with a model is copied to a cache before it is run.
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "m"))
    monkeypatch.syspath_prepend(str(tmp_path / "m"))
    checkpoint = tiny_checkpoint(pooling)
    checkpoint.raw |= odd
    out, model = export(checkpoint, tmp_path)
    stock, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        out, trust_remote_code=pooling == "mean", output_loading_info=True
    )
    assert not any(report.values()), report
    assert stock.config.id2label == dict(enumerate(LABELS))
    assert stock.config.problem_type is None
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = {n: torch.tensor(np.asarray(a)) for n, a in zip(names, batch, strict=True)}
    with torch.no_grad():
        wanted = stock.eval()(**inputs).logits.numpy()
    np.testing.assert_allclose(model.apply(model.params, *batch), wanted, atol=1e-5)


@pytest.mark.oracle
def test_mean_pooled_export_is_refused_where_its_code_is_not_trusted(tiny_checkpoint, tmp_path):
    """As a plain BERT it would get a pooler that nobody trained."""
    pytest.importorskip("torch")
    import transformers

    out, _ = export(tiny_checkpoint("mean"), tmp_path)
    for auto in (transformers.AutoModelForSequenceClassification, transformers.AutoModel):
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            auto.from_pretrained(out, trust_remote_code=False)


def test_tokenizer_of_a_mean_pooled_export_opens_without_its_code(tiny_checkpoint, tmp_path):
    out, _ = export(tiny_checkpoint("mean"), tmp_path)
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == "mean_pooled_bert"
    assert "Config" in config["auto_map"]["AutoConfig"]
    tokenizer = checkpoint_tokenizer(out)
    assert tokenizer.convert_ids_to_tokens([0, 1]) == ["[PAD]", "[UNK]"]


def test_mean_pooled_export_becomes_a_plain_bert_again(tiny_checkpoint, tmp_path):
    out, model = export(tiny_checkpoint("mean"), tmp_path)
    plain = load_classifier(tiny_checkpoint().write(tmp_path / "plain"))
    again = export_classifier(tmp_path / "a", out, plain.config, plain.params, LABELS)
    config = json.loads((again / "config.json").read_text())
    assert (config["model_type"], config.get("auto_map")) == ("bert", None)
    assert load_classifier(out).config == model.config


def test_export_copies_the_tokenizer_and_keeps_the_source_settings(tiny_checkpoint, tmp_path):
    stale = {
        "torch_dtype": "float16",
        "_name_or_path": "elsewhere",
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
        # What was trained is a classifier of one class each.
        "problem_type": "multi_label_classification",
        "function_to_apply": "sigmoid",
    }
    out, _ = export(tiny_checkpoint(hidden_dropout_prob=0.25, **stale), tmp_path)
    assert (out / "vocab.txt").read_text() == "[PAD]\n[UNK]\n"
    config = json.loads((out / "config.json").read_text())
    assert config["hidden_dropout_prob"] == 0.25
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert not config.keys() & {*stale, "auto_map"}


def test_export_refuses_a_used_directory_and_wrong_labels(tiny_checkpoint, tmp_path):
    out, model = export(tiny_checkpoint(), tmp_path)
    source = tmp_path / "source"
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_classifier(out, source, model.config, model.params, LABELS)
    export_classifier(out, source, model.config, model.params, ("x", "y", "z"), overwrite=True)
    assert load_classifier(out).label_names == ("x", "y", "z")
    for labels in (("a", "b"), ("a", "a", "b")):
        with pytest.raises(ValueError, match="must be 3 different names"):
            export_classifier(tmp_path / "new", source, model.config, model.params, labels)


def test_number_of_labels_must_be_the_heads(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    checkpoint.raw["id2label"] = list(LABELS)
    directory = checkpoint.write(tmp_path)
    assert load_classifier(directory, num_labels=3).label_names == LABELS  # a list will do
    with pytest.raises(ValueError, match=r"num_labels=4, but 'classifier.bias'.*has 3 labels"):
        load_classifier(directory, num_labels=4)


def test_bare_encoder_needs_a_number_of_labels(tiny_checkpoint, tmp_path):
    directory = tiny_checkpoint().without_head().write(tmp_path)
    with pytest.raises(ValueError, match="has no head; pass num_labels="):
        load_classifier(directory)
    first, again, other = (load_classifier(directory, num_labels=4, key=key) for key in (0, 0, 1))
    kernel = first.params["classifier"]["kernel"]
    assert kernel.shape == (8, 4)
    np.testing.assert_array_equal(kernel, again.params["classifier"]["kernel"])
    assert not np.allclose(kernel, other.params["classifier"]["kernel"])
    assert first.label_names == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3")
    typed = load_classifier(directory, num_labels=4, key=jax.random.key(0))
    np.testing.assert_array_equal(kernel, typed.params["classifier"]["kernel"])


def test_announced_head_must_be_there(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint().without_head()
    checkpoint.raw["architectures"] = ["BertForSequenceClassification"]
    with pytest.raises(ValueError, match=r"announces a classifier.*classifier\.weight"):
        load_classifier(checkpoint.write(tmp_path), num_labels=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "t5"}, r"model_type='t5'.*families are \['bert', "),
        ({"id2label": {"zero": "bad"}}, r"id2label={'zero': 'bad'} must be an object whose keys"),
        ({"id2label": {"0.0": "bad", "1.0": "good"}}, r"id2label=.* must be an object whose keys"),
        ({"id2label": "bad"}, r"id2label='bad' must be an object whose keys"),
        ({"hidden_act": "mish"}, "hidden_act='mish'"),
        ({"architectures": [None], "vocab_size": None}, "vocab_size=None must be of type int$"),
        ({"pooling": "max"}, "pooling='max' must be one of"),
        ({"num_hidden_layers": 3}, r"missing.*encoder\.layer\.2.*num_hidden_layers"),
        ({"num_hidden_layers": 1}, r"no place for 16 tensors.*layer\.1.*num_hidden_layers"),
        ({"vocab_size": 31}, r"word_embeddings.* has shape \(30, 8\).*needs \(31, 8\)"),
        ({"intermediate_size": 13}, r"intermediate\.dense.* has shape \(12,.*needs \(13,"),
    ],
)
def test_configuration_that_does_not_fit_is_refused(change, message, tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    checkpoint.raw |= change
    with pytest.raises(ValueError, match=message):
        load_classifier(checkpoint.write(tmp_path))


@pytest.mark.parametrize(
    ("family", "architecture"),
    [
        ("bert", "BertForSequenceClassification"),
        ("bert", "BertModel"),
        ("roberta", "RobertaForSequenceClassification"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("gpt2", "GPT2LMHeadModel"),
        ("opt", "OPTForCausalLM"),
        ("llama", "LlamaForSequenceClassification"),
        ("qwen2", "Qwen2ForCausalLM"),
        ("gemma2", "Gemma2Model"),
        ("modernbert", "ModernBertForMaskedLM"),
        ("smollm3", "SmolLM3ForCausalLM"),
    ],
)
def test_class_tells_the_family_where_its_type_is_missing(family, architecture):
    assert family_described({"architectures": [architecture]}) is FAMILIES[family]


@pytest.mark.parametrize("classes", [None, [], ["BertweetForMaskedLM"], ["GPT2000"]])
def test_family_that_nothing_tells_is_asked_for(classes):
    with pytest.raises(ValueError, match=r"config\.json says no model_type; add it as one of"):
        family_described({"architectures": classes})


def test_export_of_a_model_without_type_has_one(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    del checkpoint.raw["model_type"]
    out, _ = export(checkpoint, tmp_path)
    assert json.loads((out / "config.json").read_text())["model_type"] == "bert"


TASKS = ["TokenClassification", "MultipleChoice"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", [*ENCODERS, "llama"])
def test_head_of_another_task_is_no_head(family, task, tmp_path):
    own = TinyDecoder(family) if family == "llama" else TinyCheckpoint(ENCODERS[family])
    head = "score" if family == "llama" else "classifier"
    other = deepcopy(own)
    del other.raw["id2label"]
    other.raw["architectures"] = [own.export.architecture.replace("SequenceClassification", task)]
    before = (head, "pre_classifier", "head.")
    for name in [name for name in other.tensors if name.startswith(before)]:
        del other.tensors[name]
    other.tensors[f"{head}.weight"] = np.ones((2, 12), np.float32)
    other.tensors[f"{head}.bias"] = np.ones(2, np.float32)
    directory = other.write(tmp_path / "other")
    with pytest.raises(ValueError, match="has no head; pass num_labels="):
        load_classifier(directory)
    model = load_classifier(directory, num_labels=2, key=3)
    bare = load_classifier(own.without_head().write(tmp_path / "own"), num_labels=2, key=3)
    jax.tree.map(np.testing.assert_array_equal, model.params, bare.params)
    assert model.label_names == ("LABEL_0", "LABEL_1")


def test_directory_without_a_model_is_refused(tiny_checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        load_classifier(tmp_path)
    (tiny_checkpoint().write(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has none of \['model\.safetensors'"):
        load_classifier(tmp_path)


def test_minilm_is_a_mean_pooled_classifier():
    model = load_classifier(minilm(), num_labels=2, dtype=jnp.bfloat16)
    assert (model.config.pooling, model.config.num_hidden_layers) == ("mean", 6)
    assert model.params["layers"]["up"]["kernel"].shape == (6, 384, 1536)
    ids = jnp.array([[101, 7592, 102, 0]])
    assert jnp.isfinite(model.apply(model.params, ids, ids > 0)).all()


@pytest.mark.parametrize(
    ("token_ids", "label_names", "message"),
    [
        ([4, 30], None, r"token_ids=\[4, 30\] must be different numbers from 0 to 29"),
        ([4, 4], None, "must be different numbers"),
        ([4, 7], ["yes"], r"label_names=\['yes'\] must be 2 different names"),
    ],
)
def test_choices_must_be_tokens_with_names(
    token_ids, label_names, message, tiny_checkpoint, tmp_path
):
    directory = tiny_checkpoint(head="language_model", mask_token_id=3).write(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_prompted(directory, token_ids, label_names=label_names)


def test_prompts_need_a_known_mask_token(tiny_checkpoint, tmp_path):
    directory = tiny_checkpoint(head="language_model").write(tmp_path)
    with pytest.raises(ValueError, match=r"mask_token_id=None.*tokenizer\.json"):
        load_prompted(directory, [4, 7])
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[MASK]\n")
    for path in (directory, directory / "model.safetensors"):
        assert load_prompted(path, [4, 7]).config.mask_token_id == 2


FAST = {"added_tokens": [{"id": 0, "content": "[PAD]"}, {"id": 103, "content": "[MASK]"}]}


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({}, None),
        ({"tokenizer.json": FAST}, 103),
        ({"tokenizer.json": {"added_tokens": []}, "vocab.json": {"<mask>": 7}}, 7),
        ({"vocab.txt": "[PAD]\r\n\r\n[MASK]\r\n"}, 2),
        ({"added_tokens.json": {"<mask>": 9}, "vocab.json": {"a": 0}}, 9),
        (
            {
                "vocab.json": {"<mask>": 7, "<blank>": 8},
                "tokenizer_config.json": {"mask_token": {"content": "<blank>"}},
            },
            8,
        ),
        (
            {
                "vocab.json": {"<mask>": 7, "<blank>": 8},
                "special_tokens_map.json": {"mask_token": "<blank>"},
            },
            8,
        ),
        ({"vocab.json": {"a": 0}, "tokenizer_config.json": {"mask_token": None}}, None),
    ],
)
def test_mask_token_is_found_in_whatever_files_the_tokenizer_has(files, number, tmp_path):
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text, newline="")
    assert mask_token_id(tmp_path) == number


def test_export_needs_the_head_that_it_is_named_after(tiny_checkpoint, tmp_path):
    directory = tiny_checkpoint(head="language_model", mask_token_id=3).write(tmp_path / "lm")
    prompted = load_prompted(directory, [4, 7])
    with pytest.raises(ValueError, match="use export_language_model"):
        export_classifier(
            tmp_path / "x", directory, prompted.config, prompted.params, prompted.label_names
        )
    out = export_language_model(tmp_path / "x", directory, prompted.config, prompted.params)
    back = load_language_model(out)
    jax.tree.map(np.testing.assert_array_equal, back.params, prompted.params)
    source = tiny_checkpoint().write(tmp_path / "classifier")
    model = load_classifier(source)
    with pytest.raises(ValueError, match="use export_classifier"):
        export_language_model(tmp_path / "y", source, model.config, model.params)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_language_model(out, directory, back.config, back.params)
