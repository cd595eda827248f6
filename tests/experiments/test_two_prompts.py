"""How an experiment reads a clean and a corrupted prompt, and its metric."""

from typing import Any

import pytest
import torch

import neuron_explainer as ne
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig
from neuron_explainer.errors import InvalidRequestError, PromptError
from neuron_explainer.experiments.asking.two_prompts import read_two_prompts

CLEAN, CORRUPTED = "And the LORD said unto Moses", "And the LORD said unto David"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny", device="cpu")


def _mean(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, 5].mean()


@pytest.mark.parametrize(
    "metric",
    [(" the", " her"), [278, 300], LossFnConfig("logit_diff", [" the"], [" her"]), ([" the", " a"], " her"), _mean],
    ids=["texts", "ids", "config", "alternatives", "function"],
)
def test_the_metric_is_that_of_attribute(model: ne.ModelContext, metric: object) -> None:
    asked = read_two_prompts(model, CLEAN, CORRUPTED, metric)  # type: ignore[arg-type]
    tokens = asked.token_ids(model.device)
    logits = model.get_or_create_model()(tokens)
    for row, prompt in enumerate((CLEAN, CORRUPTED)):
        if metric is _mean:
            expected = ne.attribute(model, prompt, metric=_mean).value
        elif isinstance(metric, LossFnConfig):
            expected = ne.attribute(model, prompt, metric=metric).value
        else:
            expected = ne.attribute(model, prompt, metric[0], metric[1]).value  # type: ignore[index]
        measured = asked.measured(logits[row, list(asked.positions)])
        assert float(measured) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert asked.positions == (tuple(range(tokens.shape[1])) if metric is _mean else (tokens.shape[1] - 1,))


def test_prompts_of_different_length_are_shown_side_by_side(model: ne.ModelContext) -> None:
    with pytest.raises(PromptError) as raised:
        read_two_prompts(model, CLEAN, "And the LORD said unto Aaron", (" the", " a"))
    said = str(raised.value)
    assert "The clean prompt has 7 tokens, and the corrupted one 9" in said
    assert "    6  ' Moses'  ' A'" in said
    assert "    8            'on'" in said
    with pytest.raises(PromptError, match=r"… \d+ more"):
        read_two_prompts(model, "And the LORD said unto Moses", " go" * 100, (" the", " a"))


def test_what_cannot_be_compared_is_refused(model: ne.ModelContext) -> None:
    for corrupted in (CLEAN, ""):
        with pytest.raises(PromptError):
            read_two_prompts(model, CLEAN, corrupted, (" the", " a"))
    metrics: list[Any] = ["Moses", 3, None, (" the",), (" Moses went", " a"), torch.Tensor]
    for metric in metrics:
        with pytest.raises(InvalidRequestError):
            read_two_prompts(model, CLEAN, CORRUPTED, metric)
    asked = read_two_prompts(model, CLEAN, CORRUPTED, (" the", " a"))
    for pair in [(1.0, 1.0), (float("nan"), 1.0), (1e6, 1e6 + 1e-3)]:
        with pytest.raises(InvalidRequestError, match="not told apart"):
            asked.check_differs(*pair)
    asked.check_differs(1.0, 1.1)


def test_a_second_text_begins_as_the_first(model: ne.ModelContext) -> None:
    asked = read_two_prompts(model, CLEAN, CORRUPTED, (" the", " a"), prepend_bos=True)
    assert asked.clean.token_ids[0] == asked.corrupted.token_ids[0]
    assert asked.clean.n_beginning == asked.corrupted.n_beginning == 1
