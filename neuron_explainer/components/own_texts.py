"""A component's activations on one's own texts, as the model computes them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
    from neuron_explainer.collation.corpus.texts import TextsGiven
    from neuron_explainer.components.component import Component


def live_record_on(component: Component, texts: TextsGiven, prepend_bos: bool | None = None) -> NeuronRecord:
    """The record of a component on some texts; texts in memory whole, in order, each once.

    Raises:
        NotAtHandError: the component has no model.
        InvalidRequestError, NonFiniteActivationError: as `ne.live_record`.
    """
    from neuron_explainer.collation.live import live_record

    config = component.at_hand.config(f"{component.name}.activations(…)")
    return live_record(
        config.get_model_context(),
        component.layer,
        component.index,
        texts,
        component.dst,
        prepend_bos=prepend_bos,
        random_k=0,
        config=config,
    )


def own_activation_table(component: Component, texts: TextsGiven, prepend_bos: bool | None = None) -> pandas.DataFrame:
    """See `Component.activations`."""
    import pandas

    from neuron_explainer.activations.token_table import TokenTable
    from neuron_explainer.collation.runs.scalar_source import entry_kind_of
    from neuron_explainer.collation.statistics.entry_kind import EntryKind

    record = live_record_on(component, texts, prepend_bos)
    by_pair = entry_kind_of(component.dst) is EntryKind.TOKEN_PAIRS
    tables = [
        _table_of(example, number, by_pair) for number, example in enumerate(record.most_positive_activation_records)
    ]
    return TokenTable(pandas.concat(tables, ignore_index=True))


def _table_of(example: ActivationRecord, number: int, by_pair: bool) -> pandas.DataFrame:
    from neuron_explainer.activations.token_table import TokenTable

    tokens = np.array(example.tokens, dtype=object)
    if not by_pair:
        return TokenTable(
            {"text": number, "position": range(len(tokens)), "token": tokens, "activation": example.activations}
        )
    positions, attended_to = np.tril_indices(len(tokens))
    return TokenTable(
        {
            "text": number,
            "position": positions,
            "token": tokens[positions],
            "attended_to_position": attended_to,
            "attended_to": tokens[attended_to],
            "activation": example.activations,
        }
    )
