"""The passes of path patching for two prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from neuron_explainer.attribution.computing.batches import batches_of_rows
from neuron_explainer.experiments.asking.two_prompts import TwoPrompts
from neuron_explainer.experiments.paths.frozen import Frozen
from neuron_explainer.experiments.paths.receivers import Receivers
from neuron_explainer.experiments.paths.senders import Sender
from neuron_explainer.models.hooks.contexts import Hook
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


@dataclass(frozen=True)
class PathsAsked:
    """What is asked about two prompts.

    Attributes:
        prompts: the two prompts and the metric.
        senders: what sends, each by itself; tokens are positions.
        receivers: what receives, together.
        freezes_mlps: whether MLPs are frozen in the first pass, too.
        is_noise: whether the clean run gets the corrupted run's activations; else the other way round.
    """

    prompts: TwoPrompts
    senders: tuple[Sender, ...]
    receivers: Receivers
    freezes_mlps: bool
    is_noise: bool


@dataclass(frozen=True)
class PathRun:
    """The metric of two prompts, and with each sender.

    Attributes:
        tokens, corrupted_tokens: the clean prompt's tokens, and the corrupted one's.
        clean, corrupted: the metric of each.
        values: the metric with each sender.
    """

    tokens: tuple[str, ...]
    corrupted_tokens: tuple[str, ...]
    clean: float
    corrupted: float
    values: tuple[float, ...]


def run_paths(context: ModelContext, asked: PathsAsked, told: Callable[[int], object]) -> PathRun:
    """Run both prompts, and two passes for each sender: many senders share a pass.

    Args:
        context: the model.
        asked: what is asked.
        told: is told how many more senders are done.

    Raises:
        InvalidRequestError: the metric is the same of both prompts, or is not one number.
        StoppedError: watched work is to stop.
    """
    model, prompts, receivers = context.get_or_create_model(), asked.prompts, asked.receivers
    last_layer = model.config.n_layers - 1 if receivers.are_logits else receivers.layers[-1]
    embedding = (_PLACE.RESID_POST_EMBEDDING, None)
    recording = model.recording([embedding, *Frozen.places(asked.senders, last_layer)])
    batches = list(_batches(asked, model))
    with part_of_work(0, len(batches) + 1):
        logits = cast("Tensor", model(prompts.token_ids(model.device), hooks=[recording]))
    clean, corrupted = prompts.measured_rows(logits).tolist()
    prompts.check_differs(clean, corrupted)
    frozen = Frozen(model, recording, 0 if asked.is_noise else 1, asked.freezes_mlps, last_layer)
    values = [float("nan")] * len(asked.senders)
    for number, batch in enumerate(batches, 1):
        with part_of_work(number, len(batches) + 1):
            found = _values(model, asked, frozen, [asked.senders[row] for row in batch])
        for row, value in zip(batch, found, strict=True):
            values[row] = value
        told(len(batch))
    tokens = tuple(prompts.clean.token_strings), tuple(prompts.corrupted.token_strings)
    return PathRun(*tokens, clean, corrupted, tuple(values))


def _batches(asked: PathsAsked, model: Transformer) -> Iterator[list[int]]:
    """The numbers of the senders that share passes: those in late layers together, since nothing below is run again."""
    order = sorted(range(len(asked.senders)), key=lambda number: asked.senders[number].first_layer)
    n_tokens = len(asked.prompts.clean.token_ids)
    for batch in batches_of_rows(len(order), n_tokens, asked.prompts.logits_of_row(model), model):
        yield [order[number] for number in batch]


def _values(model: Transformer, asked: PathsAsked, frozen: Frozen, senders: Sequence[Sender]) -> list[float]:
    """The metric with each sender."""
    prompts, receivers = asked.prompts, asked.receivers
    first, resid, sent = frozen.sent(senders)
    if receivers.are_logits:
        with part_of_work(0, 1):
            return _measured(model, prompts, first, resid, sent)
    receivers = receivers.since(first)
    recorded = model.recording(receivers.places)
    with part_of_work(0, 2):
        model.forward_from(first, resid, logits_at=None, hooks=[recorded, *sent])
    start = receivers.layers[0]
    received = receivers.interventions(model, recorded, prompts.clean.token_strings)
    with part_of_work(1, 2):
        return _measured(model, prompts, start, frozen.start(start, len(senders)), received)


def _measured(model: Transformer, prompts: TwoPrompts, first: int, resid: Tensor, hooks: Sequence[Hook]) -> list[float]:
    """The metric of each row of a pass from a layer on."""
    logits = cast("Tensor", model.forward_from(first, resid, logits_at=prompts.logits_at(len(resid)), hooks=hooks))
    numbers: list[float] = prompts.measured_rows(logits).tolist()
    return numbers
