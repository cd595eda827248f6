"""`check`: is this model computed as it should be?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, SupportsIndex

import torch

from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.checking.alone.parts import Alone
from neuron_explainer.checking.alone.weights import refuse_what_cannot_run
from neuron_explainer.checking.beside.comparing import Beside
from neuron_explainer.checking.beside.given_reference import reference_of
from neuron_explainer.checking.findings import Finding, failed
from neuron_explainer.checking.probes import random_probe
from neuron_explainer.checking.report import CheckReport
from neuron_explainer.errors import InvalidRequestError, StoppedError, shown
from neuron_explainer.models.checkpoints.load_model import load_model
from neuron_explainer.models.model_context import ModelContext, StandardModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.checks import MOST_SEED, checked_flag, checked_number
from neuron_explainer.wording import in_a_sentence

_DELAY = 2.0


def check(
    model: ModelContext | torch.nn.Module | str | os.PathLike[str],
    reference: Any = None,
    *,
    thorough: bool = False,
    seed: SupportsIndex = 0,
    progress: bool | None = None,
) -> CheckReport:
    """Check that a model is computed as it should be; with a reference, beside the same model of `transformers`.

    Alone, a model is checked against itself: each place against a plain formula of what comes before it, gradients
    against finite differences, attention patterns, a cache against none, padding against none, the upper layers alone,
    interventions (each must change what is after it, and nothing else; with a cache and on gradients, too), a second
    pass, threads, tokens, and known faults of library versions.
    That cannot tell a wrong config from a right one; with `thorough`, a model that predicts texts is also compared with
    itself under nearby configs (other rotary pairs or bases, scales, activation functions, orders), of which none
    should predict texts better.

    With a reference: logits and every place in float64 where memory allows, gradients of the residual stream, every
    implementation of attention that the reference has, what precision costs, and tokens.

    Args:
        model: a name or whatever `load_model` takes; a ModelContext; or a Transformer.
        reference: a causal language model of `transformers` in memory; or a folder or hub id that it loads.
        thorough: at every place of every layer, with a prompt of 160 tokens, with prompts that are longer than the
            model's windows (up to 8,192 tokens), ten repeated passes, nearby configs, and with a reference float32,
            bfloat16 and float16, in the time of about 250 plain passes of SmolLM2-135M; else in samples, in that of 18.
        seed: of the prompts, which are of random tokens.
        progress: whether there is a bar; None: on a terminal or in a notebook, where it takes longer than 2 s.

    Returns:
        The report: whether all is well (`ok`), what failed, what could not be checked, where the first difference is.

    Raises:
        InvalidRequestError: the model or the reference is none of these, or they have other sizes; the model has no
            weights, or weights of a dtype in which no pass is computed; an intervention or a recording is open.
        StoppedError: the work is to stop.
        NeuronExplainerError: the model cannot be loaded; whatever `load_model` raises. MissingPackageError, if
            transformers is not installed to load the reference.

    >>> import neuron_explainer as ne
    >>> report = ne.check("tiny")
    >>> report.ok, report.failed
    (True, [])
    """
    in_full = checked_flag("thorough", thorough)
    drawn = checked_number("seed", seed, 0, at_most=MOST_SEED)
    context = None if isinstance(model, Transformer) else _context_of(model)
    transformer = model if context is None else context.get_or_create_model()
    assert isinstance(transformer, Transformer)
    _refuse_contexts(transformer)
    refuse_what_cannot_run(transformer)
    started = time.perf_counter()
    with _outside_of_torch_s_contexts(transformer.device):
        findings, beside = _findings(transformer, context, reference, in_full, drawn, progress)
    name = context.model_name if context is not None else transformer.config.model_type
    return CheckReport(
        name,
        None if beside is None else beside.reference.name,
        tuple(findings),
        None if beside is None else beside.places,
        None if beside is None else beside.precision,
        time.perf_counter() - started,
    )


def _refuse_contexts(model: Transformer) -> None:
    """Refuse a model with interventions, and one with recordings, which the passes of a check would fill."""
    if model.active_interventions:
        raise InvalidRequestError(
            f"There are interventions at {', '.join(model.active_interventions[:5])}. A model is checked bare: "
            "leave their contexts first."
        )
    if model.has_open_contexts:
        raise InvalidRequestError(
            "There is an open recording, which a check would fill with its own passes. Leave its context first."
        )


@contextmanager
def _outside_of_torch_s_contexts(device: torch.device) -> Iterator[None]:
    """Outside of inference mode, where there are no gradients, and of autocast, where dtypes are others."""
    with ExitStack() as left:
        left.enter_context(torch.inference_mode(False))
        for kind in {"cpu", device.type}:
            if torch.is_autocast_enabled(kind):
                left.enter_context(torch.autocast(kind, enabled=False))
        yield


def _findings(
    model: Transformer,
    context: StandardModelContext | None,
    reference: Any,
    thorough: bool,
    seed: int,
    progress: bool | None,
) -> tuple[list[Finding], Beside | None]:
    """What all checks found, and the comparison with the reference."""
    beside = None
    if reference is not None:
        beside = Beside(model, reference_of(reference, model), context)
    probe = random_probe(model, seed=seed)
    findings: list[Finding] = []
    parts = [
        *Alone(model, context, probe, thorough, seed, beside is not None).parts(),
        *([] if beside is None else beside.parts(probe, thorough, seed)),
    ]
    with passes_bar(len(parts), progress, "checking", "check", _DELAY if progress is None else 0.0) as tell:
        for number, (name, run) in enumerate(parts):
            with part_of_work(number, len(parts)):
                findings += _found(name, run)
            tell(1)
    return findings, beside


def _found(name: str, run: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a check found; one that raises has failed."""
    found: list[Finding] = []
    try:
        for each in run():
            found.append(each)
    except (StoppedError, MemoryError):
        raise
    except Exception as error:  # a tokenizer, or what somebody changed in a model, may raise anything
        found.append(failed(name, f"It raises {type(error).__name__}: {in_a_sentence(error, 500)}"))
    return found


def _context_of(model: Any) -> StandardModelContext:
    context = model if isinstance(model, ModelContext) else load_model(model)
    if not isinstance(context, StandardModelContext):
        raise InvalidRequestError(
            f"{shown(model)} has no model of this library to check. Give a name, or ne.load_model(…)."
        )
    return context
