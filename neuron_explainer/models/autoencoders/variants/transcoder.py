"""Transcoders: latents that read what an MLP reads, and predict what it writes."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.vocabulary.named_members import member_of


class TranscoderInput(StrEnum):
    """Where on the way from the residual stream to the MLP a transcoder reads: a hook of TransformerLens in a layer."""

    RESIDUAL = "hook_mlp_in"
    """The residual stream, before the MLP's norm."""
    NORMALISED = "ln2.hook_normalized"
    """Within the norm, before its gain and bias. (In TransformerLens 2 it came after those of a LayerNorm, unless the
    model was loaded with fold_ln. For a transcoder of that kind, set NORMED.)"""
    NORMED = "mlp.hook_in"
    """What enters the MLP: after the norm with its gain, unless the model was loaded with fold_ln."""


@dataclass(frozen=True, eq=False, repr=False)
class Transcoder(Autoencoder):
    """lat = act(W_enc x + latent_bias); output = W_dec lat + output_bias (+ W_skip x).

    x is what the MLP reads, and the output predicts what it adds to the residual stream. `pre_bias` is zero.
    `input_scaling` is applied to x before encoding; nothing is undone, because the output is of another place.

    Attributes:
        skip_weight: a linear map from x straight to the output; None for most transcoders.
        reads: where x is; None if the file does not say it, or names a place that is not on the way to an MLP. Then the
            transcoder works on tensors, but not within a model.
        has_folded_norms: whether it was trained on a model whose norms' gains were part of the weights after them.
        centres_outputs: whether it predicts outputs minus their mean over channels, because it was trained on a model
            whose writing weights had been centred.
        predicts_before_post_norm: whether it predicts what the MLP gives before its post-norm, in models that have one.
    """

    __no_type_check__: ClassVar[bool] = True
    is_square: ClassVar[bool] = False

    skip_weight: Float[Tensor, "outputs inputs"] | None = None
    reads: TranscoderInput | None = None
    has_folded_norms: bool = False
    centres_outputs: bool = False
    predicts_before_post_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reads is not None:  # a hook's name is taken too
            object.__setattr__(self, "reads", member_of(TranscoderInput, self.reads, "input of a transcoder"))

    def decode(
        self, latents: Float[Tensor, "*batch latents"], inputs: Float[Tensor, "*batch inputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """The predicted output of the MLP.

        Raises:
            InvalidRequestError: there is a skip connection, and the inputs are not given.
        """
        output = torch.nn.functional.linear(latents.to(self.dtype), self.decoder_weight, self.output_bias)
        if self.skip_weight is None:
            return output
        if inputs is None:
            raise InvalidRequestError(
                "This transcoder has a skip connection, so decode(latents, inputs) needs the inputs."
            )
        return output + torch.nn.functional.linear(self._checked(inputs), self.skip_weight)

    def error(
        self,
        explained: Float[Tensor, "*batch outputs"],
        latents: Float[Tensor, "*batch latents"],
        inputs: Float[Tensor, "*batch inputs"],
    ) -> Float[Tensor, "*batch outputs"]:
        """The MLP's output (minus its mean over channels, if `centres_outputs`) minus the predicted one."""
        centred = explained - explained.mean(dim=-1, keepdim=True) if self.centres_outputs else explained
        return super().error(centred, latents, inputs)

    def token_multiplier(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch 1"]:
        """1: the scaling of the inputs is not undone."""
        return torch.ones_like(inputs[..., :1])

    def with_input_scaling(self, input_scaling: InputScaling | str) -> "Transcoder":
        """A copy with another input scaling.

        CENTER stands for a model whose writing weights had been centred: its outputs are centred too, and inputs after
        a LayerNorm are the same as without it.

        Raises:
            UnknownNameError: `input_scaling` is not the name of a scaling.
        """
        scaling = member_of(InputScaling, input_scaling, "input scaling")
        if scaling is not InputScaling.CENTER:
            return cast(Transcoder, super().with_input_scaling(scaling))
        centres_inputs = self.input_scaling is InputScaling.NONE and self.reads is TranscoderInput.RESIDUAL
        return replace(
            self,
            input_scaling=scaling if centres_inputs else self.input_scaling,
            centres_outputs=True,
            applied=(
                *self.applied,
                f"{'inputs and outputs are' if centres_inputs else 'outputs are'} taken minus their mean over "
                "channels, as in a model whose writing weights had been centred (center_writing_weights)",
            ),
        )

    def __repr__(self) -> str:
        skip = ", with a skip connection" if self.skip_weight is not None else ""
        reads = f", reads {self.reads.value}" if self.reads is not None else ""
        applied = f", applied: {'; '.join(self.applied)}" if self.applied else ""
        return (
            f"Transcoder({self.n_inputs} inputs, {self.n_latents} latents, {self.n_outputs} outputs{skip}"
            f"{reads}, {type(self.activation).__name__}, {self.dtype}, {self.device}{applied})"
        )
