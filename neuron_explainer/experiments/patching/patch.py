"""`patch`: activations of one prompt written into the run of another, and what the metric does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, SupportsIndex

from neuron_explainer.activations.derived_scalars.config import as_config
from neuron_explainer.attribution.question.positions import PositionsGiven
from neuron_explainer.attribution.question.question import PromptGiven
from neuron_explainer.attribution.question.settings import AutoencodersGiven, with_autoencoders
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.experiments.asking.given_pairs import check_aligned, read_given_pairs
from neuron_explainer.experiments.asking.two_prompts import PairMetric, title_of_pairs
from neuron_explainer.experiments.patching.computing import Patcher
from neuron_explainer.experiments.patching.nodes import ByGiven, nodes_of, read_axes
from neuron_explainer.experiments.patching.patching import PatchDirection, Patching, PatchMethod, PatchRequest
from neuron_explainer.experiments.patching.sites import AtGiven, read_site
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.notices import ManyPassesWarning, warn
from neuron_explainer.vocabulary.checks import checked_flag, checked_number
from neuron_explainer.vocabulary.named_members import member_of

_MANY = 20_000
_MOST_STEPS = 10_000


def patch(
    model: ModelContext,
    clean: PromptGiven | Iterable[Any],
    corrupted: PromptGiven | Sequence[PromptGiven] | None = None,
    metric: PairMetric | None = None,
    *,
    at: AtGiven = "resid",
    by: ByGiven = None,
    positions: PositionsGiven = None,
    method: PatchMethod | str = PatchMethod.EXACT,
    direction: PatchDirection | str = PatchDirection.DENOISE,
    check: SupportsIndex = 20,
    steps: SupportsIndex = 10,
    autoencoders: AutoencodersGiven = None,
    prepend_bos: bool | None = None,
    progress: bool | None = None,
) -> Patching:
    """Write activations of one prompt into the run of another, one node at a time, and see how far the metric moves.

    The score of a patch is (value - corrupted) / (clean - corrupted), where these are the metric with the patch, in the
    corrupted run and in the clean run: 0 is the corrupted run and 1 the clean one, in both directions. So a patch
    without effect has the score 0 if the corrupted run is patched ("denoise"), and 1 if the clean one is ("noise").

    Exact patches share padded batches, and run from the patched layer on. "gradient" is attribution patching: the
    value is that of the run that is patched, plus (b - a) · dm/da, where a is the activation in that run, b that in the
    other one, and m the metric; it takes one pass for all nodes. "integrated" has the mean of dm/da over the `steps`
    points a + (b - a)(i + 1/2) / steps instead, with the whole tensor of one layer between a and b, all positions and
    components, and everything below it as in the run that is patched. So the effects of a layer's nodes sum up to that
    of patching the whole layer, but for the error of so many steps, and for what jumps on the way, such as the choice
    of experts in a mixture of experts: gradients do not see jumps.

    Args:
        model: the model.
        clean: the prompt with the right answer: a text, messages or token ids. Or several pairs: an iterable of objects
            with the attributes `clean`, `corrupted`, `target` and `distractor`; or a list of prompts.
        corrupted: the other prompt, of as many tokens; for a list of prompts, a list of as many.
        metric: two answers, of which the first is the clean prompt's (the difference of their logits; mind their
            leading spaces); a LossFnConfig; or a function of the logits at `positions`, (positions, vocabulary), that
            gives one number. For several pairs one for all, or a list of one each.
        at: what is patched. "resid": the residual stream that a layer reads; "attn", "mlp": what a layer's attention or
            MLP adds to it; "heads": what each head sums of its values, before W_O; "q", "k", "v": each head's queries,
            keys, values (where heads share keys and values, each has its own copy here, and that alone is patched);
            "pattern": each head's attention probabilities; "neurons": activations of MLP neurons; "latents": those of
            `autoencoders`, whose errors stay as they are. Or any place, such as "resid_post_attn".
        by: the axes that patches are told apart by, of "layer", "position" and "head", "neuron" or "latent"; what is
            not named is patched all at once. None: layer and position for vectors, such as "resid"; layer and
            component for the others.
        positions: where the metric is taken; None: at the last token, and for a function at all.
        method: "exact", "gradient" or "integrated".
        direction: "denoise": the corrupted run is patched with activations of the clean one; "noise": the other way
            round.
        check: of an estimate, how many of its strongest nodes are patched exactly too; 0: none.
        steps: how many gradients "integrated" is the mean of.
        autoencoders: what `ne.load_autoencoders` returns, or a list of such.
        prepend_bos: for texts, whether their tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does.
        progress: whether there is a bar; None: on a terminal or in a notebook, where there is much to do.

    Raises:
        PromptError: the prompts have different numbers of tokens (both are shown), or the same tokens; or pairs differ
            in length and `by` has positions.
        InvalidRequestError: both runs have the same metric, or an argument is invalid.
        UnknownNameError: there is no such place, axis, method or direction.
        MissingSettingError: latents are patched, and no autoencoders are given.
        MisconfiguredError: the autoencoders do not go with what is patched.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.

    Sources: Vig et al., "Investigating gender bias in language models using causal mediation analysis" (2020); Meng et
    al., "Locating and editing factual associations in GPT" (2022); Nanda, "Attribution patching" (2023); Sundararajan,
    Taly and Yan, "Axiomatic attribution for deep networks" (2017).

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> found = ne.patch(model, "And the LORD said unto Moses", "And the LORD said unto David", (" the", " her"))
    >>> found.to_dataframe().columns.tolist(), len(found.nodes)
    (['layer', 'position', 'name', 'value', 'score'], 28)
    >>> found.top(1)["name"].tolist(), round(float(found.scores.max()), 3)
    (['L0START@6'], 1.0)
    """
    named_method = member_of(PatchMethod, method, "method")
    named_direction = member_of(PatchDirection, direction, "direction")
    n_checked = checked_number("check", check, 0)
    n_steps = checked_number("steps", steps, at_most=_MOST_STEPS)
    shows_bar = None if progress is None else checked_flag("progress", progress)
    config = with_autoencoders(as_config(model, "model"), autoencoders)
    site, context = read_site(config, at), config.get_model_context()
    axes = read_axes(site, by)
    given = read_given_pairs(context, clean, corrupted, metric, positions, prepend_bos)
    check_aligned(given.pairs, axes)
    n_nodes = len(nodes_of(site, axes, len(given.pairs[0].clean.token_ids)))
    if not n_nodes:
        raise InvalidRequestError(f"{site.asked} has no nodes to patch.")
    if named_method is PatchMethod.EXACT and n_nodes * len(given.pairs) > _MANY:
        warn(
            f'{n_nodes * len(given.pairs):,} patches run one by one, which takes long. method="gradient" estimates '
            "all of them in one pass, and patches the strongest exactly.",
            ManyPassesWarning,
        )
    request = PatchRequest(site.asked, axes, named_method, named_direction, title_of_pairs(given.pairs))
    if given.is_one:
        request = replace(request, hints=given.pairs[0].question.hints)
    return Patcher(site, request, n_steps, n_checked, shows_bar).result(given)
