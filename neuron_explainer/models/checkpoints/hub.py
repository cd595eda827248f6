"""Files of a model on the Hugging Face hub, downloaded one by one into the hub's own cache."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.utils

from neuron_explainer.errors import CheckpointNotFoundError, DownloadError, UnknownNameError
from neuron_explainer.models.checkpoints.file_source import CONFIG_FILE_NAME, FileSource
from neuron_explainer.models.model_registry import MODEL_REGISTRY

_COMMIT = re.compile("[0-9a-f]{40}")

# Every version exports its errors from there; newer ones define them elsewhere, which confuses type checkers.
hub: Any = huggingface_hub.utils


class HubModel(FileSource):
    """A model on the hub; all its files come from one commit.

    The settings of `huggingface_hub` apply: `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_TOKEN` and the others.
    """

    def __init__(self, hub_id: str, *, revision: str | None = None, token: str | bool | None = None) -> None:
        """Name a model.

        Args:
            hub_id: "owner/name".
            revision: a branch, tag or commit; None means the main branch.
            token: an access token; None means the one that this machine is logged in with.
        """
        self._hub_id = hub_id
        self._revision = revision
        self._token = token

    def __str__(self) -> str:
        return f"{self._hub_id} on the Hugging Face hub" + (f" at {self._revision}" if self._revision else "")

    def find(self, name: str) -> Path | None:
        """The file's path in the hub's cache, downloaded if necessary; None if the model has no such file.

        Raises:
            UnknownNameError: the hub has no such model, or it is private.
            CheckpointNotFoundError: the model has no such revision; or the hub cannot be reached and the cache does not
                have the model.
            DownloadError: the model's conditions must be accepted first, or the hub answered with an error.
        """
        with self._hub_errors(name):
            if self._is_known_to_be_absent(name):
                return None
            try:
                file = Path(
                    huggingface_hub.hf_hub_download(
                        self._hub_id, name, revision=self._revision, token=self._token, library_name="neuron_explainer"
                    )
                )
            except hub.LocalEntryNotFoundError:
                # Offline, a file that is missing from the cache may not exist at all. But the cache of every model that
                # was ever loaded has its config.
                if name == CONFIG_FILE_NAME:
                    raise
                return None
            except hub.EntryNotFoundError:
                return None
        # From here on use the same commit, even if the branch moves on; this also saves asking where it is.
        self._revision = file.parent.name
        return file

    def _is_known_to_be_absent(self, name: str) -> bool:
        """Whether the cache says that the commit has no such file. What a commit has never changes."""
        if self._revision is None or not _COMMIT.fullmatch(self._revision):
            return False
        cached = huggingface_hub.try_to_load_from_cache(self._hub_id, name, revision=self._revision)
        return cached is huggingface_hub._CACHED_NO_EXIST

    def describe_weights(self) -> str:
        """Where the model's files are listed."""
        return f"Its files are listed at {huggingface_hub.constants.ENDPOINT}/{self._hub_id}/tree/main."

    @contextmanager
    def _hub_errors(self, name: str) -> Iterator[None]:
        """Turn the hub's errors into this library's."""
        where = f"{huggingface_hub.constants.ENDPOINT}/{self._hub_id}"
        try:
            yield
        except hub.GatedRepoError as error:
            raise DownloadError(
                where, "its authors' conditions must be accepted there first; then pass `token=`, or log in"
            ) from error
        except hub.RepositoryNotFoundError as error:
            raise UnknownNameError(
                "model on the Hugging Face hub",
                self._hub_id,
                MODEL_REGISTRY,
                "If the model is private, pass `token=`. For a local folder, give its path.",
            ) from error
        except hub.RevisionNotFoundError as error:
            raise CheckpointNotFoundError(f"{where} has no revision {self._revision!r}.", file=where) from error
        except hub.HFValidationError as error:
            raise UnknownNameError(
                "model", self._hub_id, MODEL_REGISTRY, "A model on the hub is 'owner/name'; a local one, its path."
            ) from error
        except hub.LocalEntryNotFoundError as error:
            raise CheckpointNotFoundError(
                f"{self._hub_id} is not in the hub's cache on this machine, and the hub cannot be asked for {name}: "
                "there is no connection, or HF_HUB_OFFLINE is set.",
                file=where,
            ) from error
        except (hub.HfHubHTTPError, OSError) as error:
            raise DownloadError(where, f"downloading {name} failed: {error}") from error
