"""Estimates of patches: finite differences, sums that are complete, and the exact patches beside them."""

import numpy as np
import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders, small_context
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.places import ActivationLocationType as P

CLEAN, CORRUPTED = [5, 9, 12, 7, 3, 20], [5, 9, 41, 7, 33, 20]
ANSWERS = (11, 23)
FAMILIES = ["gemma2", "llama_3", "mixtral"]


def moved(model: ne.ModelContext, place: P, layer: int | None, index: tuple[slice | int, ...], share: float) -> float:
    """The metric where some numbers of the corrupted run are moved by a share of the way to the clean run."""
    transformer = model.get_or_create_model()
    with transformer.record([(place, layer)]) as recording:
        transformer(torch.tensor([CLEAN, CORRUPTED]))
    clean, corrupted = recording[place, layer]

    def write(tensor: Tensor) -> Tensor:
        tensor[(0, *index)] += (share * (clean - corrupted))[index]
        return tensor

    with transformer.intervene(place, layer, write):
        logits = transformer(torch.tensor([CORRUPTED]))
    assert logits is not None
    return float(logits[0, -1, ANSWERS[0]].double() - logits[0, -1, ANSWERS[1]].double())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_finite_differences(family: str) -> None:
    model = small_context(family)
    asked: dict[str, tuple[P, tuple[slice | int, ...]]] = {
        "attn": (P.RESID_DELTA_ATTN, (4,)),
        "heads": (P.ATTN_WEIGHTED_SUM_OF_VALUES, (slice(None), 1)),
        "v": (P.ATTN_VALUE, (slice(None), 1)),
        "pattern": (P.ATTN_QK_PROBS, (slice(None), slice(None), 1)),
        "mlp": (P.RESID_DELTA_MLP, (4,)),
    }
    for at, (place, index) in asked.items():
        found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, method="gradient", check=0)
        number = found.names.index({"attn": "L1ATTN@4", "mlp": "L1MLP@4", "v": "L1H1/v"}.get(at, "L1H1"))
        estimate = found.values[number] - found.corrupted_value
        step = 0.02
        slope = (moved(model, place, 1, index, step) - moved(model, place, 1, index, -step)) / (2 * step)
        assert estimate == pytest.approx(slope, rel=0.02, abs=5e-4), at
    resid = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, method="gradient", check=0)
    slope = (moved(model, P.RESID_POST_MLP, 0, (4,), 0.01) - moved(model, P.RESID_POST_MLP, 0, (4,), -0.01)) / 0.02
    assert resid.values[resid.names.index("L1START@4")] - resid.corrupted_value == pytest.approx(
        slope, rel=0.03, abs=1e-3
    )


@pytest.mark.parametrize("at", ["resid", "attn", "mlp", "heads", "q", "v", "neurons", "attn_qk_logits"])
@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_integrated_gradients_of_a_layer_sum_up_to_patching_all_of_it(family: str, at: str) -> None:
    model = small_context(family)
    integrated = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, method="integrated", steps=60, check=0)
    whole = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, by="layer")
    frame = integrated.to_dataframe()
    sums = (frame["value"] - integrated.corrupted_value).groupby(frame["layer"]).sum()
    exact = whole.values - whole.corrupted_value
    assert np.allclose(sums.to_numpy(), exact, rtol=0.02, atol=0.01), (sums, exact)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_where_the_metric_is_linear_every_estimate_is_exact(direction: str) -> None:
    model = small_context("gpt2")
    asked = [
        ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="logits", method=method, direction=direction, steps=3)
        for method in ("exact", "gradient", "integrated")
    ]
    for estimate in asked[1:]:
        assert estimate.scores.tolist() == pytest.approx(asked[0].scores.tolist(), abs=1e-5)
    assert asked[0].scores.tolist() == pytest.approx(
        [*[asked[0].untouched_score] * 5, 1 - asked[0].untouched_score], abs=1e-5
    )


def test_the_strongest_are_patched_exactly_too() -> None:
    model = small_context("llama")
    exact = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="heads")
    assert exact.checked is None
    found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="heads", method="gradient", check=5)
    assert found.checked is not None
    assert found.checked["name"].tolist() == found.top(5)["name"].tolist()
    for name, estimate, measured in found.checked[["name", "estimate", "measured"]].itertuples(index=False):
        number = exact.names.index(name)
        assert measured == pytest.approx(exact.values[number] - exact.corrupted_value, abs=1e-5)
        assert estimate == pytest.approx(found.values[number] - found.corrupted_value, abs=1e-6)
    ranks = [np.argsort(np.argsort(found.checked[column])) for column in ("estimate", "measured")]
    assert found.spearman == pytest.approx(np.asarray(np.corrcoef(ranks))[0, 1])
    assert np.isnan(ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="heads", method="gradient", check=0).spearman)


@pytest.mark.parametrize("dst", [DerivedScalarType.RESID_DELTA_MLP, DerivedScalarType.RESID_POST_MLP])
def test_latents(dst: DerivedScalarType) -> None:
    """Estimates from one pass with all autoencoders; finite differences go through one latent of one of them."""
    model = small_context("gpt2")
    transformer, autoencoders = model.get_or_create_model(), random_autoencoders(model, dst)
    found = ne.patch(
        model, CLEAN, CORRUPTED, ANSWERS, at="latents", method="gradient", check=4, autoencoders=autoencoders
    )
    assert found.checked is not None
    place = P(dst.name)
    with transformer.record([(place, 1)]) as recording:
        transformer(torch.tensor([CLEAN, CORRUPTED]))
    autoencoder = autoencoders.get_autoencoder(1)
    clean, corrupted = autoencoder.encode(recording[place, 1])
    latent = int((clean - corrupted).abs().sum(0).argmax())

    def difference(share: float) -> float:
        change = share * (clean - corrupted)[:, latent, None] * autoencoder.decoder_weight[:, latent]
        with transformer.intervene(place, 1, lambda tensor: tensor + change.to(tensor)):
            logits = transformer(torch.tensor([CORRUPTED]))
        assert logits is not None
        return float(logits[0, -1, ANSWERS[0]] - logits[0, -1, ANSWERS[1]])

    slope = (difference(0.01) - difference(-0.01)) / 0.02
    number = found.nodes.index(next(node for node in found.nodes if (node.layer, node.component) == (1, latent)))
    assert found.values[number] - found.corrupted_value == pytest.approx(slope, rel=0.03, abs=1e-3)


def test_within_inference_mode_and_without_gradients() -> None:
    model = small_context("gpt2")
    plain = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="mlp", method="integrated", check=2)
    for context in (torch.inference_mode(), torch.no_grad()):
        with context:
            found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="mlp", method="integrated", check=2)
        assert found.values.tolist() == plain.values.tolist()


def test_bfloat16_stays_near_float32() -> None:
    rough = ne.patch(
        small_context("llama", dtype=torch.bfloat16), CLEAN, CORRUPTED, ANSWERS, at="mlp", method="gradient"
    )
    fine = ne.patch(small_context("llama"), CLEAN, CORRUPTED, ANSWERS, at="mlp", method="gradient")
    scale = np.abs(fine.values - fine.corrupted_value).max()
    gap = (rough.values - rough.corrupted_value) - (fine.values - fine.corrupted_value)
    assert np.abs(gap).max() < 0.1 * scale
