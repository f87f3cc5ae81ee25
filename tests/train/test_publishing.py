"""`loren-jax push`: what goes to the Hub, and what is said where it cannot."""

from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

from loren_jax.cli import main

ERROR_TEXTS = {
    401: "does not know this login; log in with `hf auth login`",
    403: "this login may not write to me/mine; name a repository of your own",
    500: "answered 500 (broken); try again later",
}


class Url(str):
    """As the Hub's client gives it."""

    repo_id = "me/mine"


class FakeApi:
    """The Hub's client, which keeps what it is asked for."""

    def __init__(self, *, private=False, status=None):
        self.asked, self._private, self._status = [], private, status

    def create_repo(self, name, **options):
        self.asked.append(("create_repo", name, options))
        if self._status is not None:
            answer = SimpleNamespace(
                status_code=self._status, reason_phrase="broken", headers={}, request=None
            )
            raise HfHubHTTPError("no", response=answer)
        return Url("https://hub/me/mine")

    def model_info(self, name):
        return SimpleNamespace(private=self._private)

    def upload_folder(self, **options):
        self.asked.append(("upload_folder", options))


@pytest.fixture
def run(tmp_path):
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (tmp_path / "run" / "run.journal").touch()
    for name in ("config.json", "model.safetensors", "README.md"):
        (model / name).touch()
    return tmp_path / "run"


@pytest.fixture
def hub(monkeypatch):
    def use(**options):
        api = FakeApi(**options)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
        return api

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a token")
    return use


def error(capsys):
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_the_models_directory_is_uploaded(run, hub, capsys):
    api = hub()
    assert main(["push", str(run), "me/mine"]) == 0
    assert capsys.readouterr().out == "https://hub/me/mine\n"
    (made, uploaded) = api.asked
    assert made == ("create_repo", "me/mine", {"private": None, "exist_ok": True})
    assert uploaded[1]["repo_id"] == "me/mine"
    assert uploaded[1]["folder_path"] == run / "model"


def test_a_model_without_its_run_is_uploaded_too(run, hub):
    api = hub()
    assert main(["push", str(run / "model"), "mine"]) == 0
    assert api.asked[1][1] | {"commit_message": ""} == {
        **{"repo_id": "me/mine", "folder_path": run / "model", "commit_message": ""},
    }


def test_private_is_asked_for(run, hub):
    api = hub(private=True)
    assert main(["push", str(run), "me/mine", "--private"]) == 0
    assert api.asked[0][2]["private"] is True
    assert len(api.asked) == 2


def test_nothing_private_goes_to_a_repository_that_is_public(run, hub, capsys):
    api = hub(private=False)
    assert main(["push", str(run), "me/mine", "--private"]) == 2
    assert "me/mine is there already and is public; name another" in error(capsys)
    assert len(api.asked) == 1


@pytest.mark.parametrize("status", ERROR_TEXTS)
def test_what_the_hub_refuses_is_one_line(run, hub, capsys, status):
    hub(status=status)
    assert main(["push", str(run), "me/mine"]) == 2
    assert ERROR_TEXTS[status] in error(capsys)


def test_who_is_not_logged_in_is_told_how(run, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert main(["push", str(run), "me/mine"]) == 2
    assert "push: nobody is logged in to the Hugging Face Hub; log in with" in error(capsys)


@pytest.mark.parametrize(
    ("name", "message"),
    [("me/mine", "cannot be reached (OfflineModeIsEnabled)"), ("a/b/c", "'a/b/c' is no name of a")],
)
def test_the_real_client_without_a_network(run, monkeypatch, capsys, name, message):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a token")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main(["push", str(run), name]) == 2
    assert message in error(capsys)


def test_without_a_model_there_is_nothing_to_upload(run, hub, capsys):
    api = hub()
    (run / "model" / "model.safetensors").unlink()
    assert main(["push", str(run), "me/mine"]) == 2
    assert "run holds no model; name the directory of a run that has ended" in error(capsys)
    assert main(["push", str(run / "no"), "me/mine"]) == 2
    assert "there is no directory" in error(capsys)
    assert api.asked == []
