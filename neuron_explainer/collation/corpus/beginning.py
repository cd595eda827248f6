"""The token that begins a sequence: the rule of `models/beginning.py`, for texts that are cut into sequences.

A text that is longer than the context is cut into several sequences, and each begins with the token. (SAELens'
`prepend_bos` and TransformerLens' `tokenize_and_concatenate` do the same.)
"""

import dataclasses

from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.models.abstract_model_context import ModelContext
from neuron_explainer.models.beginning import added_before_text


def with_beginning_rule(settings: CollateSettings, model_context: ModelContext) -> CollateSettings:
    """Settings that say whether sequences begin with the token: as they said, else as the model's tokenizer does."""
    if settings.prepend_bos is not None:
        return settings
    return dataclasses.replace(settings, prepend_bos=bool(added_before_text(model_context)))
