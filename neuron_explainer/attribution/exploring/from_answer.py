"""What an answer was asked, as an exploration; and what of it an exploration cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neuron_explainer.activations.derived_scalars.ablating.asked_change import UNCHANGED
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, token_strings_of
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation
from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.changes.ablating import ablation_of
from neuron_explainer.attribution.changes.descriptions import described
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.exploring.exploration import Change, Exploration, TraceStep
from neuron_explainer.attribution.exploring.exploration_fields import AnswerAsked, PromptAsked
from neuron_explainer.attribution.exploring.steps import given_answers
from neuron_explainer.attribution.question.metrics import Metric
from neuron_explainer.attribution.question.question import Question, read_question
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.models.beginning import encoded
from neuron_explainer.models.model_context import ModelContext, StandardModelContext

_Request = Mapping[str, Any]


@dataclass(frozen=True)
class Beginning:
    """Where an explorer begins.

    Attributes:
        setting: the model, its autoencoders, and the ablations that no change can say.
        first: what was asked.
        functions: metrics that are functions, by name.
        values: the metric before the first change and after each; empty if it is not known.
    """

    setting: Setting
    first: Exploration
    functions: Mapping[str, Any]
    values: tuple[float, ...]


def where_to_begin(why: Attribution) -> Beginning:
    """What an answer was asked.

    Raises:
        MisconfiguredError: the answer was read from a file, without its model.
    """
    setting = why.asked_setting
    if setting.config.layer_indices is not None:  # of a trace
        setting = replace(setting, config=replace(setting.config, layer_indices=None))
    requests = [*(step.request for step in why.history), why.inquiry.request]
    traces: list[TraceStep] = []
    for request in requests:
        if "trace" in request and (not traces or traces[-1] != _trace(request)):
            traces.append(_trace(request))
    question = [request for request in requests if "trace" not in request][-1]
    asked = _question(setting.config.get_model_context(), why, question)
    changes = _changes(setting, why.effects[0].prompt)
    kept = len(setting.ablations) - len(changes)
    is_function = isinstance(why.inquiry, Question) and not isinstance(why.inquiry.metric, Metric)
    return Beginning(
        replace(setting, ablations=setting.ablations[:kept], notes=setting.notes[:kept]),
        replace(asked, changes=tuple(changes), traces=tuple(traces)),
        {str(asked.metric): why.inquiry.metric} if is_function else {},  # type: ignore[attr-defined]
        _values(why, len(setting.ablations), len(changes)),
    )


def _trace(request: _Request) -> TraceStep:
    reader = request["downstream"]
    is_node = reader is not None and not reader.startswith("the metric")
    return TraceStep(request["trace"], request["through"], reader if is_node else None)


def _values(why: Attribution, n_ablations: int, n_changes: int) -> tuple[float, ...]:
    """The metric before the changes and after each, if each was made by a call of its own."""
    values = [step.value for step in why.history if "trace" not in step.request]
    if "trace" not in why.inquiry.request:
        values.append(why.value)
    return tuple(values[-n_changes - 1 :]) if len(values) == n_ablations + 1 else ()


def _changes(setting: Setting, prompt: Prompt) -> list[Change]:
    """The last ablations, as long as a change can say them."""
    changes: list[Change] = []
    for ablation, note in reversed(list(zip(setting.ablations, setting.notes, strict=True))):
        change = _change(setting, ablation, note, prompt)
        if change is None:
            break
        changes.insert(0, change)
    return changes


def _change(setting: Setting, ablation: Ablation, note: str, prompt: Prompt) -> Change | None:
    value: float | str
    if isinstance(ablation, AblationSpec):
        value = ablation.value
    elif note.removesuffix(f" {UNCHANGED}") == described(ablation, "mean"):  # over the embedded sample
        value = "mean"
    else:
        return None
    try:
        name = NodeName.of(ablation.index)
        again = ablation_of(setting, name, 0.0 if value == "mean" else value, None, prompt)
    except NeuronExplainerError:  # there is no name for it, or `ablate` would refuse it
        return None
    is_same = again.index == ablation.index and ablation.tokens is None
    return Change(str(name), value) if is_same else None


def _question(model: ModelContext, why: Attribution, request: _Request) -> Exploration:
    inquiry = why.inquiry
    if isinstance(inquiry, Question):
        prompt, prepend_bos, n_tokens = _prompt(model, request["prompt"], inquiry.prompt.token_ids)
        token_ids = inquiry.prompt.token_ids
    else:  # the pass of a trace may go on with an answer
        token_ids = why.effects[0].prompt.token_ids
        prompt, prepend_bos, n_tokens = _prompt(model, request["prompt"], token_ids, goes_on=True)
    target, distractor = (tuple(_answer(model, each) for each in request[side]) for side in ("target", "distractor"))
    positions = None if request["positions"] is None else tuple(request["positions"])
    if not target:
        metric: str | None = _free_name(request["metric"])
    else:
        positions = None if positions == (n_tokens - 1,) else positions
        answers = given_answers(target), given_answers(distractor)
        by_default = read_question(model, token_ids[:n_tokens], *answers, positions=positions)
        metric = None if by_default.metric_name == request["metric"] else request["metric"]
    return Exploration(prompt, target, distractor, metric=metric, positions=positions, prepend_bos=prepend_bos)


def _free_name(function: str) -> str:
    """A function's name, unless it is that of a named metric."""
    return f"{function} (a function)" if function in {each.value for each in Metric} else function


def _prompt(
    model: ModelContext, given: Any, token_ids: list[int], goes_on: bool = False
) -> tuple[PromptAsked, bool | None, int]:
    """The prompt, its `prepend_bos`, and how many tokens it has.

    It is a text if it has the same tokens so; messages as they are given; or token ids.
    """
    if isinstance(given, list) and given and isinstance(given[0], Mapping):
        n_tokens = len(encoded(model, given, None)[0]) if goes_on else len(token_ids)
        return tuple(given), None, n_tokens
    text = given if isinstance(given, str) else _text_of(model, given)
    for prepend_bos in (None, False, True) if text is not None else ():
        try:
            found = encoded(model, str(text), prepend_bos)[0]
        except NeuronExplainerError:  # the model has no token that begins a text
            continue
        if found == (token_ids[: len(found)] if goes_on else token_ids):
            return str(text), prepend_bos, len(found)
    return tuple(token_ids), None, len(token_ids)


def _answer(model: ModelContext, given: str | list[int]) -> AnswerAsked:
    """An answer as text, if it has the same tokens so; else its token ids."""
    if isinstance(given, str):
        return given
    text = _text_of(model, given)
    is_same = text is not None and model.encode(text, add_special_tokens=False) == given
    return text if is_same and text is not None else tuple(given)


def _text_of(model: ModelContext, token_ids: Sequence[int]) -> str | None:
    """The text of tokens; None of a model without a tokenizer."""
    if isinstance(model, StandardModelContext) and not model.has_tokenizer:
        return None
    return "".join(token_strings_of(model, token_ids))
