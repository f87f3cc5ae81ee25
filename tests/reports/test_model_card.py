"""What a model's card says, and what it keeps to itself."""

import json
import re

import pytest
from huggingface_hub import ModelCard

from loren_jax.reports.class_scores import class_scores
from loren_jax.reports.model_card import Provenance, model_card, portable, write_card

CONFIG = {
    "model": "org/base_model",
    "data": "owner/set:part",
    "data_dir": None,
    "output": "/home/someone/runs/x",
    "batch_size": 8,
    "seed": 3,
    "optimizer": {"name": "mezo", "learning_rate": 0.5, "momentum": None},
}
MODEL = {
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"10": "k", **{str(i): name for i, name in enumerate("abcdefghij")}},
}
TWO = {**MODEL, "id2label": {"0": "bad", "1": "not|good <b>"}}
PROMPT = {
    "template": "{premise} Is {hypothesis} true? {answer}",
    "words": [" Yes", " No"],
    "label_names": ["entailment", "not_entailment"],
}
SCORES = {"loss": 0.5, "accuracy": 0.75, "majority_accuracy": 0.5, "examples": 40}
BY_CLASS = {"by_class": class_scores([[18, 2], [8, 12]], ("bad", "not|good <b>"))}


def known(**changes):
    values = {
        "config": {**CONFIG, **changes.pop("config", {})},
        **{"steps": 40, "max_length": 64, "versions": {"jax": "1.2.3", "optax": ""}},
    }
    return Provenance(**{**values, **changes})


def front_matter(text):
    return ModelCard(text).data.to_dict()


def test_the_hub_reads_the_front_matter():
    data = front_matter(model_card(MODEL, known()))
    assert data["base_model"] == "org/base_model"
    assert data["datasets"] == ["owner/set"]
    assert data["pipeline_tag"] == "text-classification"
    assert "custom_code" not in data["tags"]
    own = front_matter(model_card({**MODEL, "auto_map": {}}, known()))
    assert "custom_code" in own["tags"]


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("BertForMaskedLM", "fill-mask"), ("LlamaForCausalLM", "text-generation")],
)
def test_a_prompted_model_is_what_transformers_makes_of_it(architecture, kind):
    text = model_card({"architectures": [architecture]}, known(), PROMPT)
    assert front_matter(text)["pipeline_tag"] == kind
    assert '| not_entailment | `" No"` |' in text
    assert "```text\n{premise} Is {hypothesis} true? {answer}\n```" in text
    assert r"premise,hypothesis\nThe words to classify,The words to classify\n" in text
    assert f"AutoModelFor{architecture.partition('For')[2]}.from_pretrained" in text


@pytest.mark.parametrize("folder", ["/home/someone/secret", "C:\\Users\\someone\\secret"])
def test_no_folder_of_the_machine_is_told(folder):
    split = "\\" if "\\" in folder else "/"
    paths = {
        name: f"{folder}{split}{name}.x" for name in ("model", "data", "held_out_data", "data_dir")
    }
    text = model_card(MODEL, known(config=paths))
    assert "someone" not in text
    assert "secret" not in text
    assert "# model.x, fine-tuned on data.x" in text
    data = front_matter(text)
    assert "base_model" not in data
    assert "datasets" not in data
    assert portable(paths)["data_dir"] == "data_dir.x"


def test_a_task_or_words_are_no_data_set_of_the_hub():
    assert "datasets" not in front_matter(model_card(MODEL, known(config={"data": "sst2"})))
    frame = known(config={"data": "data frame of 40 rows"})
    assert "datasets" not in front_matter(model_card(MODEL, frame))


def test_what_is_not_known_is_left_out():
    text = model_card(MODEL, known())
    assert "## Scores" not in text
    assert "examples" not in text.partition("```json")[0]
    assert "protocol" not in text.partition("```json")[0]
    assert re.search(r"## Versions\n\njax 1\.2\.3\.\n$", text)
    assert text.index("| b |") < text.index("| j |") < text.index("| k |")  # by their numbers


def test_scores_stand_with_interval_and_majority_class():
    text = model_card(TWO, known(scores={"held-out": {**SCORES, **BY_CLASS}}))
    low, high = BY_CLASS["by_class"]["accuracy_interval"]
    assert f"| 0.500 | 0.750 | {low:.3f} to {high:.3f} | 0.500 | 40 |" in text
    assert r"| not\|good \<b\> | 0.857 | 0.600 | 0.706 | 20 |" in text


def test_what_selected_has_no_interval_and_the_test_has():
    scores = {"dev": {**SCORES, **BY_CLASS}, "test": {**SCORES, **BY_CLASS}}
    text = model_card(TWO, known(scores=scores, facts={"selected_step": 20}))
    dev, test = text.index("On dev examples"), text.index("On test examples")
    assert "interval" not in text[dev:test]
    assert "interval" in text[test:]


def test_the_configuration_is_strict_json():
    text = model_card(MODEL, known(config={"lora_alpha": float("inf")}))
    (block,) = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    values = json.loads(block)
    assert values["lora_alpha"] is None
    assert values["optimizer"] == CONFIG["optimizer"]


def test_pairs_of_texts_are_asked_for_as_pairs():
    text = model_card(MODEL, known(facts={"texts_per_example": 2}))
    assert r"text_a,text_b\n" in text
    assert '"text_pair"' in text


def test_a_card_is_written_beside_the_model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MODEL))
    write_card(tmp_path, known())
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == model_card(MODEL, known())
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "README.md"}


@pytest.mark.parametrize(
    ("template", "call"),
    [
        ("own", 'write([{"role": "user", "content": "..."}], max_new_tokens=64)'),
        ("plain", r'write("User: ...\nAssistant:", max_new_tokens=64)'),
        ("none", 'write("...", max_new_tokens=64)'),
        (None, 'write("...", max_new_tokens=64)'),
    ],
)
def test_a_model_that_writes_is_asked_as_it_was_trained(template, call):
    """It has no classes; what it said is for the summary alone."""
    scores = {"loss": 3.25, "perplexity": 25.8, "token_accuracy": 0.36, "examples": 40}
    model = {"architectures": ["LlamaForCausalLM"]}
    card = model_card(model, known(scores={"test": scores}), None, {"template": template})
    assert front_matter(card)["pipeline_tag"] == "text-generation"
    assert "A language model, fine-tuned" in card
    assert "| 3.250 | 25.800 | 0.360 | 40 |" in card
    assert call in card
    assert "## Classes" not in card
