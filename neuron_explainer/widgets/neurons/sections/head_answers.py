"""What the sections of an attention head compute: its attention on a text, and its place among all heads."""

from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.document import card
from neuron_explainer.widgets.neurons.sections.asked import SectionAnswer, SectionAsked

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component


def attention_on_text(task: SectionAsked, component: "Component") -> SectionAnswer:
    """The head on one text: the user's own, or else a stored example."""
    from neuron_explainer.views.components.attention import attention_section
    from neuron_explainer.views.record_page import scale_of

    record, own = task.record, task.choice.texts
    if own:
        from neuron_explainer.components.own_texts import live_on_texts

        live = live_on_texts(component, list(own), component.at_hand.prepend_bos)
        texts = live.record.most_positive_activation_records
    else:
        texts = record.most_positive_activation_records
    if not texts:
        raise InvalidRequestError("The record has no examples. Write a text of your own above.")
    example = texts[min(task.settings.text, len(texts) - 1)]
    n_tokens = len(example.tokens)
    if len(example.activations) == n_tokens:
        raise InvalidRequestError(f"{component.dst.value} has one number for each token, not for each pair of tokens.")
    scale = scale_of(record)
    html = card(attention_section(example, min(task.settings.token, n_tokens - 1), scale), "ne-section")
    return SectionAnswer(html, texts=(len(texts), n_tokens))


def all_heads(task: SectionAsked, component: "Component") -> SectionAnswer:
    """The scores of all heads of the model, this one marked; on the user's own texts, or random repeated tokens."""
    from neuron_explainer.components.heads.scores import head_scores
    from neuron_explainer.views.components.head_place import head_place_html

    scores = head_scores(component.model("head scores"), list(task.choice.texts) or None, progress=False)
    return SectionAnswer(head_place_html(scores, str(component.name)))
