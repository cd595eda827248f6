"""What the sections of a component's page share: their small print, and what stands where one is missing."""

from __future__ import annotations

from collections.abc import Callable

from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.attribution.cells import section
from neuron_explainer.views.document import MUTED
from neuron_explainer.views.token_text import escaped

SMALL = f"color:{MUTED};font-size:12px"


def part(title: str, content: Callable[[], str], note: str = "", *, is_quiet: bool = False) -> str:
    """A section, or why it is missing; a quiet one, whose reason another section has given, is left out then.

    Args:
        title: the section's title, for the reason; text.
        content: makes the section.
        note: what stands beside the title; text.
        is_quiet: whether it is left out where it is missing.
    """
    try:
        return content()
    except (NeuronExplainerError, OSError) as error:
        return "" if is_quiet else section(title, f'<div style="{SMALL}">{escaped(str(error))}</div>', note)
