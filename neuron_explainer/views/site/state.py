"""What a site's folder says of itself: which site it is, so that a stopped export can go on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuron_explainer.collation.runs.saved_state import differences
from neuron_explainer.errors import DatasetExistsError, NeuronExplainerError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.views.site.plan import SitePlan
from neuron_explainer.wording import in_a_sentence

STATE = "site.json"
_MADE_BY, _VERSION, _MOST_BYTES = "neuron_explainer.export_site", 1, 64 * 2**20


@dataclass(frozen=True)
class SiteState:
    """What a site is of.

    Attributes:
        settings: all that its pages depend on.
        plan: its components.
    """

    settings: dict[str, Any]
    plan: SitePlan

    def save(self, folder: Path) -> None:
        """Write it to the site's folder."""
        said = {"settings": self.settings, "components": self.plan.to_json()}
        content = {"made_by": _MADE_BY, "version": _VERSION, **said, "sha256": _checksum(said)}
        write_bytes_atomically(folder / STATE, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def found(cls, folder: Path) -> SiteState | None:
        """That of a folder; None if it has none.

        Raises:
            DatasetExistsError: the file is damaged, or is something else.
        """
        path = folder / STATE
        if not path.exists():
            return None
        try:
            content = json.loads(read_local_bytes(path, _MOST_BYTES))
            if content["made_by"] != _MADE_BY or content["version"] != _VERSION:
                raise ValueError("it is of something else")
            said = {"settings": content["settings"], "components": content["components"]}
            if content["sha256"] != _checksum(said):
                raise ValueError("its checksum differs")
            return cls(content["settings"], SitePlan.from_json(content["components"]))
        except (NeuronExplainerError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DatasetExistsError(
                f"{path} is damaged, or no export of a site wrote it ({in_a_sentence(error)}). Move the folder away, "
                "or choose another one."
            ) from None

    def check_same(self, asked: SiteState, folder: Path) -> None:
        """Refuse to go on with another site.

        Raises:
            DatasetExistsError: they differ.
        """
        one, other = self._as_asked(), asked._as_asked()
        if one != other:
            raise DatasetExistsError(
                f"{folder} has a site with other settings: {differences(one, other)}. Use the same settings to finish "
                "it, overwrite=True to make it anew, or another folder."
            )

    def _as_asked(self) -> dict[str, Any]:
        return {**self.settings, "components": self.plan.to_json()}


def _checksum(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
