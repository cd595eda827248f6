"""Run an inquiry's passes and put their results together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.engine.objective import Objective
from neuron_explainer.attribution.computing.passes import Setting, run_passes
from neuron_explainer.attribution.progress import passes_bar

if TYPE_CHECKING:
    from neuron_explainer.attribution.attribution import Attribution, Step
    from neuron_explainer.attribution.inquiry import Inquiry


def answer(setting: Setting, inquiry: Inquiry, history: tuple[Step, ...] = ()) -> Attribution:
    """The answer to one inquiry."""
    return answer_all(setting, [inquiry], history, progress=False)[0]


def answer_all(
    setting: Setting, inquiries: Sequence[Inquiry], history: tuple[Step, ...] = (), *, progress: bool | None = None
) -> list[Attribution]:
    """The answers to several inquiries about logits, whose passes share batches."""
    from neuron_explainer.attribution.attribution import Attribution

    model = setting.config.get_or_create_model()
    owners = [(inquiry, number) for inquiry in inquiries for number in range(len(inquiry.passes))]

    def objective_of(numbers: Sequence[int]) -> Objective:
        first, _ = owners[numbers[0]]
        return first.joint_objective(model, [owners[number] for number in numbers])

    prompts = [inquiry.passes[number].prompt for inquiry, number in owners]
    with passes_bar(len(prompts), progress) as done:
        effects = iter(run_passes(setting, prompts, objective_of, done))
    return [Attribution(setting, inquiry, [next(effects) for _ in inquiry.passes], history) for inquiry in inquiries]
