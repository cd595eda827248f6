"""Tensors, other prompts' activations and means to overwrite activations with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.means import bound_at, component_means, mean_activations
from neuron_explainer.activations.derived_scalars.ablating.recorded import recorded_at
from neuron_explainer.activations.derived_scalars.ablating.reference_texts import Reference
from neuron_explainer.activations.derived_scalars.ablations import (
    AblationSpec,
    check_has_mean,
    check_index_and_tokens,
)
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
from neuron_explainer.activations.derived_scalars.engine.prompts import read_prompt
from neuron_explainer.activations.derived_scalars.index_fields import check_position, whole_axis
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex
from neuron_explainer.errors import InvalidIndexError, InvalidRequestError, shown
from neuron_explainer.models.chats.messages import Chat
from neuron_explainer.models.devices import is_plain_float
from neuron_explainer.models.layers.token_checks import int64_on_cpu
from neuron_explainer.vocabulary.checks import checked_number, checked_type
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


@dataclass(frozen=True, eq=False, repr=False)
class TensorAblation:
    """A tensor to write over activations while the model runs, or over gradients if the index is BACKWARD.

    It is taken wherever AblationSpec is. `AblationSpec` has a JSON form; this has none.

    Attributes:
        index: what is overwritten.
        values: the numbers, in the order of the axes that the index names as a whole (where `tokens` is given, with an
            entry for each of them in the token axis's place). Axes of length 1, and missing first axes, stand for all.
        tokens: as AblationSpec's.
        n_tokens: how many tokens the prompt must have; None for any number that fits.

    Raises:
        InvalidIndexError: `index` or `tokens` are wrong, as for AblationSpec.
        InvalidRequestError: `values` is not a tensor of floating point with finite numbers, or has more axes than the
            index names as a whole. (Logits of attention may be -inf, where a token may not attend.)

    >>> index = ActivationIndex("mlp.post_act", 1, ("All", 131))
    >>> TensorAblation(index, torch.tensor([0.5, 0.0, 1.5]))
    TensorAblation(ActivationIndex('mlp.post_act', 1, ('All', 131)), <tensor of shape (3,)>)
    """

    index: ActivationIndex
    values: Float[Tensor, ...]
    tokens: tuple[int, ...] | None = None
    n_tokens: int | None = None

    # Fields are checked and converted here, as those of indices are.
    __no_type_check__: ClassVar[bool] = True

    if TYPE_CHECKING:

        def __init__(
            self,
            index: ActivationIndex,
            values: Tensor | np.ndarray[Any, np.dtype[Any]],
            tokens: Iterable[SupportsIndex] | None = None,
            n_tokens: SupportsIndex | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_index_and_tokens(self)
        if self.n_tokens is not None:
            object.__setattr__(self, "n_tokens", checked_number("n_tokens", self.n_tokens))
        given = torch.from_numpy(self.values) if isinstance(self.values, np.ndarray) else self.values
        if not isinstance(given, Tensor):
            raise InvalidRequestError(
                f"TensorAblation: values must be a tensor, not {shown(given)}. For one number use AblationSpec."
            )
        if not is_plain_float(given):
            raise InvalidRequestError(
                f"TensorAblation: values are of dtype {str(given.dtype).removeprefix('torch.')}; give numbers of "
                "floating point, with 16 bits or more."
            )
        n_named = sum(map(whole_axis, self.index.tensor_indices))
        if given.ndim > n_named:
            raise InvalidRequestError(
                f"TensorAblation: values have the shape {tuple(given.shape)}, but {self.index!r} names {n_named} "
                f"whole ax{'i' if n_named == 1 else 'e'}s."
            )
        values = given.detach().clone()
        can_be_masked = self.index.activation_location_type is ActivationLocationType.ATTN_QK_LOGITS
        if not bool((values.isfinite() | (values.isneginf() & can_be_masked)).all()):
            raise InvalidRequestError(
                f"TensorAblation: values for {self.index!r} hold numbers that are infinite or NaN."
            )
        object.__setattr__(self, "values", values)

    @classmethod
    @torch.inference_mode(mode=False)
    def from_prompt(
        cls,
        index: ActivationIndex,
        model: ConfigOrModel,
        prompt: str | Chat | Sequence[int] | Tensor,
        tokens: Iterable[SupportsIndex] | None = None,
        *,
        prepend_bos: bool | None = None,
    ) -> TensorAblation:
        """The activations at the same place in another prompt, which must have as many tokens.

        Args:
            index: what is overwritten, and where it is read.
            model: the model; or, for places of autoencoders, a DstConfig with both.
            prompt: the other prompt: a text, a chat or token ids.
            tokens: as AblationSpec's.
            prepend_bos: as for `derive`.

        Raises:
            InvalidIndexError: `index` is of a gradient; or as for TensorAblation.
            IndexOutOfRangeError: the model or the prompt does not have what the index names.
            PromptError: the prompt is wrong, as for `derive`. (`derive` checks that the two prompts are equally long.)

        >>> import neuron_explainer as ne
        >>> model, index = ne.load_model("tiny"), ne.ActivationIndex("resid_post_mlp", 1, ("All", "All"))
        >>> patch = ne.TensorAblation.from_prompt(index, model, [5, 17, 3])
        >>> patch.values.shape
        torch.Size([3, 128])
        """
        spec = AblationSpec(index, 0.0, tokens)
        if index.pass_type is PassType.BACKWARD:
            raise InvalidIndexError(f"{index!r} is a gradient; from_prompt takes activations. Give a tensor.")
        bound = bound_at(model, index)
        read = read_prompt(bound.config.get_model_context(), prompt, prepend_bos)
        n_tokens = len(read.token_ids)
        (ablation,) = bound.ablations
        ablation.check_prompts([n_tokens], bound.model.config.n_layers)
        for token in spec.tokens or ():
            check_position(token, n_tokens, index.dimensions[0], index)
        key = index.activation_location_type, index.layer_index
        values = recorded_at(bound, [key], int64_on_cpu([read.token_ids]))[key][0][index.slices]
        return cls(index, values if spec.tokens is None else values[list(spec.tokens)], spec.tokens, n_tokens)

    @classmethod
    def mean(
        cls,
        index: ActivationIndex,
        model: ConfigOrModel,
        reference: Reference | None = None,
        tokens: Iterable[SupportsIndex] | None = None,
    ) -> TensorAblation:
        """Each component's mean activation over the tokens of texts, written at every token.

        A text's beginning-of-sequence token, where the model's tokenizer puts one before texts, is left out.

        Args:
            index: what is overwritten.
            model: the model; or, for places of autoencoders, a DstConfig with both.
            reference: a text, a chat or token ids, or several, cut to the model's context. None: the beginnings (128
                tokens) of 16 texts that come with this library.
            tokens: as AblationSpec's.

        Raises:
            InvalidIndexError: the mean would be of gradients or of pairs of tokens; or as for TensorAblation.
            IndexOutOfRangeError: the model does not have what the index names.
            InvalidRequestError: `reference` is empty or malformed.

        >>> import neuron_explainer as ne
        >>> index = ne.ActivationIndex("mlp_post_act", 1, ("All", 131))
        >>> ne.TensorAblation.mean(index, ne.load_model("tiny"), "Once upon a time").values.shape
        torch.Size([])
        """
        check_has_mean(checked_type("index", index, ActivationIndex, InvalidIndexError))
        key = index.activation_location_type, index.layer_index
        with torch.inference_mode(mode=False):
            means = mean_activations(bound_at(model, index), [key], reference)
        return cls(index, component_means(index, means[key]), tokens)

    def __repr__(self) -> str:
        tokens = "" if self.tokens is None else f", tokens={self.tokens}"
        n_tokens = "" if self.n_tokens is None else f", n_tokens={self.n_tokens}"
        return f"TensorAblation({self.index!r}, <tensor of shape {tuple(self.values.shape)}>{tokens}{n_tokens})"


Ablation = AblationSpec | TensorAblation
"""What overwrites activations or gradients while the model runs."""
