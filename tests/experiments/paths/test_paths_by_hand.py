"""Path patching equals nested interventions done by hand, in every family."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, small_context
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.transformer import Transformer

CLEAN, CORRUPTED = [3, 7, 11, 4, 9, 2, 31, 5], [3, 7, 40, 4, 9, 2, 17, 5]
TARGET, DISTRACTOR = 12, 25
HEADS, NEURONS, MLP, RESID = "attn_weighted_sum_of_values", "mlp_post_act", "resid_delta_mlp", "resid_post_mlp"
RECEIVERS = ["L2H1/q", "L2H0/k", "L2H2/v@4", "L2MLP", "L2N5"]
EVERYTHING = [HEADS, NEURONS, MLP, "resid_delta_attn", RESID, "resid_post_embedding", "mlp_post_act"]

Fill = Callable[[Tensor], None]


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-4, abs=2e-5)


@contextmanager
def overwritten(model: Transformer, place: str, layer: int | None, fill: Fill) -> Iterator[None]:
    def changed(tensor: Tensor) -> Tensor:
        fill(tensor)
        return tensor

    with model.intervene(place, layer, changed, notes_change=False):
        yield


def both_runs(model: Transformer) -> tuple[Recording, Recording, Tensor, Tensor]:
    found, logits = [], []
    for tokens in (CLEAN, CORRUPTED):
        with model.record(EVERYTHING) as recording:
            logits.append(model(torch.tensor([tokens])))
        found.append(recording)
    return found[0], found[1], logits[0][0, -1], logits[1][0, -1]


def difference(logits: Tensor) -> float:
    return float(logits[TARGET] - logits[DISTRACTOR])


def set_to(values: Tensor, *where: Any) -> Fill:
    def fill(tensor: Tensor) -> None:
        tensor[(0, *where)] = values[(0, *where)]

    return fill


def what_is_sent(sender: str, other: Recording) -> tuple[str, int | None, Fill]:
    name = ne.parse_node(sender)
    at = slice(None) if name.token is None else name.token_index
    match name.kind.value:
        case "head":
            return HEADS, name.layer, set_to(other[HEADS, name.layer], at, name.component)
        case "attention":
            return HEADS, name.layer, set_to(other[HEADS, name.layer], at)
        case "neuron":
            return NEURONS, name.layer, set_to(other[NEURONS, name.layer], at, name.component)
        case "mlp":
            return MLP, name.layer, set_to(other[MLP, name.layer], at)
        case _:
            return "resid_post_embedding", None, set_to(other["resid_post_embedding", None], at)


def by_hand(
    model: Transformer,
    senders: Sequence[str],
    original: Recording,
    other: Recording,
    tokens: list[int],
    freeze: str,
    to_logits: bool,
) -> float:
    """The second and the third pass, each a whole one over tokens, with interventions in contexts."""
    sent = [what_is_sent(sender, other) for sender in senders]
    with ExitStack() as frozen:
        for layer in range(model.config.n_layers):
            frozen.enter_context(overwritten(model, HEADS, layer, set_to(original[HEADS, layer])))
            if freeze == "heads+mlps":
                if any((place, at) == (NEURONS, layer) for place, at, _ in sent):
                    frozen.enter_context(overwritten(model, NEURONS, layer, set_to(original[NEURONS, layer])))
                else:
                    frozen.enter_context(overwritten(model, MLP, layer, set_to(original[MLP, layer])))
        for place, at, fill in sent:
            frozen.enter_context(overwritten(model, place, at, fill))
        places = ["attn_query", "attn_key", "attn_value", "resid_post_attn_layer_norm", NEURONS]
        with model.record([(place, 2) for place in places]) as received:
            logits = model(torch.tensor([tokens]))
    if to_logits:
        return difference(logits[0, -1])
    whole = slice(None)
    with ExitStack() as last:
        for place, fill in [
            ("attn_query", set_to(received["attn_query", 2], whole, 1)),
            ("attn_key", set_to(received["attn_key", 2], whole, 0)),
            ("attn_value", set_to(received["attn_value", 2], 4, 2)),
            ("resid_post_attn_layer_norm", set_to(received["resid_post_attn_layer_norm", 2])),
            (NEURONS, set_to(received[NEURONS, 2], whole, 5)),
        ]:
            last.enter_context(overwritten(model, place, 2, fill))
        return difference(model(torch.tensor([tokens]))[0, -1])


def busiest_neuron(layer: int, original: Recording, other: Recording) -> str:
    """A neuron that differs between the runs: of experts, most are not chosen."""
    return f"L{layer}N{int((original[NEURONS, layer] - other[NEURONS, layer])[0].abs().amax(0).argmax())}"


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_it_equals_interventions_by_hand(name: str) -> None:
    context = small_context(name)
    model = context.get_or_create_model()
    clean, corrupted, clean_logits, corrupted_logits = both_runs(model)
    senders: list[Any] = ["L1H2@6", "L1MLP", ["L0H0", busiest_neuron(1, clean, corrupted), "EMB@2"]]
    told = set()
    for receivers, freeze, direction in [
        (RECEIVERS, "heads", "noise"), (RECEIVERS, "heads+mlps", "denoise"), ("logits", "heads", "denoise"),
    ]:  # fmt: skip
        runs = (clean, corrupted, CLEAN) if direction == "noise" else (corrupted, clean, CORRUPTED)
        result = ne.path_patch(
            context, CLEAN, CORRUPTED, (TARGET, DISTRACTOR), senders, receivers, freeze=freeze, direction=direction,
        )  # fmt: skip
        assert result.clean_value == close(difference(clean_logits))
        assert result.corrupted_value == close(difference(corrupted_logits))
        for sender, value in zip(senders, result.to_dataframe()["value"], strict=True):
            together = sender if isinstance(sender, list) else [sender]
            assert value == close(by_hand(model, together, *runs, freeze, receivers == "logits"))
            told.add(value)
    assert len(told) > 5  # the cases differ


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_with_all_else_frozen_the_logits_get_the_direct_effect(name: str) -> None:
    """The change of one write, added to the last residual stream, through the true final norm."""
    context = small_context(name)
    model = context.get_or_create_model()
    clean, corrupted, _, _ = both_runs(model)
    head, neuron = "L1H2", busiest_neuron(1, clean, corrupted)
    senders = [head, "L1ATTN", "L1MLP", neuron]
    result = ne.path_patch(context, CLEAN, CORRUPTED, (TARGET, DISTRACTOR), senders, "logits", freeze="heads+mlps")
    block = model.blocks[1]
    sums = clean[HEADS, 1].clone()
    sums[:, :, 2] = corrupted[HEADS, 1][:, :, 2]
    written = {
        head: block.attention_write(sums) - block.attention_write(clean[HEADS, 1]),
        "L1ATTN": corrupted["resid_delta_attn", 1] - clean["resid_delta_attn", 1],
        "L1MLP": corrupted[MLP, 1] - clean[MLP, 1],
    }
    if context.config.n_experts == 0:
        number = int(neuron.split("N")[1])
        acts = clean[NEURONS, 1].clone()
        acts[..., number] = corrupted[NEURONS, 1][..., number]
        post_norm = block.mlp_post_norm or (lambda output: output)
        changed, before = (post_norm(block.mlp.output(each)) for each in (acts, clean[NEURONS, 1]))
        written[neuron] = (changed - before) * block.residual_multiplier
    values = result.to_dataframe().set_index("name")["value"]
    for sender, change in written.items():
        resid = clean[RESID, model.config.n_layers - 1] + change
        direct = difference(model.unembed(model.final_norm(resid))[0, -1])
        assert values[sender] == close(direct)
    assert values.nunique() == len(senders)
