"""TransformerLens' names of hooks, as names of places: `blocks.5.mlp.hook_post` is MLP_POST_ACT of layer 5."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
RESID_PRE = "hook_resid_pre"
"""The residual stream that a layer reads: here a place of the layer before it, or of the embedding."""

PLACE_BY_HOOK: dict[str, ActivationLocationType] = {
    RESID_PRE: _PLACE.RESID_POST_MLP,
    "hook_resid_mid": _PLACE.RESID_POST_ATTN,
    "hook_resid_post": _PLACE.RESID_POST_MLP,
    "hook_attn_out": _PLACE.RESID_DELTA_ATTN,
    "hook_mlp_out": _PLACE.RESID_DELTA_MLP,
    "ln1.hook_scale": _PLACE.ATTN_INPUT_LAYER_NORM_SCALE,
    "ln1.hook_normalized": _PLACE.RESID_POST_MLP_LAYER_NORM,
    "ln2.hook_scale": _PLACE.MLP_INPUT_LAYER_NORM_SCALE,
    "ln2.hook_normalized": _PLACE.RESID_POST_ATTN_LAYER_NORM,
    "attn.hook_q": _PLACE.ATTN_QUERY,
    "attn.hook_k": _PLACE.ATTN_KEY,
    "attn.hook_v": _PLACE.ATTN_VALUE,
    "attn.hook_rot_q": _PLACE.ATTN_QUERY,
    "attn.hook_rot_k": _PLACE.ATTN_KEY,
    "attn.hook_attn_scores": _PLACE.ATTN_QK_LOGITS,
    "attn.hook_pattern": _PLACE.ATTN_QK_PROBS,
    "attn.hook_z": _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES,
    "mlp.hook_in": _PLACE.RESID_POST_ATTN_LAYER_NORM,
    "mlp.hook_pre": _PLACE.MLP_PRE_ACT,
    "mlp.hook_post": _PLACE.MLP_POST_ACT,
}
"""The places of the hooks of a layer, by their names within it."""

PLACE_BY_HOOK_WITHOUT_LAYER: dict[str, ActivationLocationType] = {
    "ln_final.hook_scale": _PLACE.RESID_FINAL_LAYER_NORM_SCALE,
    "ln_final.hook_normalized": _PLACE.RESID_POST_FINAL_LAYER_NORM,
    "unembed.hook_out": _PLACE.LOGITS,
}
"""The places of the hooks that a model has once."""

WHY_NO_PLACE: dict[str, str] = {
    "hook_embed": "blocks.0.hook_resid_pre is the sum of all embeddings",
    "hook_pos_embed": "blocks.0.hook_resid_pre is the sum of all embeddings",
    "hook_attn_in": "it is a copy that attention alone reads; hook_resid_pre is what was copied",
    "hook_mlp_in": "it is a copy that the MLP alone reads; hook_resid_mid is what was copied",
    "hook_q_input": "hook_resid_pre is what was copied",
    "hook_k_input": "hook_resid_pre is what was copied",
    "hook_v_input": "hook_resid_pre is what was copied",
    "attn.hook_result": "derive attn_write instead",
    "mlp.hook_pre_linear": "mlp.hook_pre is the gate, and mlp.hook_post its product with this",
}
"""What to do instead, for hooks that have no place here."""

_IN_A_LAYER = re.compile(r"blocks\.(\d{1,6})\.(.{1,100})")
_OF_THE_MODEL = re.compile(r"(ln_final|unembed|embed|pos_embed)\.hook_\w+|hook_\w+")


def layer_and_hook(name: object) -> tuple[int, str] | tuple[None, str]:
    """The parts of `blocks.{layer}.{hook}`; (None, "") for all else.

    >>> layer_and_hook("blocks.3.mlp.hook_post")
    (3, 'mlp.hook_post')
    """
    match = _IN_A_LAYER.fullmatch(name) if isinstance(name, str) else None
    return (None, "") if match is None else (int(match[1]), match[2])


@dataclass(frozen=True)
class HookPlace:
    """The place that a hook is.

    Attributes:
        place: the place.
        layer: its layer; None for a place that a model has once.
        hook_layer: the layer in the hook's name: one more than `layer` for `hook_resid_pre`; None if it has none.
    """

    place: ActivationLocationType
    layer: int | None
    hook_layer: int | None


def hook_place(name: object) -> HookPlace | None:
    """The place of a hook of TransformerLens; None for what is not the name of a hook.

    Raises:
        UnknownNameError: it looks like the name of a hook, and none that has a place here is called so.

    >>> hook_place("blocks.5.hook_resid_pre")
    HookPlace(place=<ActivationLocationType.RESID_POST_MLP: 'resid.post_mlp'>, layer=4, hook_layer=5)
    """
    if not isinstance(name, str):
        return None
    layer, hook = layer_and_hook(name)
    if layer is None and not _OF_THE_MODEL.fullmatch(name):
        return None
    place = PLACE_BY_HOOK_WITHOUT_LAYER.get(name) if layer is None else PLACE_BY_HOOK.get(hook)
    if place is None:
        known = [*(f"blocks.{layer or 0}.{each}" for each in PLACE_BY_HOOK), *PLACE_BY_HOOK_WITHOUT_LAYER]
        why = WHY_NO_PLACE.get(hook or name)
        raise UnknownNameError("hook", name, known, "" if why is None else f"It has no place here: {why}.")
    if hook != RESID_PRE or layer is None:
        return HookPlace(place, layer, layer)
    return HookPlace(place, layer - 1, layer) if layer else HookPlace(_PLACE.RESID_POST_EMBEDDING, None, 0)


def place_named(asked: object) -> ActivationLocationType:
    """The place that a member, its name or value, or the name of a hook of any layer stands for.

    Raises:
        UnknownNameError: none is called so; the error names the nearest ones.
    """
    hook = hook_place(asked)
    return member_of(ActivationLocationType, asked, "place") if hook is None else hook.place


def place_and_layer(asked: object, layer: Any) -> tuple[ActivationLocationType, Any]:
    """The place and the layer of a request. The name of a hook carries its layer; other places keep `layer` as it is.

    Args:
        asked: a member, its name or value, or the name of a hook.
        layer: what was given beside it; None if nothing was.

    Raises:
        UnknownNameError: no place is called so.
        InvalidRequestError: `layer` is another one than the hook's.

    >>> place_and_layer("blocks.5.hook_resid_pre", None)
    (<ActivationLocationType.RESID_POST_MLP: 'resid.post_mlp'>, 4)
    """
    hook = hook_place(asked)
    if hook is None:
        return member_of(ActivationLocationType, asked, "place"), layer
    given = list(layer) if isinstance(layer, Iterable) and whole_number(layer) is None else [layer]
    if layer is not None and [whole_number(each) for each in given] != [hook.hook_layer]:
        which = "has no layers" if hook.hook_layer is None else f"is of layer {hook.hook_layer}"
        raise InvalidRequestError(f"{asked} {which}, but the layer given is {shown(layer)}. Leave it out.")
    return hook.place, hook.layer
