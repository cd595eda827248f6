"""A component's activations on one's own texts, as the model computes them now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.collation.corpus.places import SequencePlace, kept_in_memory, places_of_sequences
from neuron_explainer.collation.corpus.texts import is_in_memory, is_one_chat

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
    from neuron_explainer.collation.corpus.texts import TextsGiven
    from neuron_explainer.components.component import Component


@dataclass(frozen=True)
class LiveTexts:
    """A component's activations on some texts.

    Attributes:
        record: its record, whose top examples are the texts' sequences in order.
        places: where each of them lies.
        n_texts: how many texts were given.
    """

    record: NeuronRecord
    places: tuple[SequencePlace, ...]
    n_texts: int


def live_on_texts(component: Component, texts: TextsGiven, prepend_bos: bool | None = None) -> LiveTexts:
    """The activations of a component on some texts; texts in memory whole, in order, each once.

    Of files and datasets, the 20 sequences with the highest peaks, each as a text of its own.

    Raises:
        NotAtHandError: the component has no model.
        InvalidRequestError, NonFiniteActivationError: as `ne.live_record`.
    """
    from neuron_explainer.collation.live import live_record, usual_context_length

    config = component.at_hand.config(f"{component.name}.activations(…)")
    context = config.get_model_context()
    texts = kept_in_memory(texts)
    record = live_record(
        context,
        component.layer,
        component.index,
        texts,
        component.dst,
        context_length=usual_context_length(context, component.dst),
        prepend_bos=prepend_bos,
        random_k=0,
        config=config,
    )
    places = _places(component, context, texts, prepend_bos)
    if places is None:  # the texts are in files
        places = [SequencePlace(number, 0, 0) for number in range(len(record.most_positive_activation_records))]
        return LiveTexts(record, tuple(places), len(places))
    is_one = isinstance(texts, str) or is_one_chat(texts)
    return LiveTexts(record, tuple(places), 1 if is_one else len(cast("list[object]", texts)))


def _places(
    component: Component, context: Any, texts: TextsGiven, prepend_bos: bool | None
) -> list[SequencePlace] | None:
    """Where the sequences of the record lie; None if the texts are not in memory."""
    from neuron_explainer.collation.corpus.beginning import with_beginning_rule
    from neuron_explainer.collation.live import usual_context_length
    from neuron_explainer.collation.settings import CollateSettings
    from neuron_explainer.models.beginning import beginning_token

    if not is_in_memory(texts):
        return None
    length = usual_context_length(context, component.dst)
    settings = with_beginning_rule(CollateSettings(context_length=length, prepend_bos=prepend_bos), context)
    prefix = [beginning_token(context)] if settings.prepend_bos else []

    def encode(text: str) -> list[int]:
        return context.encode(text, add_special_tokens=False)

    return places_of_sequences(texts, encode, settings, prefix, context.chat_text)


def own_activation_table(component: Component, texts: TextsGiven, prepend_bos: bool | None = None) -> pandas.DataFrame:
    """See `Component.activations`."""
    import pandas

    from neuron_explainer.activations.token_table import TokenTable
    from neuron_explainer.collation.runs.scalar_source import entry_kind_of
    from neuron_explainer.collation.statistics.entry_kind import EntryKind

    live = live_on_texts(component, texts, prepend_bos)
    by_pair = entry_kind_of(component.dst) is EntryKind.TOKEN_PAIRS
    tables = [
        _table_of(example, place, by_pair)
        for example, place in zip(live.record.most_positive_activation_records, live.places, strict=True)
    ]
    return TokenTable(pandas.concat(tables, ignore_index=True))


def is_shown(place: SequencePlace, n_tokens: int) -> NDArray[np.bool_]:
    """Which tokens of a sequence are shown: not the beginning token that a text's later parts get again."""
    return (np.arange(n_tokens) >= place.n_beginning) | (place.start == 0)


def positions_of(place: SequencePlace, n_tokens: int) -> NDArray[np.int64]:
    """The positions of a sequence's tokens in the whole text; a beginning token is at the text's beginning."""
    offsets = np.arange(n_tokens)
    return np.where(offsets < place.n_beginning, offsets, place.start + offsets)


def _table_of(example: ActivationRecord, place: SequencePlace, by_pair: bool) -> pandas.DataFrame:
    from neuron_explainer.activations.token_table import TokenTable

    tokens = np.array(example.tokens, dtype=object)
    shown, positions = is_shown(place, len(tokens)), positions_of(place, len(tokens))
    activations = np.asarray(example.activations, np.float64)
    if not by_pair:
        return TokenTable(
            {
                "text": place.text,
                "position": positions[shown],
                "token": tokens[shown],
                "activation": activations[shown],
            }
        )
    attending, attended_to = np.tril_indices(len(tokens))
    kept = shown[attending]
    attending, attended_to = attending[kept], attended_to[kept]
    return TokenTable(
        {
            "text": place.text,
            "position": positions[attending],
            "token": tokens[attending],
            "attended_to_position": positions[attended_to],
            "attended_to": tokens[attended_to],
            "activation": activations[kept],
        }
    )
