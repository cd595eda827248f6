"""Exact patches are what editing a single pass by hand gives, at every place of every family."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, random_autoencoders, small_context
from neuron_explainer.experiments.asking.two_prompts import read_two_prompts
from neuron_explainer.experiments.patching.exact import exact_values
from neuron_explainer.experiments.patching.runs import TwoRuns
from neuron_explainer.experiments.patching.sites import PatchedNode, read_site
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder, TranscoderInput
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.places import ActivationLocationType as P

D = DerivedScalarType
CLEAN, CORRUPTED = [5, 9, 12, 7, 3, 20], [5, 9, 41, 7, 33, 20]
ANSWERS = (11, 23)
PLACES = {
    "attn": P.RESID_DELTA_ATTN,
    "mlp": P.RESID_DELTA_MLP,
    "heads": P.ATTN_WEIGHTED_SUM_OF_VALUES,
    "q": P.ATTN_QUERY,
    "k": P.ATTN_KEY,
    "v": P.ATTN_VALUE,
    "pattern": P.ATTN_QK_PROBS,
    "neurons": P.MLP_POST_ACT,
    "resid_post_attn": P.RESID_POST_ATTN,
    "resid.post_mlp": P.RESID_POST_MLP,
    "attn_qk_logits": P.ATTN_QK_LOGITS,
}
RESID: list[tuple[P, int | None]] = [(P.RESID_POST_EMBEDDING, None), (P.RESID_POST_MLP, 0), (P.RESID_POST_MLP, 1)]
AXIS_OF_HEADS = {"heads": 1, "q": 1, "k": 1, "v": 1, "pattern": 2, "attn_qk_logits": 2}


def difference(logits: Tensor | None) -> float:
    assert logits is not None
    return float(logits[0, -1, ANSWERS[0]].float() - logits[0, -1, ANSWERS[1]].float())


def edited(
    model: ne.ModelContext,
    place: P,
    layer: int | None,
    where: Sequence[slice | int],
    source: Tensor,
    run: Sequence[int] = CORRUPTED,
) -> float:
    """The metric of one pass of the whole model, in which some numbers of one tensor are those of another pass."""
    transformer, index = model.get_or_create_model(), (slice(None), *where)

    def write(tensor: Tensor) -> Tensor:
        return tensor.index_put(*_put(tensor, index, source))

    with transformer.intervene(place, layer, write, notes_change=False):
        return difference(transformer(torch.tensor([run])))


def by_hand(model: ne.ModelContext, place: P, layer: int | None, where: Sequence[slice | int]) -> float:
    transformer = model.get_or_create_model()
    with transformer.record([(place, layer)]) as recording:
        transformer(torch.tensor([CLEAN]))
    return edited(model, place, layer, where, recording[place, layer])


def _put(tensor: Tensor, index: tuple[slice | int, ...], source: Tensor) -> tuple[tuple[Tensor], Tensor]:
    is_chosen = torch.zeros(tensor.shape, dtype=torch.bool)
    is_chosen[index] = True
    return (is_chosen,), source[is_chosen]


def close(value: float, expected: float, tolerance: float = 1e-5) -> bool:
    return abs(value - expected) <= tolerance * max(1.0, abs(expected))


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_every_place_of_every_family(name: str) -> None:
    """Of each place one node: all nodes of all places would take minutes."""
    model = small_context(name)
    transformer = model.get_or_create_model()
    with transformer.record(["resid_post_embedding", *PLACES.values()]) as recording:
        transformer(torch.tensor([CLEAN]))
    two_prompts = read_two_prompts(model, CLEAN, CORRUPTED, ANSWERS)
    for number, at in enumerate(("resid", *PLACES)):
        site, layer = read_site(ne.DstConfig(model_context=model), at), number % 3
        is_vector = site.component is None
        node = PatchedNode(layer, 2 + layer if is_vector else None, None if is_vector else site.n_components(layer) - 1)
        [value] = exact_values(TwoRuns(site, two_prompts, denoise=True), [node], lambda n_done: None)
        key: tuple[P, int | None] = (PLACES[at], layer) if at != "resid" else RESID[layer]
        where: list[slice | int] = [slice(None) if node.position is None else node.position]
        if node.component is not None:
            where += [slice(None)] * (AXIS_OF_HEADS.get(at, 1) - 1) + [node.component]
        assert close(value, edited(model, *key, where, recording[key])), (at, node)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_neox"])
def test_bfloat16(name: str) -> None:
    model = small_context(name, dtype=torch.bfloat16)
    for at in ("resid_post_attn", "mlp"):
        found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at)
        place = PLACES[at]
        for number in (4, 11, 17):
            expected = by_hand(model, place, found.nodes[number].layer, [found.nodes[number].position or 0])
            assert found.values[number] == pytest.approx(expected, rel=0.05, abs=0.1)


@pytest.mark.parametrize("at", ["heads", "pattern"])
def test_axes_that_are_not_named_are_patched_at_once(at: str) -> None:
    model = small_context("llama")
    axis, place = AXIS_OF_HEADS[at], PLACES[at]
    fine = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, by=("head", "layer", "position"))
    assert fine.to_dataframe().columns.tolist() == ["head", "layer", "position", "name", "value", "score"]
    assert fine.names[fine.nodes.index(fine.nodes[17])] == "L2H0@5"
    number = fine.names.index("L1H3@4")
    between = [slice(None)] * (axis - 1)
    assert close(fine.values[number], by_hand(model, place, 1, [4, *between, 3]))
    coarse = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, by="layer")
    assert list(coarse.names) == ["L0H*", "L1H*", "L2H*"]
    assert close(coarse.values[2], by_hand(model, place, 2, [slice(None)]))
    positions = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, by=["layer", "position"])
    assert close(positions.values[8], by_hand(model, place, 1, [2]))


@pytest.mark.parametrize("at", ["resid", "resid_post_embedding", "logits", "resid_post_final_layer_norm"])
def test_everything_and_nothing(at: str) -> None:
    model = small_context("gpt2")
    for direction, scores in (("denoise", (0.0, 1.0)), ("noise", (1.0, 0.0))):
        positions = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, direction=direction)
        frame = positions.to_dataframe()
        unlike = frame["position"].isin([0, 1])  # before the first token that differs, both runs are the same
        assert frame["score"][unlike].tolist() == pytest.approx([scores[0]] * int(unlike.sum()), abs=1e-5)
        if at == "resid":
            whole = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, direction=direction, by="layer")
            assert whole.scores.tolist() == pytest.approx([scores[1]] * 3, abs=1e-5)


def test_all_neurons_and_the_residual_stream_through_the_public_function() -> None:
    model = small_context("llama_3")
    for at, place in (("neurons", P.MLP_POST_ACT), ("heads", P.ATTN_WEIGHTED_SUM_OF_VALUES)):
        found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at)
        assert len(found.nodes) == 3 * model.get_or_create_model().config.d_mlp if at == "neurons" else 12
        for number in (1, 10, len(found.nodes) - 1):
            node = found.nodes[number]
            expected = by_hand(model, place, node.layer, [slice(None), node.component or 0])
            assert close(found.values[number], expected)
            span = found.clean_value - found.corrupted_value
            assert found.scores[number] == pytest.approx((expected - found.corrupted_value) / span, abs=1e-4)
    resid = ne.patch(model, CLEAN, CORRUPTED, ANSWERS)
    assert close(resid.values[resid.names.index("L2START@4")], by_hand(model, *RESID[2], [4]))
    assert resid.clean_value == pytest.approx(difference(model.get_or_create_model()(torch.tensor([CLEAN]))), abs=1e-5)


def test_noise_is_denoising_the_other_way_round() -> None:
    model = small_context("qwen3")
    noise = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="mlp", direction="noise")
    back = ne.patch(model, CORRUPTED, CLEAN, ANSWERS, at="mlp")
    assert noise.values.tolist() == pytest.approx(back.values.tolist(), abs=1e-5)
    assert noise.clean_value == pytest.approx(back.corrupted_value, abs=1e-5)
    assert (noise.scores + back.scores).tolist() == pytest.approx([1.0] * len(noise.nodes), abs=1e-4)
    assert noise.top(1)["name"].tolist() == back.top(1)["name"].tolist()


def _mean_of_two(logits: Tensor) -> Tensor:
    return logits[:, 7].mean() - logits[0, 4]


def test_a_function_of_logits_at_several_positions() -> None:
    model = small_context("gpt2")
    transformer = model.get_or_create_model()
    found = ne.patch(model, CLEAN, CORRUPTED, _mean_of_two, at="attn", positions=[2, -1])
    with transformer.record(["resid_delta_attn"]) as recording:
        transformer(torch.tensor([CLEAN]))
    source = recording["resid_delta_attn", 1][:, 2]

    def write(tensor: Tensor) -> Tensor:
        tensor[:, 2] = source
        return tensor

    with transformer.intervene("resid_delta_attn", 1, write, notes_change=False):
        logits = transformer(torch.tensor([CORRUPTED]))
    assert logits is not None
    expected = float(_mean_of_two(logits[0, [2, 5]]))
    assert found.values[found.names.index("L1ATTN@2")] == pytest.approx(expected, abs=1e-5)
    assert _mean_of_two.__name__ in found.request.title


def _latent_by_hand(
    model: ne.ModelContext,
    autoencoders: ne.AutoencoderContext,
    place: P,
    key_layer: int | None,
    layer: int,
    latent: int,
) -> float:
    """What the decoder makes of the changed latent is added to what the autoencoder explains."""
    transformer, autoencoder = model.get_or_create_model(), autoencoders.get_autoencoder(layer)
    with transformer.record([(place, key_layer)]) as recording:
        transformer(torch.tensor([CLEAN]))
    source = autoencoder.encode(recording[place, key_layer].flatten(2))

    def write(tensor: Tensor) -> Tensor:
        before = autoencoder.encode(tensor.flatten(2))
        after = before.clone()
        after[..., latent] = source[..., latent]
        inputs = tensor.flatten(2)
        return tensor + (autoencoder.decode(after, inputs) - autoencoder.decode(before, inputs)).to(tensor).view_as(
            tensor
        )

    with transformer.intervene(place, key_layer, write, notes_change=False):
        return difference(transformer(torch.tensor([CORRUPTED])))


KEYS: dict[DerivedScalarType, Callable[[int], tuple[P, int | None]]] = {
    D.MLP_POST_ACT: lambda layer: (P.MLP_POST_ACT, layer),
    D.RESID_DELTA_MLP: lambda layer: (P.RESID_DELTA_MLP, layer),
    D.RESID_DELTA_ATTN: lambda layer: (P.RESID_DELTA_ATTN, layer),
    D.RESID_POST_MLP: lambda layer: (P.RESID_POST_MLP, layer),
    D.PREVIOUS_LAYER_RESID_POST_MLP: lambda layer: (
        (P.RESID_POST_MLP, layer - 1) if layer else (P.RESID_POST_EMBEDDING, None)
    ),
}


@pytest.mark.parametrize("dst", KEYS)
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2"])
def test_latents(name: str, dst: DerivedScalarType) -> None:
    model = small_context(name)
    autoencoders = random_autoencoders(model, dst)
    found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="latents", autoencoders=autoencoders)
    assert found.request.by == ("layer", "latent")
    assert len(found.nodes) == 72
    for number in (3, 25, 49, 60):
        node = found.nodes[number]
        assert node.layer is not None
        assert node.component is not None
        expected = _latent_by_hand(model, autoencoders, *KEYS[dst](node.layer), node.layer, node.component)
        assert close(found.values[number], expected), node


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_latents_of_transcoders_read_elsewhere(name: str) -> None:
    """In a parallel block the first layer's transcoder reads the embedding: the pass starts at the tokens."""
    model = small_context(name)
    generator = torch.Generator().manual_seed(4)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3

    def made() -> Transcoder:
        return Transcoder(
            random(24, 32),
            random(32, 24),
            torch.zeros(32, dtype=torch.float64),
            random(24),
            output_bias=random(32),
            skip_weight=random(32, 32),
            reads=TranscoderInput.RESIDUAL,
        )

    transcoders = ne.load_autoencoders(
        {layer: made() for layer in range(model.n_layers)}, dst=D.RESID_DELTA_MLP, model=model
    )
    found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="latents", autoencoders=transcoders)
    config = ne.DstConfig(model_context=model, autoencoder_context=transcoders)
    loss = ne.LossFnConfig("logit_diff", [ANSWERS[0]], [ANSWERS[1]])
    for layer, latent in ((0, 3), (1, 7), (2, 20)):
        index = ne.ActivationIndex(P.ONLINE_MLP_AUTOENCODER_LATENT, layer, ("All", latent))
        written = ne.TensorAblation.from_prompt(index, config, CLEAN)
        store = ne.derive(CORRUPTED, "logits", config, loss=loss, ablations=[written])
        number = layer * 24 + latent
        assert found.nodes[number] == PatchedNode(layer, None, latent)
        assert store.loss is not None
        assert close(found.values[number], store.loss)
