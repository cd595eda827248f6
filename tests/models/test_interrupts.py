"""An interrupt leaves nothing on the model, between whichever two instructions it falls."""

import contextlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.tiny_models import our_model, random_tokens
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.places import ActivationLocationType as P

JAXTYPING = importlib.metadata.version("jaxtyping")
pytestmark = pytest.mark.skipif(
    tuple(map(int, JAXTYPING.split(".")[:2])) < (0, 3),
    reason=f"the checks that jaxtyping {JAXTYPING} puts around functions in tests can be interrupted themselves",
)

INTERRUPTED = (
    __file__,
    "/neuron_explainer/models/hooks/",
    "/neuron_explainer/models/instrumented.py",
    "/neuron_explainer/models/transformer.py",
    "/engine/passes.py",
)
"""Where instructions are counted; what is not named here enters and leaves no contexts."""


def start_interrupting(after: int, line: int | None = None) -> Callable[..., Any]:
    """Raise KeyboardInterrupt after so many instructions of what is called from now on.

    Of this file, only the given line counts, if one is given.
    """
    n_left = after

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal n_left
        if not any(part in frame.f_code.co_filename for part in INTERRUPTED):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and (frame.f_code.co_filename != __file__ or line in (None, frame.f_lineno)):
            n_left -= 1
            if n_left == 0:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    return trace


def interrupted(work: Callable[[], Any], after: int) -> BaseException | None:
    """Run work with a KeyboardInterrupt after so many instructions; None if it ends before that."""
    before = sys.gettrace()
    start_interrupting(after)
    try:
        work()
    except KeyboardInterrupt as interrupt:
        return interrupt  # with its traceback, whose frames stay alive as in a notebook
    finally:
        sys.settrace(before)
    return None


def every_interrupt(work: Callable[[], Any], step: int = 1) -> Iterator[tuple[int, BaseException]]:
    """The interrupts at every instruction (or every so many) of work, one after another."""
    after = 1
    while (interrupt := interrupted(work, after)) is not None:
        yield after, interrupt
        after += step
    assert after > 20


@pytest.fixture
def model() -> Transformer:
    return our_model("gpt2")


TOKENS = random_tokens(1, 5)


def with_statement(model: Transformer) -> None:
    with model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like):
        pass


def two_contexts(model: Transformer) -> None:
    with model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like), model.record(P.MLP_POST_ACT, gradients=True):
        pass


def nested_in_try(model: Transformer) -> None:
    try:
        with model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like):
            pass
    finally:
        len("cleaning up")


@pytest.mark.parametrize("work", [with_statement, pytest.param(two_contexts, marks=pytest.mark.long), nested_in_try])
def test_entering_and_leaving(model: Transformer, work: Callable[[Transformer], None]) -> None:
    plain = model(TOKENS)

    def run() -> None:
        with contextlib.suppress(ne.errors.InterventionNeverFiredError):
            work(model)

    kept = []
    for after, interrupt in every_interrupt(run):
        kept.append(interrupt)
        assert not model.active_interventions, after
        assert after % 25 or torch.equal(model(TOKENS), plain), after
        assert torch.is_grad_enabled(), after
    assert len(kept) > 200


def test_a_loop_that_goes_on_after_an_interrupt(model: Transformer) -> None:
    """The same `with` statement of the same frame runs again: what the interrupt left of it is replaced."""
    with model.intervene(P.RESID_POST_MLP, 0, lambda resid: resid * 2):
        doubled = model(TOKENS)

    def turns(after: int) -> bool:
        frame = sys._getframe()
        was_interrupted = False
        for turn in range(2):
            try:
                if turn == 0:
                    frame.f_trace = start_interrupting(after, line=frame.f_lineno + 2)
                    frame.f_trace_opcodes, frame.f_trace_lines = True, False
                with model.intervene(P.RESID_POST_MLP, 0, lambda resid: resid * 2):
                    result = None if turn == 0 or after % 25 else model(TOKENS)
                    is_active = len(model.active_interventions) == 1
            except KeyboardInterrupt:
                was_interrupted = True
            except ne.errors.InterventionNeverFiredError:
                pass
            sys.settrace(None)
            frame.f_trace = None
            assert not model.active_interventions, after
        assert is_active, after
        assert result is None or torch.equal(result, doubled), after
        return was_interrupted

    after = 1
    while turns(after):
        after += 1
    assert after > 100


@pytest.mark.parametrize("with_gradients", [False, True])
def test_deriving_with_ablations(with_gradients: bool) -> None:
    tiny = ne.load_model("tiny", device="cpu")
    config = ne.DstConfig(model_context=tiny, derive_gradients=with_gradients)
    ablations = [AblationSpec(ActivationIndex(P.MLP_POST_ACT, 0, ("All", 5)), 3.0)]
    loss = ne.LossFnConfig("logit_diff", [" God"], [" man"])

    def logits(**options: Any) -> torch.Tensor:
        return ne.derive("And the LORD said", [D.LOGITS, D.MLP_POST_ACT], config, loss=loss, **options).activations(
            D.LOGITS
        )[None]

    plain = logits()
    logits(ablations=ablations)
    kept = []
    for after, interrupt in every_interrupt(lambda: logits(ablations=ablations), step=101):
        kept.append(interrupt)
        assert torch.equal(logits(), plain), after
    assert len(kept) > 10
