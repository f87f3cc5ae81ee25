"""The official loops: the same model in torch, and methods taken from a file that cannot run."""

import numpy as np
import pytest

from benchmarks.transformer import Transformer

torch = pytest.importorskip("torch")

from benchmarks.evidence import official_loops  # noqa: E402

pytestmark = pytest.mark.oracle

TINY = Transformer(layers=3, width=16, hidden=64, vocabulary=32)
MEZO = """
from a_package_that_is_long_past import Trainer, Inputs

class OurTrainer(Trainer):
    broken = Trainer.constant

    def zo_perturb_parameters(self, model, factor):
        torch.manual_seed(self.zo_random_seed)
        for p in model.parameters():
            p.data = p.data + factor * self.args.zo_eps * torch.randn(p.shape, device="{device}")

    def zo_forward(self, model, inputs: Inputs):
        return self.compute_loss(model, inputs).detach()

    def zo_step(self, model, inputs: Inputs):
        self.zo_random_seed = np.random.randint(1000)
        self.zo_perturb_parameters(model, 1)
        self.losses = [*getattr(self, "losses", []), self.zo_forward(model, inputs)]
        self.zo_perturb_parameters(model, -1)

    def zo_update(self, model):
        model.steps = len(self.losses)
"""


@pytest.fixture
def checkout(tmp_path):
    file = tmp_path / "large_models" / "trainer.py"
    file.parent.mkdir()
    file.write_text(MEZO.replace("{device}", "cuda"), encoding="utf-8")
    return tmp_path


def model_and_ids():
    ids = TINY.tokens(2, 16)
    return official_loops.Model(TINY.params()), torch.from_numpy(np.array(ids)).long()


def test_the_model_in_torch_has_the_same_loss():
    model, ids = model_and_ids()
    expected = TINY.loss(TINY.params(), TINY.tokens(2, 16))
    np.testing.assert_allclose(model(ids)[0].item(), expected, rtol=1e-5)


def test_a_loop_is_run_without_the_rest_of_its_file_and_on_the_processor(checkout):
    model, ids = model_and_ids()
    before = model.embedding.detach().clone()
    official_loops.mezo_loop(checkout, model, ids)()
    assert model.steps == 3
    torch.testing.assert_close(model.embedding.detach(), before)


def test_a_folder_that_is_no_checkout_is_named(tmp_path):
    model, ids = model_and_ids()
    with pytest.raises(SystemExit, match=r"trainer\.py does not exist: give a checkout"):
        official_loops.mezo_loop(tmp_path, model, ids)


@pytest.mark.parametrize(
    ("missing", "told"),
    [("class OurTrainer", "no class OurTrainer"), ("def zo_update", "no zo_update")],
)
def test_a_file_that_lacks_something_is_named(checkout, missing, told):
    file = checkout / "large_models" / "trainer.py"
    file.write_text(file.read_text("utf-8").replace(missing, f"{missing}_2"), encoding="utf-8")
    model, ids = model_and_ids()
    with pytest.raises(SystemExit, match=told):
        official_loops.mezo_loop(checkout, model, ids)


def test_a_folder_outside_of_git_has_no_version(tmp_path):
    assert official_loops.version(tmp_path) is None
