"""A second prompt that is put beside a first one, token by token: both begin alike."""

from typing import Any

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.models.beginning import added_before_text
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.models.model_context import ModelContext


def prepend_bos_as_in(first: Prompt, model: ModelContext, second: Any) -> bool | None:
    """The `prepend_bos` with which a second text begins as the first prompt does; None: as the tokenizer does.

    Token ids and chats are taken as they are.
    """
    if not isinstance(second, str) or isinstance(second, ChatText):
        return None
    added = added_before_text(model)
    begins = first.n_beginning > 0 or (bool(added) and first.token_ids[: len(added)] == added)
    return None if begins is bool(added) else begins
