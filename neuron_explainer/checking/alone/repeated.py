"""The same question asked in other ways: again, recorded, without padding, with a cache, in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from neuron_explainer.checking.comparison import finding_of, in_order, place_differences
from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.wording import in_a_sentence

_PLACE = ActivationLocationType
_OF_LAYERS = (_PLACE.RESID_POST_EMBEDDING, _PLACE.RESID_POST_ATTN, _PLACE.RESID_POST_MLP, _PLACE.LOGITS)

_N_TOKENS = 4
"""Of short prompts, where the length does not matter."""

_MOST_SECONDS = 60.0

Passes = dict[PlaceAndLayer, Tensor]


def everything(model: Transformer, probe: Probe) -> Passes:
    """The tensors of all places of a pass."""
    return _recorded(model, probe, tuple({place for place, _ in in_order(model.config.n_layers)}))


def repeatable(model: Transformer, probe: Probe, recorded: Passes) -> Iterator[Finding]:
    """Whether a second pass, without recordings, gives the same numbers.

    Args:
        model: the model.
        probe: the prompts.
        recorded: all places of the first pass.
    """
    beginning = probe.tokens[:, :_N_TOKENS]
    with torch.no_grad():
        plain = model(probe.tokens, attention_mask=probe.real)
        first, second = (model(beginning) for _ in range(2))
    same = bool(torch.equal(first, second))
    yield (
        passed("the same pass twice", "Two passes over the same prompts give the same logits, bit for bit.")
        if same
        else failed("the same pass twice", "Two passes over the same prompts give other logits.")
    )
    key = (_PLACE.LOGITS, None)
    yield finding_of(
        "recording changes nothing",
        place_differences({key: plain}, recorded, [key], probe.real),
        allowed_in(model.dtype),
        "A pass of which every place is recorded gives the logits of a plain one.",
    )


def padding(model: Transformer, probe: Probe, recorded: Passes) -> Iterator[Finding]:
    """Whether a prompt gives the same numbers beside a longer one as alone."""
    name = "padding against none"
    if any(rotary is not None and rotary.scaling == "longrope" for rotary in model.config.rotary_by_layer):
        yield not_checked(name, "The model stretches positions by the length of the padded batch (longrope).")
        return
    shorter = min(range(len(probe.lengths)), key=lambda prompt: probe.lengths[prompt])
    alone, n = probe.alone(shorter), probe.lengths[shorter]
    keys = _keys(model)
    beside = {key: recorded[key][shorter : shorter + 1, :n] for key in keys}
    yield finding_of(
        name,
        place_differences(_recorded(model, alone, _OF_LAYERS), beside, keys, alone.real),
        allowed_in(model.dtype),
        "A prompt gives the same residual stream and logits beside a longer one as alone.",
    )


def cached(model: Transformer, probe: Probe, recorded: Passes) -> Iterator[Finding]:
    """Whether tokens that are read one part after the other give what the whole prompt gives."""
    name = "cache against none"
    longest = max(range(len(probe.lengths)), key=lambda prompt: probe.lengths[prompt])
    whole = probe.alone(longest)
    n = whole.tokens.shape[1]
    if n < 4:
        yield not_checked(name, f"The model reads {n} tokens, too few to cut.")
        return
    if model.config.layers_rotated_as_long(n):
        yield not_checked(name, "The model rotates keys in another way in prompts of that length (longrope).")
        return
    cuts = [0, n // 2, n // 2 + 1, n]
    cache, parts = KeyValueCache(), []
    for start, end in pairwise(cuts):
        with model.record(_OF_LAYERS) as recording, torch.no_grad():
            model(whole.tokens[:, start:end], cache=cache)
            parts.append({key: recording[key] for key in _keys(model)})
    joined = {key: torch.cat([part[key] for part in parts], dim=1) for key in _keys(model)}
    beside = {key: recorded[key][longest : longest + 1] for key in _keys(model)}
    yield finding_of(
        name,
        place_differences(joined, beside, _keys(model), whole.real),
        allowed_in(model.dtype),
        "A prompt that is read in three parts gives the residual stream and logits of the whole one.",
    )


def in_threads(model: Transformer, probe: Probe) -> Iterator[Finding]:
    """Whether an intervention of one thread stays out of a pass of another that runs in its midst."""
    name = "threads"
    tokens, layer = probe.alone(0).tokens[:, :_N_TOKENS], model.config.n_layers // 2
    inside, go_on = threading.Event(), threading.Event()
    found: list[Tensor] = []
    errors: list[Exception] = []

    def zeroed(tensor: Tensor) -> Tensor:
        if threading.current_thread() is other:
            inside.set()
            go_on.wait(_MOST_SECONDS)
        return torch.zeros_like(tensor)

    def ablated() -> None:
        try:
            found.append(_ablated(model, tokens, layer, zeroed))
        except Exception as error:
            errors.append(error)
        finally:
            inside.set()

    other = threading.Thread(target=ablated, daemon=True)
    expected = _plain(model, tokens), _ablated(model, tokens, layer, torch.zeros_like)
    other.start()
    try:
        inside.wait(_MOST_SECONDS)
        beside = _plain(model, tokens)
    finally:
        go_on.set()
        other.join(_MOST_SECONDS)
    if errors or not found:
        said = in_a_sentence(f"{type(errors[0]).__name__}: {errors[0]}") if errors else "it did not end"
        yield failed(name, f"A pass with an intervention, with another one in its midst, failed: {said}")
        return
    key, real = (_PLACE.LOGITS, None), torch.ones(tokens.shape, dtype=torch.bool, device="cpu")
    compared = [
        each
        for ours, theirs in zip((beside, found[0]), expected, strict=True)
        for each in place_differences({key: ours}, {key: theirs}, [key], real)
    ]
    yield finding_of(
        name,
        compared,
        allowed_in(model.dtype),
        "A pass in the midst of another thread's with an intervention gives what it gives alone, and so does that one.",
        "A pass in the midst of another thread's with an intervention gives something else at",
    )


def _plain(model: Transformer, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return _logits_of(model(tokens))


def _ablated(model: Transformer, tokens: Tensor, layer: int, fn: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.no_grad(), model.intervene(_PLACE.RESID_DELTA_MLP, layer, fn, notes_change=False):
        return _logits_of(model(tokens))


def _logits_of(logits: Tensor | None) -> Tensor:
    assert logits is not None
    return logits


def _keys(model: Transformer) -> list[PlaceAndLayer]:
    return [key for key in in_order(model.config.n_layers) if key[0] in _OF_LAYERS]


def _recorded(model: Transformer, probe: Probe, places: tuple[ActivationLocationType, ...]) -> Passes:
    with model.record(places) as recording, torch.no_grad():
        model(probe.tokens, attention_mask=probe.real)
    return {key: recording[key] for key in recording}
