"""The tensors of an answer's passes by name, and back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.activations.derived_scalars.store.files import by_name, from_names
from neuron_explainer.attribution.computing.attention_parts import AttentionParts
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.embedding_parts import EmbeddingParts
from neuron_explainer.attribution.computing.latent_parts import LatentParts, LatentScale
from neuron_explainer.attribution.computing.mlp_parts import MlpParts
from neuron_explainer.attribution.files.layout import SavedPass
from neuron_explainer.models.layers.routed import Neurons
from neuron_explainer.vocabulary.nodes import NodeType

T = TypeVar("T")
_MAY_LACK = {EmbeddingParts: {"positions"}, LatentScale: {"gain", "factor"}}


def tensors_of(effects: Effects) -> dict[str, Neurons]:
    """The tensors of one pass, by name."""
    named: dict[str, Neurons] = {f"store|{name}": tensor for name, tensor in by_name(effects.store.kept).items()}
    named["directions"] = effects.directions
    if effects.logits is not None:
        named["logits"] = effects.logits
    if effects.embedding is not None:
        named.update(_fields_of("embedding", effects.embedding))
    for layer, attention in effects.attention.items():
        named.update(_fields_of(f"attention|{layer}", attention))
    for layer, mlp in effects.mlp.items():
        named.update(_fields_of(f"mlp|{layer}", mlp))
    for (kind, layer), latents in effects.latents.items():
        named.update(_fields_of(f"latents|{kind.value}|{layer}", latents))
    for (kind, layer), scale in effects.latent_scales.items():
        named.update(_fields_of(f"scale|{kind.value}|{layer}", scale))
    return named


def _fields_of(prefix: str, parts: Any) -> Iterator[tuple[str, Neurons]]:
    for each in fields(parts):
        tensor = getattr(parts, each.name)
        if tensor is not None:
            yield f"{prefix}|{each.name}", tensor


def effects_from(saved: SavedPass, named: Mapping[str, Neurons], model_name: str | None) -> Effects:
    """One pass, from its numbers and from its tensors by name. Shapes are checked elsewhere.

    Raises:
        ValueError, KeyError: there are other tensors than a pass has.
    """
    sections: dict[str, dict[str, Neurons]] = {}
    for name, tensor in named.items():
        section, _, rest = name.partition("|")
        sections.setdefault(section, {})[rest] = tensor
    prompt = Prompt(saved.token_ids, saved.tokens, saved.n_beginning)
    store = DerivedScalarStore(
        from_names(sections.pop("store", {})),
        prompt.token_strings,
        prompt.token_ids,
        loss=saved.value,
        model_name=model_name,
        n_beginning=prompt.n_beginning,
    )
    embedding = _by_place(EmbeddingParts, {f"|{rest}": each for rest, each in sections.pop("embedding", {}).items()})
    attention = _by_place(AttentionParts, sections.pop("attention", {}))
    mlp = _by_place(MlpParts, sections.pop("mlp", {}))
    latents = _by_place(LatentParts, sections.pop("latents", {}))
    scale_places = [f"{kind}|{layer}" for kind, layer in saved.latent_scales]
    scales = _by_place(LatentScale, sections.pop("scale", {}), scale_places)
    directions, logits = (sections.pop(name, {}).get("") for name in ("directions", "logits"))
    if sections or not isinstance(directions, Tensor) or not isinstance(logits, Tensor | None):
        raise ValueError(f"its tensors are not those of an answer: {', '.join(sections) or 'directions'}")
    return Effects(
        prompt=prompt,
        store=store,
        rows=tuple(saved.rows),
        value=saved.value,
        linear_value=saved.linear_value,
        capped_value=saved.capped_value,
        constants=saved.constants,
        directions=directions,
        embedding=embedding.get(""),
        attention={int(layer): parts for layer, parts in attention.items()},
        mlp={int(layer): parts for layer, parts in mlp.items()},
        latents={_kind_and_layer(place): parts for place, parts in latents.items()},
        latent_scales={_kind_and_layer(place): parts for place, parts in scales.items()},
        logits=logits,
        logits_softcap=saved.logits_softcap,
    )


def _by_place(kind: type[T], named: Mapping[str, Neurons], places: Collection[str] = ()) -> dict[str, T]:
    """Parts by where they are, from tensors whose names end in a field of them."""
    given: dict[str, dict[str, Any]] = {place: {} for place in places}
    for name, tensor in named.items():
        place, _, field = name.rpartition("|")
        given.setdefault(place, {})[field] = tensor
    needed = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    may_lack = _MAY_LACK.get(kind, set())
    for place, own in given.items():
        if not needed - may_lack <= own.keys() <= needed:
            raise ValueError(f"it has {', '.join(own) or 'nothing'} of {kind.__name__} {place}")
    return {place: kind(**{**dict.fromkeys(may_lack), **own}) for place, own in given.items()}


def _kind_and_layer(place: str) -> tuple[NodeType, int]:
    kind, layer = place.split("|")
    return NodeType(kind), int(layer)
