"""Run an inquiry's passes and put their results together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from neuron_explainer.activations.derived_scalars.losses.objective import Objective
from neuron_explainer.attribution.computing.passes import Setting, run_passes
from neuron_explainer.attribution.history import Step
from neuron_explainer.attribution.inquiry import Inquiry
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.progress import passes_bar

AnswerT = TypeVar("AnswerT", bound=AttributionTables)


def answer(kind: type[AnswerT], setting: Setting, inquiry: Inquiry, history: tuple[Step, ...] = ()) -> AnswerT:
    """The answer to one inquiry; errors are those of `derive`."""
    return answer_all(kind, setting, [inquiry], history, progress=False)[0]


def answer_all(
    kind: type[AnswerT],
    setting: Setting,
    inquiries: Sequence[Inquiry],
    history: tuple[Step, ...] = (),
    *,
    progress: bool | None = None,
) -> list[AnswerT]:
    """The answers to several inquiries about logits, whose passes share batches.

    Args:
        kind: the class of the answers.
        setting: the model, autoencoders and ablations.
        inquiries: what is asked.
        history: the answers that led to these.
        progress: whether there is a bar; None: on a terminal or in a notebook.
    """
    model = setting.config.get_or_create_model()
    owners = [(inquiry, number) for inquiry in inquiries for number in range(len(inquiry.passes))]

    def objective_of(numbers: Sequence[int]) -> Objective:
        first, _ = owners[numbers[0]]
        return first.joint_objective(model, [owners[number] for number in numbers])

    prompts = [inquiry.passes[number].prompt for inquiry, number in owners]
    with passes_bar(len(prompts), progress) as done:
        effects = iter(run_passes(setting, prompts, objective_of, done))
    answers = []
    for inquiry in inquiries:
        own = [next(effects) for _ in inquiry.passes]
        answers.append(kind(setting, inquiry.settled(setting.config.get_model_context(), own), own, history))
    return answers
