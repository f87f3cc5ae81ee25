"""A query of a step as PEFT's files: an engine that serves adapters answers for it."""

import jax
import numpy as np
import pytest
from models.peft_oracle import applied
from models.tiny_checkpoints import DECODERS, TinyCheckpoint

import loren_jax
from loren_jax import lora
from loren_jax.checkpoints import open_checkpoint
from loren_jax.journal import Session
from loren_jax.models import family_of, load_language_model
from loren_jax.models.adapter_export import export_adapter
from loren_jax.models.weights import tensors_of
from loren_jax.transforms import anchored

OPTIMIZERS = {
    "loren": (1, lambda: loren_jax.loren(1e-3, num_directions=3, perturbation_scale=0.3, rank=1)),
    "pairs": (2, lambda: loren_jax.mezo(1e-3, num_directions=2, perturbation_scale=0.3, rank=2)),
    "at random distances": (2, lambda: loren_jax.kerzoo(1e-3, perturbation_scale=0.3, rank=2)),
    "anchored": (1, lambda: anchored(loren_jax.mezo(1e-3, perturbation_scale=0.3, rank=1), 0.1)),
}


def asked(family, name, directory):
    """A model, and what its optimiser asks of it last in the second step, as written to files."""
    base = TinyCheckpoint(DECODERS[family], head="language_model").write(directory / "base")
    model = load_language_model(base)
    rank, make = OPTIMIZERS[name]
    optimizer = loren_jax.trained(make(), lambda path: path.endswith("kernel"))
    session = Session(model.params, optimizer)
    directions, points = session.losses_shape
    session.tell(np.arange(directions * points, dtype=np.float32))
    query = directions - 1, points - 1
    export_adapter(
        *(directory / "adapter", model.config, session.adapters(*query), model.params),
        **{
            "base": open_checkpoint(base),
            "base_name": str(base),
            "rank": rank,
            "alpha": float(rank),
        },
    )
    return base, model, session, query


@pytest.mark.each_value
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_adapter_makes_the_model_that_is_asked(family, name, tmp_path):
    base, model, session, query = asked(family, name, tmp_path)
    own = session.query(*query)
    table = family_of(model.config).weight_table(model.config)
    merged = lora.merge(session.params, session.adapters(*query))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), merged, own)
    # The parameters have moved by a step; the files hold what is asked beside them.
    source = open_checkpoint(base)
    prefixed = any(name.startswith(table.prefix) for name in source.names())
    stored = {table.canonical_name(n, prefixed=prefixed): source.read(n) for n in source.names()}
    before = stored | tensors_of(session.params, table)
    found = applied(tmp_path / "adapter", before)
    for name, tensor in tensors_of(own, table).items():
        np.testing.assert_allclose(found[name], tensor, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_torch_gives_the_logits_of_the_query(tmp_path):
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    base = TinyCheckpoint(DECODERS["llama"], head="language_model").write(tmp_path / "base")
    model = load_language_model(base)
    optimizer = loren_jax.trained(
        loren_jax.loren(1e-3, perturbation_scale=0.3, rank=1), lambda path: path.endswith("kernel")
    )
    session = Session(model.params, optimizer)
    network = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for direction in range(2):  # one after the other, as slots of one engine
        place = tmp_path / f"adapter{direction}"
        export_adapter(
            *(place, model.config, session.adapters(direction), model.params),
            **{"base": open_checkpoint(base), "base_name": str(base), "rank": 1, "alpha": 1.0},
        )
        own = f"query{direction}"
        if direction == 0:
            network = peft.PeftModel.from_pretrained(network, place, adapter_name=own).eval()
        else:
            network.load_adapter(place, adapter_name=own)
    ids = np.array([[3, 1, 4, 1, 5]])
    places = np.arange(5)[None]
    plain = model.apply(model.params, ids, ids > 0, places)
    for direction in range(2):
        network.set_adapter(f"query{direction}")
        with torch.no_grad():
            found = network(input_ids=torch.tensor(ids)).logits.numpy()
        wanted = model.apply(session.query(direction), ids, ids > 0, places)
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        assert np.abs(found - plain).max() > 1e-3


def test_what_has_no_two_factors_is_named():
    params = {"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}
    session = Session(params, loren_jax.loren(0.1, rank=1))
    with pytest.raises(ValueError, match="leaf 'bias' is moved by Dense and not by two factors"):
        session.adapters(0)
    with pytest.raises(TypeError, match="does not say which directions it draws"):
        Session(params, loren_jax.mezo_bcd(0.1, rank=1)).adapters(0)
