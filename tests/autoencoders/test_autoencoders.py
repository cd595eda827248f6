"""Autoencoders by hand-computed numbers, and from the state dicts of OpenAI's files."""

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.autoencoder_files import N_INPUTS, state_dict
from neuron_explainer.errors import (
    AutoencoderFormatError,
    InvalidRequestError,
)
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import Identity, JumpReLU, LatentActivation, ReLU, TopK
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder
from neuron_explainer.models.autoencoders.openai_files import autoencoder_from_state_dict


def two_by_three(activation: LatentActivation, **others: Any) -> Autoencoder:
    return Autoencoder(
        encoder_weight=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        decoder_weight=torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]),
        pre_bias=torch.tensor([1.0, 2.0]),
        latent_bias=torch.tensor([0.0, 0.5, -4.0]),
        activation=activation,
        **others,
    )


X = torch.tensor([[3.0, 1.0], [0.0, 6.0]])
# x - pre_bias = (2, -1) and (-1, 4); pre-activations (2, -0.5, -3) and (-1, 4.5, -1)


@pytest.mark.parametrize(
    ("activation", "latents"),
    [
        (ReLU(), [[2.0, 0.0, 0.0], [0.0, 4.5, 0.0]]),
        (Identity(), [[2.0, -0.5, -3.0], [-1.0, 4.5, -1.0]]),
        (TopK(2), [[2.0, 0.0, 0.0], [0.0, 4.5, 0.0]]),
        (TopK(2, relu=False), [[2.0, -0.5, 0.0], [0.0, 4.5, -1.0]]),
        (TopK(1, relu=False, by_magnitude=True), [[0.0, 0.0, -3.0], [0.0, 4.5, 0.0]]),
        (TopK(9, relu=False), [[2.0, -0.5, -3.0], [-1.0, 4.5, -1.0]]),
        (JumpReLU(torch.tensor([2.0, 4.0, -5.0])), [[0.0, 0.0, 0.0], [0.0, 4.5, 0.0]]),
    ],
)
def test_latents_by_hand(activation: LatentActivation, latents: list[list[float]]) -> None:
    autoencoder = two_by_three(activation)
    expected = torch.tensor(latents)
    if isinstance(activation, TopK) and activation == TopK(2, relu=False):
        # the second token's -1 stands twice; either of the two is among its two largest
        assert (autoencoder.encode(X)[1] != 0).sum() == 2
        torch.testing.assert_close(autoencoder.encode(X)[0], expected[0])
        return
    torch.testing.assert_close(autoencoder.encode(X), expected)
    torch.testing.assert_close(autoencoder.encode(X, slice(1, 3)), expected[:, 1:3])


def test_pre_activations_and_reconstruction_by_hand() -> None:
    autoencoder = two_by_three(ReLU())
    torch.testing.assert_close(autoencoder.pre_activations(X), torch.tensor([[2.0, -0.5, -3.0], [-1.0, 4.5, -1.0]]))
    torch.testing.assert_close(autoencoder.pre_activations(X, slice(2, 3)), torch.tensor([[-3.0], [-1.0]]))
    # decoded: 2 * (1, 0) and 4.5 * (0, 1), plus pre_bias
    torch.testing.assert_close(autoencoder.reconstruct(X), torch.tensor([[3.0, 2.0], [1.0, 6.5]]))
    with_output_bias = two_by_three(ReLU(), output_bias=torch.tensor([10.0, 20.0]))
    torch.testing.assert_close(with_output_bias.reconstruct(X), torch.tensor([[12.0, 20.0], [10.0, 24.5]]))
    torch.testing.assert_close(autoencoder.write_rows, torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]))


def test_input_scaling_by_hand() -> None:
    x = torch.tensor([[1.0, 5.0]])  # mean 3, standard deviation sqrt(8), root mean square sqrt(13)
    layer_norm = InputScaling.LAYER_NORM.of(x)
    torch.testing.assert_close(layer_norm.shift, torch.tensor([[3.0]]))
    torch.testing.assert_close(layer_norm.divisor, torch.tensor([[8**0.5 + 1e-5]]))
    torch.testing.assert_close(layer_norm.multiplier, torch.tensor([[8**0.5]]))
    torch.testing.assert_close(InputScaling.UNIT_MEAN_SQUARE.of(x).divisor, torch.tensor([[13**0.5]]))
    for scaling in InputScaling:
        autoencoder = Autoencoder(
            torch.eye(2), torch.eye(2), torch.zeros(2), torch.zeros(2), Identity(), input_scaling=scaling
        )
        torch.testing.assert_close(autoencoder.reconstruct(x), x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            autoencoder.decode(torch.tensor([[1.0, 0.0]]), x) - autoencoder.decode(torch.zeros(1, 2), x),
            torch.tensor([[1.0, 0.0]]) * autoencoder.token_multiplier(x),
        )
        if scaling is not InputScaling.NONE:
            with pytest.raises(InvalidRequestError, match="needs the inputs"):
                autoencoder.decode(autoencoder.encode(x))


def test_gradients_reach_the_inputs_and_never_the_weights() -> None:
    weights = {name: tensor.requires_grad_() for name, tensor in state_dict().items()}
    autoencoder = autoencoder_from_state_dict(weights)
    x = torch.randn(3, N_INPUTS, requires_grad=True)
    autoencoder.reconstruct(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(tensor.grad is None for tensor in weights.values())


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="trained on 2 numbers per token; the inputs have 3"):
        two_by_three(ReLU()).encode(torch.zeros(1, 3))


def test_a_half_precision_input_is_encoded_in_the_weights_type() -> None:
    autoencoder = two_by_three(ReLU())
    assert autoencoder.encode(X.half()).dtype is torch.float32
    assert autoencoder.to(dtype=torch.float64).encode(X).dtype is torch.float64


def test_top_k_state_dicts_of_2024_normalise_their_inputs() -> None:
    """By OpenAI's formula: (x - mean) / (std + 1e-5), decoded * std + mean."""
    raw = state_dict(activation="TopK", activation_state_dict={"k": 2, "postact_fn": "ReLU"})
    autoencoder = autoencoder_from_state_dict(raw)
    x = torch.randn(5, N_INPUTS, generator=torch.Generator().manual_seed(3))
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
    before = ((x - mean) / (std + 1e-5) - raw["pre_bias"]) @ raw["encoder.weight"].T + raw["latent_bias"]
    kept = torch.zeros_like(before)
    for token in range(5):
        for latent in before[token].argsort(descending=True)[:2]:
            kept[token, latent] = max(before[token, latent].item(), 0.0)
    torch.testing.assert_close(autoencoder.encode(x), kept)
    decoded = (kept @ raw["decoder.weight"].T + raw["pre_bias"]) * std + mean
    torch.testing.assert_close(autoencoder.reconstruct(x), decoded)
    assert "layer-normed" in autoencoder.applied[0]


def test_state_dicts_say_their_activation() -> None:
    assert isinstance(autoencoder_from_state_dict(state_dict()).activation, ReLU)
    assert isinstance(autoencoder_from_state_dict(state_dict(activation="Identity")).activation, Identity)
    k = torch.tensor(3)
    settings: dict[str, Any] = {"activation": "TopK", "activation_state_dict": {"k": k, "postact_fn": "Identity"}}
    assert autoencoder_from_state_dict(state_dict(**settings)).activation == TopK(3, relu=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.weight": None}, "'encoder.weight' is missing"),
        ({"decoder.weight": None}, "'decoder.weight' is missing"),
        ({"latent_bias": torch.zeros(5)}, r"latent_bias must be \(6,\), not \(5,\)"),
        ({"decoder.weight": torch.zeros(6, 4)}, r"decoder_weight must be \(4, 6\)"),
        ({"encoder.weight": torch.zeros(6)}, "must be a floating-point matrix"),
        ({"pre_bias": torch.zeros(4, dtype=torch.int64)}, "must be a floating-point vector"),
        ({"pre_bias": torch.tensor([0.0, float("nan"), 0.0, 0.0])}, "pre_bias holds NaN or infinity"),
        ({"surprise": torch.zeros(1)}, "the entries .'surprise'. do not belong"),
        ({"activation": "Sigmoid"}, "activation function 'Sigmoid' is not supported"),
        ({"activation": "TopK"}, "TopK needs 'activation_state_dict'"),
        ({"activation": "TopK", "activation_state_dict": {"k": 0}}, "TopK autoencoder is 0"),
        ({"activation": "TopK", "activation_state_dict": {"k": 2, "postact_fn": "eval"}}, "postact_fn 'eval'"),
    ],
)
def test_malformed_state_dicts_are_refused(change: dict[str, Any], message: str) -> None:
    changed = {name: value for name, value in (state_dict() | change).items() if value is not None}
    with pytest.raises(AutoencoderFormatError, match=message):
        autoencoder_from_state_dict(changed)


def test_a_tied_decoder_is_the_encoder_transposed() -> None:
    raw = state_dict()
    encoder = raw["encoder.weight"]
    raw["decoder.linear.weight"] = raw["encoder.weight"]
    del raw["decoder.weight"]
    torch.testing.assert_close(autoencoder_from_state_dict(raw).decoder_weight, encoder.T)


def test_dead_latents_are_left_out_and_the_others_keep_their_numbers() -> None:
    raw = state_dict(stats_last_nonzero=torch.tensor([0, 100, 3, 77, 76, 10**6]))
    whole = autoencoder_from_state_dict(raw)
    alive = whole.without_dead_latents(76)
    assert alive.latent_indices is not None
    assert alive.latent_indices.tolist() == [0, 2, 4]
    x = torch.randn(5, N_INPUTS)
    torch.testing.assert_close(alive.encode(x), whole.encode(x)[:, [0, 2, 4]])
    assert alive.without_dead_latents(1).latent_indices.tolist() == [0]  # type: ignore[union-attr]
    with pytest.raises(AutoencoderFormatError, match="no stats_last_nonzero"):
        autoencoder_from_state_dict(state_dict()).without_dead_latents(76)
    with pytest.raises(AutoencoderFormatError, match="All 6 latents"):
        whole.without_dead_latents(-1)


# Files


@pytest.mark.parametrize("wrap", ["module.", "_orig_mod.", "module._orig_mod.", "state_dict", "model_state_dict"])
def test_names_and_nesting_that_say_nothing_are_seen_through(tmp_path: Path, wrap: str) -> None:
    plain = state_dict()
    is_prefix = wrap.endswith(".")
    wrapped = {f"{wrap}{name}": value for name, value in plain.items()} if is_prefix else {wrap: plain}
    torch.save(wrapped, tmp_path / "wrapped.pt")
    inputs = torch.randn(4, plain["pre_bias"].shape[0], generator=torch.Generator().manual_seed(0))
    expected = autoencoder_from_state_dict(plain).encode(inputs)
    for source in (wrapped, tmp_path / "wrapped.pt"):
        torch.testing.assert_close(load_autoencoder(source, "cpu")[0].encode(inputs), expected)


def test_a_state_dict_beside_other_entries_is_pointed_out(tmp_path: Path) -> None:
    torch.save({"state_dict": state_dict(), "normalize": True}, tmp_path / "training.pt")
    with pytest.raises(AutoencoderFormatError, match=r"the entry 'state_dict' looks like .*'normalize'"):
        load_autoencoder(tmp_path / "training.pt", "cpu")
