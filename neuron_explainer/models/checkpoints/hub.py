"""Files of a model on the Hugging Face hub, fetched one by one into the hub's own cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.utils

from neuron_explainer.errors import CheckpointNotFoundError, DownloadError, UnknownNameError
from neuron_explainer.models.checkpoints.hugging_face import CONFIG_FILE_NAME, FileSource
from neuron_explainer.models.model_registry import MODEL_REGISTRY

# Every version exports its errors from there, though newer ones define them elsewhere and say so to type checkers.
hub: Any = huggingface_hub.utils


class HubModel(FileSource):
    """A model on the hub, all of whose files are of one commit.

    `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_TOKEN` and the other settings of `huggingface_hub` hold.
    """

    def __init__(self, hub_id: str, *, revision: str | None = None, token: str | bool | None = None) -> None:
        """Name a model.

        Args:
            hub_id: "owner/name".
            revision: a branch, tag or commit; the main branch if it is None.
            token: for models that need one; None means the one that this machine is logged in with.
        """
        self._hub_id = hub_id
        self._revision = revision
        self._token = token

    def __str__(self) -> str:
        return f"{self._hub_id} on the Hugging Face hub" + (f" at {self._revision}" if self._revision else "")

    def find(self, name: str) -> Path | None:
        """The file's path in the hub's cache, downloaded if it is not there; None if the model has no such file.

        Raises:
            UnknownNameError: there is no such model or revision, or it is private.
            CheckpointNotFoundError: the hub cannot be asked and the cache has no such model.
            DownloadError: the model asks for its licence to be accepted, or the hub answered with an error.
        """
        with self._hub_errors(name):
            try:
                file = Path(
                    huggingface_hub.hf_hub_download(
                        self._hub_id, name, revision=self._revision, token=self._token, library_name="neuron_explainer"
                    )
                )
            except hub.LocalEntryNotFoundError:
                # Without the hub, a file that is not in the cache may be one that the model does not have; but the
                # cache of a model that was ever loaded has its config.
                if name == CONFIG_FILE_NAME:
                    raise
                return None
            except hub.EntryNotFoundError:
                return None
        # From here on the same commit, even should the branch move on; and no more asking where it is.
        self._revision = file.parent.name
        return file

    def describe_weights(self) -> str:
        """What to look at."""
        return f"Its files are listed at {huggingface_hub.constants.ENDPOINT}/{self._hub_id}/tree/main."

    @contextmanager
    def _hub_errors(self, name: str) -> Iterator[None]:
        """Turn the hub's errors into this library's."""
        where = f"{huggingface_hub.constants.ENDPOINT}/{self._hub_id}"
        try:
            yield
        except hub.GatedRepoError as error:
            raise DownloadError(
                where, "its authors ask to have their conditions accepted there; then pass `token=`, or log in"
            ) from error
        except hub.RepositoryNotFoundError as error:
            raise UnknownNameError(
                "model on the Hugging Face hub",
                self._hub_id,
                MODEL_REGISTRY,
                "If it is private, pass `token=`; if a local folder was meant, give its path.",
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
            raise DownloadError(where, f"fetching {name} failed: {error}") from error
