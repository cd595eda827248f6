"""The user's own texts with a component's activations, in pages and on the component's own scale."""

from dataclasses import replace

from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.text_pages import pages_of
from neuron_explainer.views.record_page import texts_to_html
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.component_scales import ComponentScales


class TextsShown:
    """The texts that a viewer shows, whole and in order; one page of them at a time."""

    def __init__(self) -> None:
        self._scales = ComponentScales()
        self._record: NeuronRecord | None = None
        self._choice: NeuronChoice | None = None
        self._pages: list[list[ActivationRecord]] = []
        self._scale, self._note = ColourScale(0.0, 0.0), ""
        self._beginning, self._has_heading = "", False

    def take(
        self,
        choice: NeuronChoice,
        texts: NeuronRecord,
        recorded: NeuronRecord | None,
        beginning: str,
        *,
        has_heading: bool,
    ) -> None:
        """Take a component's record on texts.

        Args:
            choice: the component.
            texts: its record on the texts.
            recorded: its record in the dataset; None for a model without a dataset.
            beginning: the token that was put before each text; empty for none.
            has_heading: whether a page says what it is of, with statistics and a histogram.
        """
        self._scale, self._note = self._scales.scale(choice, texts, recorded)
        self._choice, self._record = choice, texts
        self._pages = pages_of(texts.most_positive_activation_records)
        self._beginning, self._has_heading = beginning, has_heading

    @property
    def n_pages(self) -> int:
        """How many pages there are."""
        return max(1, len(self._pages))

    @property
    def record(self) -> NeuronRecord | None:
        """The record on the texts; None before the first."""
        return self._record

    def page(self, number: int) -> str:
        """One page as HTML.

        Raises:
            InvalidRequestError: no texts have been computed.
        """
        if self._record is None or self._choice is None:
            raise InvalidRequestError("No texts have been computed yet.")
        texts = self._pages[number] if self._pages else []
        return texts_to_html(
            replace(self._record, most_positive_activation_records=texts),
            self._scale,
            self._note,
            beginning=self._beginning,
            dst=self._choice.dst if self._has_heading else None,
            dataset=self._choice.dataset_shown if self._has_heading else None,
        )
