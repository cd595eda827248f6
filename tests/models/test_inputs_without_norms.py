"""Families in which attention and MLP read the residual stream itself: what they read is a place of its own."""

import pytest
import torch
from torch import Tensor

from helpers.derived_scalars import slope
from helpers.installed_transformers import or_skipped
from helpers.tiny_models import our_model, random_tokens
from neuron_explainer.vocabulary.places import ActivationLocationType as P

PLACES = [P.RESID_POST_MLP_LAYER_NORM, P.RESID_POST_ATTN_LAYER_NORM]


def write(read: Tensor) -> Tensor:
    """An intervention that writes into the tensor it is given."""
    read[:, 1] += 0.7
    return read


@pytest.mark.parametrize("family", or_skipped(["olmo2", "olmo3"]))
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("records", [False, True])
def test_writing_into_what_is_read_leaves_the_residual_stream(family: str, place: P, records: bool) -> None:
    model, tokens = our_model(family, torch.float64), random_tokens(2, 4)
    stream = [P.RESID_POST_EMBEDDING, P.RESID_POST_ATTN, P.RESID_POST_MLP] if records else []
    found = []
    for change in (write, lambda read: write(read.clone())):
        with model.record(stream) as recording, model.intervene(place, 1, change):
            logits = model(tokens)
        found.append([logits, *(recording[key] for key in recording)])
    for written, replaced in zip(*found, strict=True):
        assert torch.equal(written, replaced)


@pytest.mark.parametrize("family", or_skipped(["olmo2", "olmo3"]))
@pytest.mark.parametrize("place", PLACES)
def test_the_gradient_of_what_is_read_goes_through_the_reader_alone(family: str, place: P) -> None:
    model, tokens = our_model(family, torch.float64), random_tokens(1, 4)
    with model.record(
        [place, P.RESID_POST_EMBEDDING, P.RESID_POST_ATTN, P.RESID_POST_MLP], gradients=True
    ) as recording:
        recording.backward(model(tokens)[0, -1, 7])
    direction = torch.randn(recording[place, 1].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def logit(step: float) -> float:
        with model.intervene(place, 1, lambda read: read + step * direction):
            return float(model(tokens)[0, -1, 7])

    expected = slope(logit, 0.0)
    assert float((recording.gradient(place, 1) * direction).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-8)
