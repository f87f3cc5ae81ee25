"""A run's model on the Hugging Face Hub, by the Hub's own client and its own login."""

from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

from loren_jax.checkpoints import CONFIG
from loren_jax.objectives.saved_model import model_directory

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def push(run: Path, name: str, *, private: bool = False) -> str:
    """Uploads the model of a run, and its card with it; the repository is made if need be.

    Args:
      run: The directory of a run, or of a model.
      name: The repository, `owner/name` or a name of one's own.
      private: Whether nobody else may see it.

    Returns:
      Where it is.

    Raises:
      FileNotFoundError: If there is no model.
      PermissionError: If nobody is logged in, or may not write there.
      ConnectionError: If the Hub cannot be reached.
      ValueError: If the name is none, or the repository is public where it was to be private.
    """
    directory = _model_of(run)
    if huggingface_hub.get_token() is None:
        raise PermissionError(f"push: nobody is logged in to the Hugging Face Hub; {_LOGIN}")
    api = huggingface_hub.HfApi()
    try:
        made = api.create_repo(name, private=private or None, exist_ok=True)
        # A repository that was there stays as visible as it was.
        if private and not api.model_info(made.repo_id).private:
            raise ValueError(
                f"push: {made.repo_id} is there already and is public; name another, or make it "
                "private on the Hub"
            )
        api.upload_folder(
            repo_id=made.repo_id, folder_path=directory, commit_message="Model by loren_jax"
        )
    except HFValidationError as error:
        raise ValueError(f"push: {name!r} is no name of a repository: {error}") from error
    except HfHubHTTPError as error:
        raise _refusal(name, error) from error
    except (ConnectionError, TimeoutError, HTTPError) as error:
        raise ConnectionError(
            f"push: the Hugging Face Hub cannot be reached ({type(error).__name__}); with a "
            "network, unset HF_HUB_OFFLINE and try again"
        ) from error
    return str(made)


def _model_of(run: Path) -> Path:
    """The model's directory."""
    if not run.is_dir():
        raise FileNotFoundError(f"push: there is no directory {run}; name that of a run")
    directory = Path(model_directory(str(run)))
    if not (directory / CONFIG).is_file() or not list(directory.glob("*.safetensors")):
        raise FileNotFoundError(
            f"push: {run} holds no model; name the directory of a run that has ended, or a model "
            "that `loren-jax export` wrote"
        )
    return directory


def _refusal(name: str, error: HfHubHTTPError) -> Exception:
    status = error.response.status_code
    if status == 401:
        return PermissionError(f"push: the Hugging Face Hub does not know this login; {_LOGIN}")
    if status == 403:
        return PermissionError(
            f"push: this login may not write to {name}; name a repository of your own, or {_LOGIN}"
        )
    return ConnectionError(
        f"push: the Hugging Face Hub answered {status} "
        f"({error.server_message or error.response.reason_phrase}); try again later"
    )
