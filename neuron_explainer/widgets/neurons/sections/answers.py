"""What each section of a component's page computes: a function for each, called in the background."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError, NotAtHandError
from neuron_explainer.views.document import card
from neuron_explainer.widgets.neurons.sections.asked import SectionAnswer, SectionAsked, SectionName, names_in
from neuron_explainer.widgets.neurons.sections.head_answers import all_heads, attention_on_text
from neuron_explainer.widgets.neurons.sources import RecordSource

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import Component

_MOST_COMPARED = 11
_MOST_STRIPS = 4_000
"""Tokens times components of a comparison."""
_N_STORED_TEXTS = 3
"""The stored examples on which components are compared where the user has written no text."""


class Answers:
    """Answers sections of the components of a source.

    Args:
        source: where records and models come from.
    """

    def __init__(self, source: RecordSource) -> None:
        self._source = source
        by_section: dict[SectionName, Callable[[SectionAsked, Component], SectionAnswer]] = {
            "directions": _directions,
            "neighbours": _neighbours,
            "statistics": _statistics,
            "explanations": _explanations,
            "attention": attention_on_text,
            "heads": all_heads,
            "search": partial(_search, source),
            "compare": partial(_compare, source),
        }
        self._by_section = by_section

    def of(self, task: SectionAsked) -> SectionAnswer:
        """The answer of one section.

        Raises:
            NeuronExplainerError: something is not at hand, or asked for wrongly.
        """
        component = self._source.component(task.choice).with_record(task.record)
        return self._by_section[task.section](task, component)


def _card(content: str, names: tuple[str, ...] = ()) -> SectionAnswer:
    return SectionAnswer(card(content, "ne-section"), names)


def _names(frame: "pandas.DataFrame") -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, frame["name"])))


def _directions(task: SectionAsked, component: "Component") -> SectionAnswer:
    from neuron_explainer.views.components.directions import directions_section

    component.model("writes()")  # the reason why all is missing is the section's error
    return _card(directions_section(component, task.settings.n))


def _neighbours(task: SectionAsked, component: "Component") -> SectionAnswer:
    from neuron_explainer.views.components.directions import neighbours_section

    asked = task.settings
    texts = list(task.choice.texts) or None if asked.by == "activation" else None
    found = component.neighbours(asked.n, asked.by, among=asked.among, texts=texts, progress=False)
    return _card(neighbours_section(found, asked.by), _names(found))


def _statistics(task: SectionAsked, component: "Component") -> SectionAnswer:
    from neuron_explainer.views.components.statistics import component_statistics_html

    return SectionAnswer(component_statistics_html(component.statistics))


def _explanations(task: SectionAsked, component: "Component") -> SectionAnswer:
    from neuron_explainer.views.components.explanations import component_explanations_html

    return SectionAnswer(component_explanations_html(component.explanations))


def _search(source: RecordSource, task: SectionAsked, component: "Component") -> SectionAnswer:
    from neuron_explainer.components.search.asking import search
    from neuron_explainer.views.components.search_results import search_results_section

    asked, at_hand = task.settings, component.at_hand
    if not asked.query.strip():
        raise InvalidRequestError("The search is empty. Write a text, or words of an explanation.")
    is_explanation = asked.kind == "explanation"
    is_live = at_hand.dataset is None or (asked.is_live and not is_explanation)
    if is_live and at_hand.dataset is not None and not at_hand.has_model:
        raise NotAtHandError("A search in one pass", "model", "a model", "pass model=")
    found = search(
        at_hand.dataset if at_hand.dataset is not None else at_hand.config("search"),
        asked.query,
        kind=asked.kind,
        n=asked.n,
        dst=task.choice.dst,
        model=at_hand.config("search") if is_live and at_hand.dataset is not None else None,
        reference=list(task.choice.texts) or None if asked.kind == "selective" and at_hand.dataset is None else None,
        explanations=at_hand.explanations if is_explanation else None,
        progress=False,
    )
    where = "explanations" if is_explanation else "one pass over the text" if is_live else "the stored examples"
    return _card(search_results_section(found, f"“{asked.query}” in {where}"), _names(found))


def _compare(source: RecordSource, task: SectionAsked, component: "Component") -> SectionAnswer:
    from dataclasses import replace

    from neuron_explainer.activations.derived_scalars.names.records import record_asked
    from neuron_explainer.components.comparing import compare_components

    names = list(dict.fromkeys(names_in(task.settings.others)))
    if not names:
        raise InvalidRequestError(f"Write the components beside {component.name}, such as L2N5, L1N3.")
    if len(names) > _MOST_COMPARED:
        raise InvalidRequestError(f"{len(names)} components are named. Name at most {_MOST_COMPARED} beside this one.")
    choice = task.choice
    several = [component]
    for name in names:
        layer, index, dst = record_asked(name, choice.dst, source.types(choice.dataset))
        several.append(source.component(replace(choice, layer=layer, neuron=index, dst=dst)))
    texts = list(choice.texts) or [
        "".join(example.tokens) for example in task.record.most_positive_activation_records[:_N_STORED_TEXTS]
    ]
    if not texts:
        raise InvalidRequestError("The record has no examples to compare on. Write a text of your own above.")
    compared = compare_components(several, texts)
    n_tokens = sum(map(len, compared.tokens()))
    if n_tokens * len(several) > _MOST_STRIPS:
        raise InvalidRequestError(
            f"The texts have {n_tokens:,} tokens, and {len(several)} components on them are too much for a page. Write "
            f"at most {_MOST_STRIPS // len(several):,} tokens."
        )
    return SectionAnswer(compared.to_html(), tuple(str(each.name) for each in several[1:]))
