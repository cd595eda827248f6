"""The Python that gives what is on view, as a person would write it."""

from __future__ import annotations

from typing import Any, cast

from neuron_explainer.activations.derived_scalars.indexing import AblationSpec
from neuron_explainer.attribution.exploring.code_of_model import autoencoders_code, model_code
from neuron_explainer.attribution.exploring.exploration import Change, Exploration, TraceStep
from neuron_explainer.attribution.exploring.exploration_fields import PromptAsked
from neuron_explainer.attribution.exploring.explorer import Explorer
from neuron_explainer.attribution.exploring.python_text import call, name_in_notebook, your_own
from neuron_explainer.attribution.exploring.steps import check_second_prompt, given_answers, given_prompt


def code_of(asked: Exploration, explorer: Explorer) -> str:
    """Python that runs as pasted in a fresh notebook, and gives what the explorer answers; its last line is the result.

    What has no text (a model, autoencoders or ablations in memory, a function) goes by the name that the notebook has
    for it; where it has none, a comment says what to give.

    Args:
        asked: what is asked.
        explorer: who answers it.

    Raises:
        InvalidRequestError: a second prompt is needed and missing.

    >>> import neuron_explainer as ne
    >>> asked = Exploration("And the LORD said unto", (" Moses",), (" her",)).with_change("L3H2")
    >>> print(code_of(asked, Explorer(ne.load_model("tiny"))))
    import neuron_explainer as ne
    <BLANKLINE>
    model = ne.load_model('tiny')
    why = ne.attribute(model, 'And the LORD said unto', ' Moses', ' her')
    why = why.ablate('L3H2')
    why
    """
    check_second_prompt(asked)
    lines = ["import neuron_explainer as ne", ""]
    model, of_model = model_code(explorer.model)
    autoencoders, of_autoencoders = autoencoders_code(explorer.setting.config, model)
    ablations, of_ablations = _ablations(explorer)
    metric, of_metric = _metric(asked, explorer)
    lines += [*of_model, *of_autoencoders, *of_ablations, *of_metric]
    if asked.is_compared or any(change.value == "other" for change in asked.active_changes):
        lines.append(f"other_prompt = {given_prompt(cast(PromptAsked, asked.other_prompt))!r}")
    target, distractor = given_answers(asked.target), given_answers(asked.distractor)
    answers = [repr(each) for each in (target, distractor) if target is not None and each is not None]
    asking = call(
        "ne.attribute",
        model,
        repr(given_prompt(asked.prompt)),
        *answers,
        distractor=repr(distractor) if target is None and distractor is not None else None,
        metric=metric,
        positions=_positions(asked.positions),
        autoencoders=autoencoders,
        ablations=ablations,
        prepend_bos=None if asked.prepend_bos is None else repr(asked.prepend_bos),
    )
    lines.append(f"why = {asking}")
    lines += [f"why = {_ablate(change)}" for change in asked.active_changes]
    return "\n".join([*lines, *_traces_and_comparison(asked)])


def _traces_and_comparison(asked: Exploration) -> list[str]:
    if not asked.is_compared:
        return [*(f"why = {_trace('why', trace)}" for trace in asked.traces), "why"]
    if not asked.traces:
        return ["both = why.compare(other_prompt)", "both"]
    lines = ["other = why.compare(other_prompt).second"]
    for trace in asked.traces:
        lines += [f"why = {_trace('why', trace)}", f"other = {_traced_alike(trace)}"]
    return [*lines, "both = why.compare(other)", "both"]


def _ablate(change: Change) -> str:
    value = "other_prompt" if change.value == "other" else repr(change.value)
    return call("why.ablate", repr(change.node), value=None if change.value == 0 else value)


def _trace(variable: str, trace: TraceStep) -> str:
    through, downstream = (None if each is None else repr(each) for each in (trace.through, trace.downstream))
    return call(f"{variable}.trace", repr(trace.node), through=through, downstream=downstream)


def _traced_alike(trace: TraceStep) -> str:
    """The trace of the other prompt, at the tokens at which this one's node was found."""
    return call(
        "other.trace",
        "why.inquiry.request['trace']",
        through=None if trace.through is None else repr(trace.through),
        downstream=None if trace.downstream is None else "why.inquiry.request['downstream']",
    )


def _positions(positions: tuple[int, ...] | None) -> str | None:
    if positions is None:
        return None
    return repr(positions[0] if len(positions) == 1 else list(positions))


def _metric(asked: Exploration, explorer: Explorer) -> tuple[str | None, list[str]]:
    """The metric in the code, and the lines that give it."""
    if asked.metric is None:
        return None, []
    function: Any = explorer.functions.get(asked.metric)
    if function is None:
        return repr(asked.metric), []
    name = name_in_notebook(function)
    return (name, []) if name is not None else ("metric", [your_own("metric", f"the function {asked.metric}")])


def _ablations(explorer: Explorer) -> tuple[str | None, list[str]]:
    """The ablations that are in place in every answer, and the lines that give them."""
    kept = explorer.setting.ablations
    if not kept:
        return None, []
    texts = [
        f"ne.{each!r}".replace("(ActivationIndex(", "(ne.ActivationIndex(", 1)
        if isinstance(each, AblationSpec)
        else name_in_notebook(each)
        for each in kept
    ]
    if None in texts:
        return "ablations", [your_own("ablations", "; ".join(explorer.setting.notes))]
    return (str(texts[0]) if len(texts) == 1 else f"[{', '.join(map(str, texts))}]"), []
