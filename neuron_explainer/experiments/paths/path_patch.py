"""`path_patch`: what a node sends to another one directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from neuron_explainer.activations.derived_scalars.config import as_config
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.attribution.question.positions import PositionsGiven
from neuron_explainer.attribution.question.question import PromptGiven
from neuron_explainer.errors import UnknownNameError
from neuron_explainer.experiments.asking.given_pairs import check_aligned, read_given_pairs
from neuron_explainer.experiments.asking.two_prompts import PairMetric, TwoPrompts, title_of_pairs
from neuron_explainer.experiments.paths.path_patching import PathPatching
from neuron_explainer.experiments.paths.receivers import Receivers, ReceiversGiven, read_receivers
from neuron_explainer.experiments.paths.running import PathRun, PathsAsked, run_paths
from neuron_explainer.experiments.paths.senders import Sender, SendersGiven, read_senders
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.watching import part_of_work

_FREEZE = ("heads", "heads+mlps")
_DIRECTIONS = ("noise", "denoise")
_BY = ("sender", "position")


def path_patch(
    model: ModelContext,
    clean: Any,
    corrupted: PromptGiven | None = None,
    metric: PairMetric | None = None,
    senders: SendersGiven = "heads",
    receivers: ReceiversGiven = "logits",
    *,
    freeze: str = "heads",
    by: str = "sender",
    direction: str = "noise",
    positions: PositionsGiven = None,
    prepend_bos: bool | None = None,
    progress: bool | None = None,
) -> PathPatching:
    """What does a sender tell a receiver directly, past everything between them? (Wang et al. 2022, appendix B.)

    For each sender three passes tell:

    1. Both prompts are read. With direction="noise" the clean run is the original one, and the corrupted run is what
       senders have of the other prompt; with "denoise" it is the other way round.
    2. The original prompt is read with the sender's activation of the other run. The outputs of all other heads are
       frozen at their original values, and with freeze="heads+mlps" those of all other MLPs and neurons, too. So only
       what goes to the receiver directly (with "heads" also through MLPs) is changed. Norms on the way, such as the
       receiver's and the one after the sender's layer, are computed anew. The receivers' inputs are recorded.
    3. The original prompt is read again. The receivers get these inputs, and all else runs freely. The metric is read.

    Where the logits receive, the metric is read in the second step. With freeze="heads+mlps" it is then the sender's
    direct effect, with the true norms.

    Args:
        model: the model.
        clean: a text, messages or token ids. Or pairs of prompts, as `ne.prompt_pairs` makes them (anything with
            `clean`, `corrupted`, `target` and `distractor`), of which the result is the mean; leave `corrupted` out.
        corrupted: a prompt of as many tokens.
        metric: two answers, of which the first is the clean prompt's: the difference of their logits (mind their
            leading spaces). Or a LossFnConfig, or a function of the logits at `positions` (positions, vocabulary) that
            gives one number. Pairs have their own answers; a metric for all, or a list of one each, takes their place.
        senders: a node, or a list of nodes, one after the other: heads (L3H2; L3H* are all of the layer), neurons
            (L5N131), L5MLP, L5ATTN, or EMB, the embedding; with a token (L3H2@7, L3H2@' Mary') at it alone. A list
            within the list sends together. "heads" and "mlps" are all those before the receivers.
        receivers: a node or several together: L9H6/q, /k, /v or /qk (also as ("L9H6", "q")), L9H6 (all three), L9MLP,
            L9N131, at a token if one is given. Or "logits".
        freeze: which nodes other than the sender are frozen: "heads", or "heads+mlps".
        by: "sender", or "position": each sender at each position by itself.
        direction: which run is the original one: "noise" the clean one, "denoise" the corrupted one.
        positions: where the metric is taken; None: at the last token, and for a function at all.
        prepend_bos: for texts, whether their tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        The metric and the score with each sender; a score is 0 for the corrupted run and 1 for the clean one.

    Raises:
        PromptError: a prompt is malformed, or the two differ in length, or not at all; with by="position": pairs differ
            in length.
        NodeNameError, InvalidIndexError: a sender or a receiver cannot be read.
        InvalidRequestError: one of them is not in the model, or is of another kind; a sender does not come before any
            receiver; the metric is malformed, or is the same of both prompts.
        MisconfiguredError: `model` is not a model.
        UnknownNameError: there is no such `freeze`, `by` or `direction`.

    >>> import neuron_explainer as ne
    >>> model, answers = ne.load_model("tiny", device="cpu"), (" Moses", " David")
    >>> clean, corrupted = "And Moses came, and the LORD said unto", "And David came, and the LORD said unto"
    >>> paths = ne.path_patch(model, clean, corrupted, answers, "heads", "L3H2/v")
    >>> len(paths.to_dataframe()), paths.receivers
    (12, 'L3H2/v')
    """
    for name, choice, choices in (("freeze", freeze, _FREEZE), ("by", by, _BY), ("direction", direction, _DIRECTIONS)):
        if not isinstance(choice, str) or choice not in choices:
            raise UnknownNameError(name, choice, choices)
    context = as_config(model, "model").get_model_context()
    transformer, by_position = context.get_or_create_model(), by == "position"
    receiving = read_receivers(transformer, receivers)
    sending = read_senders(transformer, senders, receiving.nodes)
    given = read_given_pairs(context, clean, corrupted, metric, positions, prepend_bos)
    prompts = given.pairs
    check_aligned(prompts, [by])
    asked = [_asked(each, sending, receiving, by_position, freeze, direction) for each in prompts]
    runs: list[PathRun] = []
    n_paths = sum(len(each.senders) for each in asked)
    with passes_bar(n_paths, progress, "patching paths", "path") as told, torch.no_grad():
        for number, each in enumerate(asked):
            with part_of_work(number, len(asked)):
                runs.append(run_paths(context, each, told))
    # Of several prompts a token's text may be at other positions in each.
    rows = asked[0].senders if by_position or len(asked) == 1 else tuple(sending)
    title, hints = title_of_pairs(prompts), prompts[0].question.hints if given.is_one else ()
    return PathPatching(tuple(runs), rows, receiving.label, title, freeze, direction, by_position, hints)


def _asked(
    prompts: TwoPrompts, sending: Sequence[Sender], receiving: Receivers, by_position: bool, freeze: str, direction: str
) -> PathsAsked:
    """What is asked about two prompts, with tokens as positions in them."""
    tokens = prompts.clean.token_strings
    senders = [each.resolved(tokens) for each in sending]
    receiving.check_tokens(tokens)
    if by_position:
        senders = [at for each in senders for at in each.at_positions(len(tokens))]
    return PathsAsked(prompts, tuple(senders), receiving, freeze == "heads+mlps", direction == "noise")
