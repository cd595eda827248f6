"""What stands beneath the fields of a question: its tokens, and what may mislead about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.attribution.question.preview import preview_question
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.attribution.preview import preview_html
from neuron_explainer.widgets.messages import error_message

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext
    from neuron_explainer.widgets.attribution.typed import Typed


def asked_html(model: ModelContext, first: Exploration, typed: Typed) -> str:
    """The tokens of what is typed, with hints and errors, as HTML.

    Args:
        model: the model.
        first: what was asked first; its metric, positions and beginning stay.
        typed: what is in the fields.
    """
    try:
        prompt, other = typed.prompts
    except NeuronExplainerError as error:
        return error_message(error, None)
    target, distractor = (list(each) or None for each in typed.answers)
    preview = preview_question(
        model,
        prompt,
        target,
        distractor,
        metric=first.metric,
        positions=first.positions if prompt == first.prompt else None,
        prepend_bos=first.prepend_bos,
    )
    if other is None:
        return preview_html(preview)
    second = preview_question(model, other, prepend_bos=first.prepend_bos)
    return preview_html(preview, second)
