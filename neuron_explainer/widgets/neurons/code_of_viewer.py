"""The Python that opens a viewer's page again, as a person would write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.activation_server.dataset_paths import dataset_subject
from neuron_explainer.views.record_page import DEFAULT_EXAMPLES
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.sections.asked import N_FOUND, SectionName, SectionSettings, names_in
from neuron_explainer.widgets.neurons.sources import RecordSource

if TYPE_CHECKING:
    from neuron_explainer.widgets.neurons.live_model import LiveModel


def code_of_viewer(
    source: RecordSource,
    choice: NeuronChoice,
    own_texts: tuple[str, ...],
    section: SectionName,
    settings: SectionSettings,
    examples: int,
) -> str:
    """Python that shows a component again as pasted in a fresh notebook; its last line is the viewer.

    A model in memory goes by the name that the notebook has for it; where it has none, a comment says what to give.

    Args:
        source: where records and models come from.
        choice: the component on view.
        own_texts: the user's own texts on view.
        section: the section that is open.
        settings: what its controls say.
        examples: how many top examples are shown.
    """
    from neuron_explainer.attribution.exploring.python_text import call

    live = source.given_model()
    model, lines = _live(live)
    autoencoders = None
    if live is not None and model is not None:
        autoencoders, of_autoencoders = _autoencoders(live, model)
        lines += of_autoencoders
    is_model = source.is_of_model
    node = f"{choice.layer}, {choice.neuron}" if choice.name is None else repr(choice.name)
    opening = call(
        "ne.NeuronViewer",
        (model or "model") if is_model else repr(dataset_subject(choice.dataset)),
        node,
        dst=repr(choice.dst.value) if len(source.types(choice.dataset)) != 1 else None,
        examples=None if is_model or examples == DEFAULT_EXAMPLES else repr(examples),
        texts=repr(list(own_texts)) if is_model and own_texts else None,
        model=None if is_model else model,
        autoencoders=autoencoders,
    )
    after = [f"viewer.compute({list(own_texts)!r})"] if own_texts and not is_model else []
    after += _opening(section, settings)
    return "\n".join(["import neuron_explainer as ne", "", *lines, f"viewer = {opening}", *after, "viewer"])


def _opening(section: SectionName, settings: SectionSettings) -> list[str]:
    """The line that opens the section; none for the first."""
    from neuron_explainer.attribution.exploring.python_text import call

    if section == "examples":
        return []
    if section == "compare" and settings.others:
        return [call("viewer.compare", *map(repr, names_in(settings.others)))]
    if section == "search" and settings.query:
        return [
            call(
                "viewer.search",
                repr(settings.query),
                kind=None if settings.kind == "most" else repr(settings.kind),
                n=None if settings.n == N_FOUND else repr(settings.n),
                in_model="True" if settings.is_live else None,
            )
        ]
    return [call("viewer.open_section", repr(section))]


def _live(live: LiveModel | None) -> tuple[str | None, list[str]]:
    if live is None:
        return None, []
    from neuron_explainer.attribution.exploring.code_of_model import model_code

    return model_code(live.context())


def _autoencoders(live: LiveModel, model: str) -> tuple[str | None, list[str]]:
    if not live.types_of_latents():
        return None, []
    from neuron_explainer.attribution.exploring.code_of_model import autoencoders_code

    return autoencoders_code(live.config(), model)
