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
from neuron_explainer.models.hub.cache import cached_sentence
from neuron_explainer.models.hub.connection import can_connect
from neuron_explainer.models.model_registry import MODEL_REGISTRY

_COMMIT = re.compile("[0-9a-f]{40}")

# Every version exports its errors from there; newer ones define them elsewhere, which confuses type checkers.
hub: Any = huggingface_hub.utils


class HubModel(FileSource):
    """A model on the hub; all its files come from one commit.

    The settings of `huggingface_hub` apply: `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_TOKEN` and the others.
    """

    def __init__(
        self,
        hub_id: str,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        main_file: str | None = CONFIG_FILE_NAME,
    ) -> None:
        """Name a model.

        Args:
            hub_id: "owner/name".
            revision: a branch, tag or commit; None means the main branch.
            token: an access token; None means the one that this machine is logged in with.
            main_file: a file that every model has; None if there is none.
        """
        self._hub_id = hub_id
        self._revision = revision
        self._token = token
        self._main_file = main_file

    def __str__(self) -> str:
        return f"{self._hub_id} on the Hugging Face hub{self._at}"

    @property
    def _at(self) -> str:
        return f" at {self._revision}" if self._revision else ""

    def find(self, name: str) -> Path | None:
        """The file's path in the hub's cache, downloaded if necessary; None if the model has no such file.

        Raises:
            UnknownNameError: the hub has no such model, or it is private.
            CheckpointNotFoundError: the model has no such revision; or the hub cannot be reached and the cache does not
                have the model.
            DownloadError: the model's conditions must be accepted first, or the hub answered with an error.
        """
        with self.hub_errors(name):
            file = self._path_of(name)
        if file is not None:
            # From here on use the same commit, even if the branch moves on; this also saves asking where it is.
            self._revision = file.parts[-2 - name.count("/")]
        return file

    def _path_of(self, name: str) -> Path | None:
        cached = huggingface_hub.try_to_load_from_cache(self._hub_id, name, revision=self._revision)
        if cached is not None and self._revision is not None and _COMMIT.fullmatch(self._revision):
            return Path(cached) if isinstance(cached, str) else None  # what a commit has never changes
        if not self.can_be_asked():
            return self._without_connection(cached, name)
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    self._hub_id, name, revision=self._revision, token=self._token, library_name="neuron_explainer"
                )
            )
        except hub.LocalEntryNotFoundError:
            return self._without_connection(None, name)
        except hub.EntryNotFoundError:
            return None

    def _without_connection(self, cached: Any, name: str) -> Path | None:
        """The file in the cache. One that is not there may not exist at all; but every model has its main file."""
        if cached is None and name == self._main_file:
            raise self.not_in_cache(name)
        return Path(cached) if isinstance(cached, str) else None

    def can_be_asked(self) -> bool:
        """Whether the hub may be asked, and can be reached. The client would try for minutes to find that out."""
        constants = huggingface_hub.constants
        return not constants.HF_HUB_OFFLINE and can_connect(constants.ENDPOINT)

    def not_in_cache(self, name: str) -> CheckpointNotFoundError:
        """The error for a file that the cache does not have, while the hub cannot be asked."""
        constants = huggingface_hub.constants
        return CheckpointNotFoundError(
            f"{self._hub_id}{self._at} is not in the hub's cache on this machine, and the hub cannot be asked for "
            f"{name}: {'HF_HUB_OFFLINE is set' if constants.HF_HUB_OFFLINE else 'there is no connection'}. "
            f"{self.what_is_cached()}",
            file=f"{constants.ENDPOINT}/{self._hub_id}",
        )

    def what_is_cached(self) -> str:
        """A sentence that lists what the cache has instead."""
        return cached_sentence(self._hub_id)

    def unknown(self) -> UnknownNameError:
        """The error for a model that the hub does not have, or does not show."""
        hint = "If the model is private, pass `token=`. For a local folder, give its path."
        return UnknownNameError("model on the Hugging Face hub", self._hub_id, MODEL_REGISTRY, hint)

    def describe_weights(self) -> str:
        """Where the model's files are listed."""
        return f"Its files are listed at {huggingface_hub.constants.ENDPOINT}/{self._hub_id}/tree/main."

    @contextmanager
    def hub_errors(self, name: str) -> Iterator[None]:
        """Turn the hub's errors into this library's."""
        where = f"{huggingface_hub.constants.ENDPOINT}/{self._hub_id}"
        try:
            yield
        except CheckpointNotFoundError:
            raise
        except hub.GatedRepoError as error:
            raise DownloadError(
                where, "its authors' conditions must be accepted there first; then pass `token=`, or log in"
            ) from error
        except hub.RepositoryNotFoundError as error:
            raise self.unknown() from error
        except hub.RevisionNotFoundError as error:
            raise CheckpointNotFoundError(f"{where} has no revision {self._revision!r}.", file=where) from error
        except hub.HFValidationError as error:
            raise UnknownNameError(
                "model", self._hub_id, MODEL_REGISTRY, "A model on the hub is 'owner/name'; a local one, its path."
            ) from error
        except (hub.HfHubHTTPError, OSError) as error:
            raise DownloadError(where, f"downloading {name} failed: {error}") from error
