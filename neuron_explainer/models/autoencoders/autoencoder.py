"""A sparse autoencoder: one layer's.

lat = act(W_enc (x - pre_bias) + latent_bias); recon = W_dec lat + pre_bias.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from neuron_explainer.errors import AutoencoderFormatError, InvalidRequestError
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import JumpReLU, LatentActivation, ReLU
from neuron_explainer.models.devices import common_dtype, differentiable
from neuron_explainer.vocabulary.named_members import member_of


@dataclass(frozen=True, eq=False, repr=False)
class Autoencoder:
    """One layer's autoencoder: its weights, `encode`, `decode` and `reconstruct`.

    Weights never require gradients; inputs may. Inputs are cast to the weights' dtype.

    >>> weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> autoencoder = Autoencoder(weight, weight.T, pre_bias=torch.zeros(2), latent_bias=torch.zeros(3))
    >>> latents = autoencoder.encode(torch.tensor([[-2.0, 3.0]]))
    >>> latents.tolist(), autoencoder.decode(latents).tolist()
    ([[0.0, 3.0, 2.0]], [[-2.0, 3.0]])

    Attributes:
        encoder_weight: one row per latent.
        decoder_weight: one column per latent, as saved.
        pre_bias: subtracted from the input; also added to the decoded latents if there is no `output_bias`.
        latent_bias: added to the pre-activations.
        activation: the activation function.
        output_bias: added to the decoded latents, if it is not `pre_bias`.
        input_scaling: applied to each token's input before encoding, undone after decoding.
        last_nonzero: how many training steps ago each latent was last active; None if the file does not say.
        latent_indices: the latents' numbers in the file; None if all were kept.
        applied: the settings that changed the weights when they were loaded, in words.

    Raises:
        AutoencoderFormatError: the shapes do not fit together, or a weight is not finite.
    """

    # The shapes are checked in __post_init__, with errors about the file; annotations need no second check.
    __no_type_check__: ClassVar[bool] = True
    is_square: ClassVar[bool] = True
    """Whether there are as many outputs as inputs; a transcoder's may be more or fewer."""

    encoder_weight: Float[Tensor, "latents inputs"]
    decoder_weight: Float[Tensor, "inputs latents"]
    pre_bias: Float[Tensor, " inputs"]
    latent_bias: Float[Tensor, " latents"]
    activation: LatentActivation = field(default_factory=ReLU)
    output_bias: Float[Tensor, " inputs"] | None = None
    input_scaling: InputScaling = InputScaling.NONE
    last_nonzero: Shaped[Tensor, " latents"] | None = None
    latent_indices: Shaped[Tensor, " latents"] | None = None
    applied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        latents, inputs = self.encoder_weight.shape
        outputs = inputs if self.is_square else self.decoder_weight.shape[0]
        expected = {
            "decoder_weight": (outputs, latents),
            "pre_bias": (inputs,),
            "latent_bias": (latents,),
            "output_bias": (outputs,),
            "skip_weight": (outputs, inputs),
            "last_nonzero": (latents,),
            "latent_indices": (latents,),
        }
        if isinstance(self.activation, JumpReLU) and self.activation.threshold.shape != (latents,):
            raise AutoencoderFormatError(
                f"The thresholds have shape {tuple(self.activation.threshold.shape)}; {latents} latents "
                f"need ({latents},)."
            )
        if isinstance(self.activation, JumpReLU) and not bool(torch.isfinite(self.activation.threshold).all()):
            raise AutoencoderFormatError("The thresholds hold NaN or infinity.")
        for name, shape in expected.items():
            tensor = getattr(self, name, None)
            if tensor is not None and tuple(tensor.shape) != shape:
                raise AutoencoderFormatError(
                    f"encoder_weight is (latents, inputs) = {(latents, inputs)}, so {name} must be {shape}, not "
                    f"{tuple(tensor.shape)}."
                )
        names = ("encoder_weight", "decoder_weight", "pre_bias", "latent_bias", "output_bias", "skip_weight")
        weights = {name: tensor.detach() for name in names if (tensor := getattr(self, name, None)) is not None}
        dtype = common_dtype(weights.values())
        for name, tensor in weights.items():
            if not bool(torch.isfinite(tensor).all()):
                raise AutoencoderFormatError(f"{name} holds NaN or infinity.")
            # A file may keep the matrices in half precision and the biases not; they are multiplied and added.
            object.__setattr__(self, name, differentiable(tensor.to(dtype)))

    @property
    def n_latents(self) -> int:
        """The number of latents."""
        return self.encoder_weight.shape[0]

    @property
    def n_inputs(self) -> int:
        """How many numbers it reads at each token."""
        return self.encoder_weight.shape[1]

    @property
    def n_outputs(self) -> int:
        """How many numbers its reconstruction has at each token: `n_inputs`, except of a transcoder."""
        return self.decoder_weight.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder_weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype, which is also the latents'."""
        return self.encoder_weight.dtype

    @property
    def scales_inputs(self) -> bool:
        """Whether each token's input is shifted or scaled. Then decoding needs the inputs."""
        return self.input_scaling is not InputScaling.NONE

    @property
    def write_rows(self) -> Float[Tensor, "latents inputs"]:
        """What one unit of each latent adds to the reconstruction: the decoder's columns, as rows (a view).

        If `scales_inputs`, it is multiplied by the token's `token_multiplier`.
        """
        return self.decoder_weight.T

    def pre_activations(
        self, inputs: Float[Tensor, "*batch inputs"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch kept_latents"]:
        """W_enc (x - pre_bias) + latent_bias, for all latents or a slice of them, with the scaled input as x.

        Raises:
            InvalidRequestError: the inputs do not have `n_inputs` numbers per token.
        """
        centred = self._scaled(self._checked(inputs)) - self.pre_bias
        return torch.nn.functional.linear(centred, self.encoder_weight[latents], self.latent_bias[latents])

    def encode(
        self, inputs: Float[Tensor, "*batch inputs"], latents: slice = slice(None)
    ) -> Float[Tensor, "*batch kept_latents"]:
        """The latents, or a slice of them; only the slice is computed if the activation function allows it.

        Raises:
            InvalidRequestError: the inputs do not have `n_inputs` numbers per token.
        """
        if self.activation.is_elementwise:
            return self.activation(self.pre_activations(inputs, latents), latents)
        return self.activation(self.pre_activations(inputs))[..., latents]

    def decode(
        self, latents: Float[Tensor, "*batch latents"], inputs: Float[Tensor, "*batch inputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """The reconstruction: W_dec lat + output bias.

        Args:
            latents: all latents, as `encode` gives them.
            inputs: the inputs that were encoded; needed if `scales_inputs`, to undo the scaling.

        Raises:
            InvalidRequestError: the inputs are needed and missing, or do not have `n_inputs` numbers per token.
        """
        bias = self.pre_bias if self.output_bias is None else self.output_bias
        decoded = torch.nn.functional.linear(latents.to(self.dtype), self.decoder_weight, bias)
        if not self.scales_inputs:
            return decoded
        if inputs is None:
            raise InvalidRequestError(
                f"This autoencoder scales each token's input ({self.input_scaling.value}), so decode(latents, inputs) "
                "needs the inputs that were encoded."
            )
        scaling = self.input_scaling.of(self._checked(inputs))
        return decoded * scaling.multiplier + scaling.shift

    def reconstruct(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The reconstruction of the inputs: decode(encode(x))."""
        return self.decode(self.encode(inputs), inputs)

    def error(
        self,
        explained: Float[Tensor, "*batch outputs"],
        latents: Float[Tensor, "*batch latents"],
        inputs: Float[Tensor, "*batch inputs"],
    ) -> Float[Tensor, "*batch outputs"]:
        """What the latents leave unexplained: `explained` minus the reconstruction, in the dtype of `explained`.

        Args:
            explained: what the reconstruction is to equal: the inputs; of a transcoder, what the MLP writes.
            latents: all latents.
            inputs: what was encoded.
        """
        return explained - self.decode(latents, inputs).to(explained.dtype)

    def token_multiplier(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch 1"]:
        """The factor of each token's decoded latents that undoes the input scaling; 1 without scaling."""
        return self.input_scaling.of(self._checked(inputs)).multiplier

    def without_dead_latents(self, dead_after: int) -> "Autoencoder":
        """A copy with only the latents that were active within the last `dead_after` training steps.

        Raises:
            AutoencoderFormatError: the file does not say when the latents were last active, or all are dead.
        """
        if self.last_nonzero is None:
            raise AutoencoderFormatError(
                "Dead latents cannot be omitted: this autoencoder has no stats_last_nonzero, the number of steps since "
                "each latent was active. Keep them all (omit_dead_latents=False)."
            )
        alive: Bool[Tensor, " latents"] = self.last_nonzero <= dead_after
        if not bool(alive.any()):
            raise AutoencoderFormatError(f"All {self.n_latents} latents were inactive for over {dead_after} steps.")
        numbers = (
            torch.arange(self.n_latents, dtype=torch.int64, device=self.device)
            if self.latent_indices is None
            else self.latent_indices
        )
        return replace(
            self,
            encoder_weight=self.encoder_weight[alive],
            decoder_weight=self.decoder_weight[:, alive],
            latent_bias=self.latent_bias[alive],
            activation=self.activation.keep(alive),
            last_nonzero=self.last_nonzero[alive],
            latent_indices=numbers[alive],
            applied=(*self.applied, f"dead latents are omitted: {int((~alive).sum())}"),
        )

    def with_input_scaling(self, input_scaling: InputScaling | str) -> "Autoencoder":
        """A copy with another input scaling: for what a file does not say about its training.

        Raises:
            UnknownNameError: `input_scaling` is not the name of a scaling.
        """
        scaling = member_of(InputScaling, input_scaling, "input scaling")
        return replace(
            self, input_scaling=scaling, applied=(*self.applied, f"input_scaling was given: {scaling.value}")
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Autoencoder":
        """A copy on another device, or with weights of another floating-point dtype."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

        tensors: dict[str, Any] = {name: move(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, activation=self.activation.moved(move), **tensors)

    def _checked(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch inputs"]:
        if inputs.shape[-1] != self.n_inputs:
            raise InvalidRequestError(
                f"This autoencoder was trained on {self.n_inputs} numbers per token; the inputs have "
                f"{inputs.shape[-1]}. Check that it belongs to this model and place."
            )
        return inputs.to(self.dtype)

    def _scaled(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch inputs"]:
        if not self.scales_inputs:
            return inputs
        scaling = self.input_scaling.of(inputs)
        return (inputs - scaling.shift) / scaling.divisor

    def __repr__(self) -> str:
        applied = f", applied: {'; '.join(self.applied)}" if self.applied else ""
        return (
            f"Autoencoder({self.n_inputs} inputs, {self.n_latents} latents, {type(self.activation).__name__}, "
            f"{self.dtype}, {self.device}{applied})"
        )
