"""`attribute`: why does the model prefer one token to another? In one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, cast

import numpy as np
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.asked_change import asked_change
from neuron_explainer.activations.derived_scalars.ablating.given import AblationsGiven
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
from neuron_explainer.attribution.answering import answer, answer_all
from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.attributions import Attributions
from neuron_explainer.attribution.question.pairs_given import PairGiven, clean_prompts_of
from neuron_explainer.attribution.question.positions import PositionsGiven
from neuron_explainer.attribution.question.question import MetricGiven, PromptGiven, Question, read_question
from neuron_explainer.attribution.question.settings import AutoencodersGiven, read_setting
from neuron_explainer.errors import InvalidRequestError, PromptError, shown
from neuron_explainer.models.chats.messages import is_chat
from neuron_explainer.vocabulary.checks import whole_number


def attribute(
    model: ConfigOrModel,
    prompt: PromptGiven | Sequence[PromptGiven] | PairGiven | Iterable[PairGiven],
    target: Any = None,
    distractor: Any = None,
    *,
    metric: MetricGiven = None,
    positions: PositionsGiven = None,
    autoencoders: AutoencodersGiven = None,
    ablations: AblationsGiven = None,
    prepend_bos: bool | None = None,
    progress: bool | None = None,
) -> Any:
    """Why does the model prefer the target to the distractor? The parts of the model that say so, and how much.

    Every write to the residual stream has a direct effect on the metric; with the scales of norms held constant these
    add up to it. A node's total effect is its activation times the metric's gradient. One forward and one backward pass
    give both.

    Args:
        model: the model; or a DstConfig with the model and its autoencoders.
        prompt: a text, a list of messages, or token ids; or a list of such prompts. Or pairs, as `ne.prompt_pairs`
            makes them: their clean prompts, with their own targets and distractors.
        target: the token that is asked about, as text (mind its leading space) or id. A list means alternatives, whose
            mean is taken. A text of several tokens is one answer: its log-probability is asked about, and it takes a
            pass of its own. Without a target: the model's own next token against its second choice.
        distractor: what the target is compared with, in the same forms. Without one: the mean logit of the vocabulary.
        metric: a name ("logit_diff", "logit_minus_mean", "probs", "log_probability"), a LossFnConfig, or a function of
            the logits (positions, vocabulary) that returns one number. The default follows from the answers.
        positions: where the metric is taken: a position or several (their mean), from the end if negative, or a token
            as "@' Mary'". The last token by default; for a function all tokens.
        autoencoders: autoencoders as `ne.load_autoencoders` gives them, or several. Their latents, decoder biases and
            errors then stand for what they explain.
        ablations: what is overwritten while the model runs: an AblationSpec or TensorAblation, or several.
        prepend_bos: for a text, whether its tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does.
        progress: for several prompts, whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        An Attribution. For a list of prompts, Attributions: one for each, with means; target and distractor are then
        one for all, or lists with one for each prompt.

    Warns:
        NonFiniteWarning: some results are infinite or NaN.
        UnchangedByInterventionWarning: the only ablation changed no number.

    Raises:
        PromptError: a prompt is empty, too long, or has ids outside of the vocabulary; or messages are malformed.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.
        InvalidRequestError: an answer, a position or an ablation is invalid.
        MisconfiguredError: metric, target and distractor do not go together.

    >>> import neuron_explainer as ne
    >>> why = ne.attribute(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
    >>> why.heads(3)["name"].tolist()
    ['L2H3', 'L3H2', 'L3H0']
    """
    setting = read_setting(model, autoencoders, ablations)
    context = setting.config.get_model_context()
    only_note = setting.notes[0] if len(setting.notes) == 1 else None
    if isinstance(prompt, Iterator):  # it can be read once
        prompt = list(prompt)
    given, target, distractor = clean_prompts_of(prompt, target, distractor, metric)
    if not _is_many(given):
        one = cast("PromptGiven", given)
        question = read_question(context, one, target, distractor, metric, positions, prepend_bos)
        with asked_change(only_note):
            return answer(Attribution, setting, question)
    prompts = list(cast("Sequence[PromptGiven]", given))
    if not prompts:
        raise PromptError("The list of prompts is empty. Give at least one prompt.")
    targets, distractors = _for_each(target, len(prompts), "target"), _for_each(distractor, len(prompts), "distractor")
    questions: list[Question] = [
        read_question(context, each, own_target, own_distractor, metric, positions, prepend_bos)
        for each, own_target, own_distractor in zip(prompts, targets, distractors, strict=True)
    ]
    with asked_change(only_note):
        return Attributions(answer_all(Attribution, setting, questions, progress=progress))


def _is_many(prompt: Any) -> bool:
    """Whether several prompts are given: a list that holds neither messages nor token ids alone."""
    if isinstance(prompt, str | Mapping) or is_chat(prompt):
        return False
    if isinstance(prompt, Set):
        raise PromptError("The prompts are a set, which has no order. Give a list of prompts.")
    if isinstance(prompt, Tensor | np.ndarray):
        return prompt.ndim > 1 and len(prompt) > 1
    return isinstance(prompt, Iterable) and any(whole_number(each) is None for each in prompt)


def _for_each(given: Any, n_prompts: int, which: str) -> list[Any]:
    """One answer for all prompts, or a list with one for each."""
    if given is None or isinstance(given, str) or whole_number(given) is not None:
        return [given] * n_prompts
    if not isinstance(given, Iterable) or isinstance(given, bytes | Mapping | Set) or getattr(given, "ndim", 1) == 0:
        raise InvalidRequestError(f"{which} is {shown(given)}. Give one for all prompts, or a list with one for each.")
    several = list(given)
    if len(several) != n_prompts:
        raise PromptError(
            f"{which} is a list of {len(several)} for {n_prompts} prompts. Give one for each prompt (each may be a "
            "list of alternatives), or one text for all."
        )
    return several
