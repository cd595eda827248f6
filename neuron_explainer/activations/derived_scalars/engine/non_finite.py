"""A warning where results are infinite or NaN: what overflowed first, and what to do."""

from collections.abc import Iterable, Mapping, Sequence

import torch

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.passes import interventions_of
from neuron_explainer.activations.derived_scalars.engine.requests import bound_of_prompts
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import PlaceAndLayer, name_of
from neuron_explainer.models.layers.routed import Neurons, values_of
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.notices import NonFiniteWarning, warn
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.wording import number_ranges

_PLACES = [place for place in ActivationLocationType if not place.is_online_autoencoder_place]
_INFINITE_WHERE_MASKED = {ActivationLocationType.ATTN_QK_LOGITS}

Results = Mapping[tuple[DerivedScalarType, PassType], Mapping[int | None, Neurons]]


def warn_of_non_finite(results: Sequence[Results], bound: BoundConfig, prompts: Sequence[Sequence[int]]) -> None:
    """Warn if results have numbers that are infinite or NaN.

    The model then runs once more, to find the first place where they appear. Logits of attention are -inf where a token
    may not attend; that is as it should be.

    Args:
        results: for each prompt, tensors by type, pass and layer.
        bound: what they were derived with: the model, ablations, and autoencoders that ran within the pass.
        prompts: the token ids of each prompt.
    """
    keys = [
        (number, key, layer)
        for number, of_prompt in enumerate(results)
        for key, by_layer in of_prompt.items()
        for layer in by_layer
    ]
    are_finite = _are_finite((results[number][key][layer], key[0].raw_place) for number, key, layer in keys)
    bad = [key for key, is_finite in zip(keys, are_finite, strict=True) if not is_finite]
    if not bad:
        return
    number = bad[0][0]
    of_prompt = "" if len(prompts) == 1 else f" of prompt {number}"
    where = where_non_finite(bound_of_prompts(bound, [number]), prompts[number])
    warn(f"{_names(bad, number)}{of_prompt}: some numbers are infinite or NaN. {where}", NonFiniteWarning)


def where_non_finite(bound: BoundConfig, prompt: Sequence[int]) -> str:
    """Where numbers that are infinite or NaN appear first, and what to do, in words. The model runs once more."""
    model = bound.model
    first = first_non_finite(model, prompt, interventions_of(bound))
    where = (
        f"The first appear at {name_of(*first)}"
        if first is not None
        else "Every activation of the model is finite; they appear where these are computed"
    )
    remedy = " Load the model with dtype=torch.bfloat16 or torch.float32." if model.dtype == torch.float16 else ""
    return f"{where}, in {str(model.dtype).removeprefix('torch.')}.{remedy}"


def first_non_finite(
    model: Transformer, prompt: Sequence[int], hooks: Sequence[Intervention] = ()
) -> PlaceAndLayer | None:
    """The first place of a forward pass, in the order of computation, with a number that is infinite or NaN."""
    recording = model.recording(_PLACES)
    model(torch.tensor([prompt], dtype=torch.long, device=model.device), hooks=[*hooks, recording])
    keys = list(recording)
    are_finite = _are_finite((recording.kept(key), key[0]) for key in keys)
    return next((key for key, is_finite in zip(keys, are_finite, strict=True) if not is_finite), None)


def _are_finite(tensors: Iterable[tuple[Neurons, ActivationLocationType | None]]) -> list[bool]:
    """Whether each tensor is finite, with one wait for the GPU."""
    extremes = []
    for numbers, place in tensors:
        tensor = values_of(numbers)
        if tensor.numel() == 0 or not tensor.is_floating_point():
            extremes.append(torch.ones((), dtype=torch.bool, device=tensor.device))
            continue
        lowest, highest = torch.aminmax(tensor)  # NaN if any number is
        extremes.append(highest.isfinite() & (lowest.isfinite() | (place in _INFINITE_WHERE_MASKED)))
    return torch.stack(extremes).tolist() if extremes else []


def _names(bad: Iterable[tuple[int, tuple[DerivedScalarType, PassType], int | None]], number: int) -> str:
    layers: dict[str, list[int | None]] = {}
    for of_prompt, (dst, pass_type), layer in bad:
        if of_prompt == number:
            name = dst.value if pass_type is PassType.FORWARD else f"the gradient of {dst.value}"
            layers.setdefault(name, []).append(layer)
    return "; ".join(
        name if None in found else f"{name} (layers {number_ranges(layer for layer in found if layer is not None)})"
        for name, found in layers.items()
    )
