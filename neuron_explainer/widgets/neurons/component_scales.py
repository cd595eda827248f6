"""The colour scale of a component, which stays the same from text to text."""

from dataclasses import replace

from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.record_page import scale_of
from neuron_explainer.widgets.neurons.choices import NeuronChoice

_MOST_COMPONENTS = 10_000


class ComponentScales:
    """The colour scales of the components that a viewer computes on texts.

    A colour must mean the same on two texts. So the scale is that of the component's record in the dataset; where the
    dataset has no record, or one of zeros only, it covers the values of all texts so far.
    """

    def __init__(self) -> None:
        self._seen: dict[NeuronChoice, ColourScale] = {}

    def scale(
        self, choice: NeuronChoice, texts: NeuronRecord, recorded: NeuronRecord | None
    ) -> tuple[ColourScale, str]:
        """The scale for a component's values on texts, and what the scale is of.

        Args:
            choice: the component.
            texts: its record on the texts.
            recorded: its record in the dataset; None for a model without a dataset.
        """
        of_texts = scale_of(texts)
        if recorded is not None and (own := scale_of(recorded)).limit > 0:
            kind = component_kind(choice.dst)
            exceeds = of_texts.low < own.low or of_texts.high > own.high
            beyond = "; values beyond have the deepest colours" if exceeds else ""
            return own, f"the values in this {kind}'s record{beyond}"
        component = replace(choice, texts=())
        before = self._seen.pop(component, ColourScale(0.0, 0.0))
        seen = ColourScale(min(before.low, of_texts.low), max(before.high, of_texts.high))
        self._seen[component] = seen  # the latest is last
        if len(self._seen) > _MOST_COMPONENTS:
            del self._seen[next(iter(self._seen))]
        return seen, "the values on the texts so far"
