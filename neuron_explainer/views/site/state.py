"""What a site's folder says of itself: which site it is, so that a stopped export can go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuron_explainer.collation.runs.saved_state import differences
from neuron_explainer.collation.runs.signed_json import read_signed_json, save_signed_json
from neuron_explainer.errors import DatasetExistsError
from neuron_explainer.views.site.plan import SitePlan
from neuron_explainer.wording import in_a_sentence

STATE = "site.json"
_MADE_BY, _VERSION = "neuron_explainer.export_site", 1


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
        save_signed_json(folder / STATE, _MADE_BY, _VERSION, said)

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
            said = read_signed_json(path, _MADE_BY, _VERSION)
            return cls(said["settings"], SitePlan.from_json(said["components"]))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
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
