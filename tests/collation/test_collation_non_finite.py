"""Activations that are infinite or NaN, or too large for their file, are named; nothing is written with them."""

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.collation_models import model_context, random_texts
from neuron_explainer.collation.settings import ActivationDtype
from neuron_explainer.errors import InvalidRequestError, NonFiniteActivationError
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.notices import NonFiniteWarning

SETTINGS: dict[str, Any] = {"context_length": 12, "top_k": 3, "random_k": 2, "progress": False}
TEXTS = random_texts(5)


def with_bias(value: float) -> StandardModelContext:
    """A model whose neuron 3 of layer 1 has this bias."""
    context = model_context("gpt2", torch.float32)
    mlp = context.get_or_create_model().blocks[1].mlp
    bias = cast(Tensor, mlp.input_bias).detach().clone()
    bias[3] = value
    fill(mlp, "input_bias", bias)
    return context


def test_an_infinite_activation_is_named_with_its_text_and_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteActivationError, match=r"component 3 of layer 1 is inf at entry 0 of") as caught:
        ne.collate(with_bias(torch.inf), ["w5 w6"], tmp_path / "made", layers=1, **SETTINGS)
    assert "of sequence 0, 'w5w6'." in str(caught.value)
    assert "The first appear at mlp.pre_act of layer 1, in float32." in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_live_record_is_refused_for_the_neuron_alone() -> None:
    context = with_bias(torch.inf)
    with pytest.raises(NonFiniteActivationError, match=r"is inf at entry 0 of sequence 0, 'w5'\. The first appear at"):
        ne.live_record(context, 1, 3, ["w5"])
    assert math.isfinite(ne.live_record(context, 1, 4, ["w5"]).max_activation or math.inf)


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_large_activations_are_kept(tmp_path: Path, dtype: ActivationDtype) -> None:
    path = ne.collate(with_bias(1e5), TEXTS, tmp_path / "made", activation_dtype=dtype, **SETTINGS)
    assert ne.load_neuron(path, 1, 3).max_activation == pytest.approx(1e5, rel=0.1)


def test_activations_that_a_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    context, said = (
        with_bias(1e5),
        r"as large as 1e\+05, but float16 ends at 6\.55e\+04\. Use activation_dtype='float32'",
    )
    with pytest.raises(InvalidRequestError, match=said):
        ne.collate(context, TEXTS, tmp_path / "made", activation_dtype="float16", **SETTINGS)
    assert not (tmp_path / "made").exists()
    path = ne.collate(context, TEXTS, tmp_path / "made", **SETTINGS)
    as_json = ne.convert(path, tmp_path / "json")
    with pytest.raises(InvalidRequestError, match=said):
        ne.convert(as_json, tmp_path / "packed", activation_dtype="float16")
    assert not (tmp_path / "packed").exists()


def test_a_model_that_overflows_does_not_verify(tmp_path: Path) -> None:
    path = ne.collate(with_bias(0.0), TEXTS, tmp_path / "made", **SETTINGS)
    with pytest.warns(NonFiniteWarning) as caught:
        found = ne.verify(path, 10_000, model=with_bias(torch.nan))
    (warning,) = caught
    assert (
        "example of 1:3): the model's numbers are infinite or NaN. The first appear at mlp.pre_act of layer 1"
        in str(warning.message)
    )
    assert warning.filename == __file__
    assert found.largest_difference == math.inf
    assert str(found).endswith("example of 1:3)")
