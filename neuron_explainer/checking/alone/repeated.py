"""The same question in other ways: again, recorded, without padding, with a cache, from a layer on, in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neuron_explainer.checking.alone.judging import of_passes
from neuron_explainer.checking.comparison import (
    LOGITS_KEY,
    difference_at,
    finding_of,
    in_order,
    place_differences,
)
from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.checking.passes import Recorded, recorded_places
from neuron_explainer.checking.probes import N_SHORT, Probe, depends_on_length
from neuron_explainer.checking.routers import router_may_flip
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.token_checks import int64_on_cpu
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.wording import in_a_sentence

_PLACE = ActivationLocationType
_OF_LAYERS = (_PLACE.RESID_POST_EMBEDDING, _PLACE.RESID_POST_ATTN, _PLACE.RESID_POST_MLP, _PLACE.LOGITS)


_N_CACHED = (12, 8)
"""How many tokens of each prompt go into a cache by default."""
_MOST_SECONDS = 60.0


def repeatable(model: Transformer, probe: Probe, recorded: Recorded, *, n_times: int = 2) -> Iterator[Finding]:
    """Whether passes without recordings give the same numbers, with all logits and with the last ones alone.

    Args:
        model: the model.
        probe: the prompts.
        recorded: all places of the first pass.
        n_times: how many passes over a beginning there are.
    """
    beginning, key = probe.tokens[:, :N_SHORT], LOGITS_KEY
    real = torch.ones(beginning.shape, dtype=torch.bool, device="cpu")
    with torch.no_grad():
        first, *others = (_logits_of(model(beginning)) for _ in range(n_times))
        lengths = int64_on_cpu([beginning.shape[1], (beginning.shape[1] + 1) // 2])
        mask = int64_on_cpu(range(beginning.shape[1])) < lengths[:, None]
        last = _logits_of(model(beginning, attention_mask=mask, logits_at="last"))
    same = all(bool(torch.equal(first, each)) for each in others)
    said = f"{n_times} passes over the first {beginning.shape[1]} tokens give"
    yield (
        passed("the same pass again", f"{said} the same logits, bit for bit.")
        if same
        else failed("the same pass again", f"{said} different logits.")
    )
    logits, allowed = recorded[key], allowed_in(model.dtype)
    rows = torch.arange(len(first), dtype=torch.int64, device=first.device)
    at_end = first[rows, lengths.to(first.device) - 1][:, None]
    compared = of_passes(model, [difference_at(key, last, at_end, real[:, :1])], real[:, :1])
    if not model.config.layers_rotated_as_long(probe.tokens.shape[1]):
        of_beginning = difference_at(key, first, logits[:, : beginning.shape[1]], real)
        compared = [*of_passes(model, [of_beginning], real), *compared]
    yield finding_of(
        "recording changes nothing",
        compared,
        allowed,
        "Passes of which nothing is recorded, over a beginning and with the last logits alone, give the same logits.",
        "A pass of which nothing is recorded, over a beginning or with the last logits alone, differs in its",
    )


def padding(model: Transformer, probe: Probe, recorded: Recorded) -> Iterator[Finding]:
    """Whether a prompt gives the same numbers beside a longer one as alone."""
    name = "padding against none"
    if depends_on_length(model):
        yield not_checked(name, "The model stretches positions by the length of the padded batch (longrope).")
        return
    if probe.tokens.shape[1] > 1 and _takes_padding_on_the_left(model, probe):
        yield failed(name, "Padding on the left is taken without an error, and positions are then wrong.")
        return
    shorter = min(range(len(probe.lengths)), key=lambda prompt: probe.lengths[prompt])
    alone, n = probe.alone(shorter), probe.lengths[shorter]
    keys = _keys(model)
    beside = {key: recorded[key][shorter : shorter + 1, :n] for key in keys}
    compared = place_differences(recorded_places(model, alone, _OF_LAYERS), beside, keys, alone.real)
    yield finding_of(
        name,
        [each.of_prompt(shorter) for each in of_passes(model, compared, alone.real)],
        allowed_in(model.dtype),
        "A prompt gives the same residual stream and logits beside a longer one as alone.",
    )


def _takes_padding_on_the_left(model: Transformer, probe: Probe) -> bool:
    tokens = probe.tokens[:, :N_SHORT]
    mask = torch.ones(tokens.shape, dtype=torch.bool, device="cpu")
    mask[1, 0] = False
    with torch.no_grad():
        try:
            model(tokens, attention_mask=mask, logits_at="last")
        except NeuronExplainerError:
            return False
    return True


def cached(model: Transformer, probe: Probe, recorded: Recorded, *, everywhere: bool = True) -> Iterator[Finding]:
    """Whether prompts that are read one part after the other give what the whole ones give, each cut elsewhere.

    Args:
        model: the model.
        probe: the prompts.
        recorded: all places of a pass.
        everywhere: whole prompts, and the first one once more, cut elsewhere; else the beginnings of the prompts.
    """
    name = "cache against none"
    n_whole = probe.tokens.shape[1]
    if n_whole < 4:
        yield not_checked(name, f"The model reads {n_whole} tokens, too few to cut.")
        return
    if model.config.layers_rotated_as_long(n_whole):
        yield not_checked(name, "The model rotates keys in another way in prompts of that length (longrope).")
        return
    lengths = probe.lengths if everywhere else list(map(min, probe.lengths, _N_CACHED))
    rows = _cut(lengths)[: None if everywhere else len(lengths)]
    cache, keys = KeyValueCache(), _keys(model)
    joined: list[list[Recorded]] = [[] for _ in rows]
    for part in range(3):
        several = [probe.tokens[prompt, cuts[part] : cuts[part + 1]] for prompt, cuts in rows]
        tokens = pad_sequence(several, batch_first=True)
        real = int64_on_cpu(range(tokens.shape[1])) < int64_on_cpu([[len(each)] for each in several])
        with model.record(_OF_LAYERS) as recording, torch.no_grad():
            model(tokens, attention_mask=real, cache=cache)
            for row, own in enumerate(several):
                joined[row].append({key: recording[key][row : row + 1, : len(own)] for key in keys})
    compared = []
    for (prompt, _), parts in zip(rows, joined, strict=True):
        found = {key: torch.cat([part[key] for part in parts], dim=1) for key in keys}
        real = probe.alone(prompt).real[:, : lengths[prompt]]
        beside = {key: recorded[key][prompt : prompt + 1, : real.shape[1]] for key in keys}
        differences = of_passes(model, place_differences(found, beside, keys, real), real)
        compared += [each.of_prompt(prompt) for each in differences]
    yield finding_of(
        name,
        compared,
        allowed_in(model.dtype),
        "Prompts that are read in three parts give the residual stream and logits of the whole ones.",
    )


def _cut(lengths: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Each prompt with where it is cut, and the first once more, cut elsewhere: three rows that may be mixed up."""
    first = lengths[0]
    cuts = [(prompt, [0, n // 2, n // 2 + 1, n]) for prompt, n in enumerate(lengths) if n >= 3]
    return [*cuts, (0, [0, first // 3, first // 2 + 1, first])]


def in_threads(model: Transformer, probe: Probe, recorded: Recorded) -> Iterator[Finding]:
    """Whether an intervention of one thread stays out of a pass of another that runs in its midst.

    Args:
        model: the model.
        probe: the prompts, of which the first one's beginning is used.
        recorded: all places of a pass, which has the logits without an intervention.
    """
    name = "threads"
    tokens, layer = probe.alone(0).tokens[:, :N_SHORT], model.config.n_layers // 2
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
    key, n = LOGITS_KEY, tokens.shape[1]
    differs = model.config.layers_rotated_as_long(probe.tokens.shape[1]) or router_may_flip(model.config, model.dtype)
    plain = _plain(model, tokens) if differs else recorded[key][:1, n - 1 : n]
    expected = plain, _ablated(model, tokens, layer, torch.zeros_like)
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
    real = torch.ones((1, 1), dtype=torch.bool, device="cpu")
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
        return _logits_of(model(tokens, logits_at="last"))


def _ablated(model: Transformer, tokens: Tensor, layer: int, fn: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.no_grad(), model.intervene(_PLACE.RESID_DELTA_MLP, layer, fn, notes_change=False):
        return _logits_of(model(tokens, logits_at="last"))


def _logits_of(logits: Tensor | None) -> Tensor:
    assert logits is not None
    return logits


def _keys(model: Transformer) -> list[PlaceAndLayer]:
    return [key for key in in_order(model.config.n_layers) if key[0] in _OF_LAYERS]
