"""Transcoders within a model: as SAELens runs them in TransformerLens's copy of it, whatever hook they read."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

sae_lens = pytest.importorskip("sae_lens", exc_type=ImportError)

from sae_lens.saes.sae import SAEMetadata  # noqa: E402
from transformer_lens import HookedTransformerConfig  # noqa: E402
from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights  # noqa: E402
from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights  # noqa: E402

import neuron_explainer as ne  # noqa: E402
from helpers.derived_scalars import PROMPT, annotations_unchecked, close, context, derived  # noqa: E402
from helpers.tiny_models import hf_model  # noqa: E402
from neuron_explainer.errors import AutoencoderFormatError, AutoencoderMismatchError, InvalidRequestError  # noqa: E402
from neuron_explainer.models.autoencoder_context import AutoencoderContext  # noqa: E402
from neuron_explainer.models.autoencoders.latent_activations import Identity  # noqa: E402
from neuron_explainer.models.autoencoders.transcoder import load_transcoder  # noqa: E402
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder, TranscoderInput  # noqa: E402
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D  # noqa: E402
from neuron_explainer.vocabulary.nodes import PassType  # noqa: E402
from neuron_explainer.vocabulary.places import ActivationLocationType as Place  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:\\s*This SAE has non-empty model_from_pretrained_kwargs:UserWarning"),
]
LAYER, N_LATENTS, WIDTH = 1, 20, 32
HOOKS = ["ln2.hook_normalized", "mlp.hook_in", "hook_mlp_in"]
FOLDED = {"fold_ln": True}
CENTRED = {"fold_ln": True, "center_writing_weights": True}


def lens_model(family: str, fold_ln: bool = False, center_writing_weights: bool = False) -> Any:
    """TransformerLens's copy of a small model, in float64, as SAELens loads models unless options say otherwise."""
    theirs = hf_model(family, torch.float64)
    sizes = theirs.config
    is_gpt2 = family == "gpt2"
    config = HookedTransformerConfig(
        n_layers=sizes.num_hidden_layers,
        d_model=WIDTH,
        n_ctx=64,
        d_head=WIDTH // sizes.num_attention_heads,
        n_heads=sizes.num_attention_heads,
        d_mlp=4 * WIDTH if is_gpt2 else sizes.intermediate_size,
        d_vocab=sizes.vocab_size,
        act_fn="gelu_new" if is_gpt2 else "silu",
        normalization_type="LN" if is_gpt2 else "RMS",
        positional_embedding_type="standard" if is_gpt2 else "rotary",
        n_key_value_heads=None if is_gpt2 else sizes.num_key_value_heads,
        gated_mlp=not is_gpt2,
        final_rms=not is_gpt2,
        rotary_dim=None if is_gpt2 else WIDTH // sizes.num_attention_heads,
        eps=1e-5 if is_gpt2 else sizes.rms_norm_eps,
        use_hook_mlp_in=True,
        dtype=torch.float64,
        device="cpu",
        seed=0,
    )
    model = sae_lens.HookedSAETransformer(config)
    weights = (convert_gpt2_weights if is_gpt2 else convert_llama_weights)(theirs, config)
    model.load_and_process_state_dict(
        weights, fold_ln=fold_ln, center_writing_weights=center_writing_weights, center_unembed=False
    )
    return model


def transcoder_of_saelens(
    hook: str, architecture: str = "skip_transcoder", options: dict[str, bool] | None = None, **metadata: Any
) -> Any:
    kind, config = sae_lens.registry.get_sae_class(architecture)
    names = {"hook_name": f"blocks.{LAYER}.{hook}", "hook_name_out": f"blocks.{LAYER}.hook_mlp_out", **metadata}
    if options is not None:
        names["model_from_pretrained_kwargs"] = options
    made = kind(
        config(
            d_in=WIDTH,
            d_sae=N_LATENTS,
            d_out=WIDTH,
            dtype="float64",
            apply_b_dec_to_input=False,
            metadata=SAEMetadata(**names),
        )
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
            if name == "threshold":
                parameter.abs_()
    return made


def in_lens(model: Any, transcoder: Any) -> dict[str, torch.Tensor]:
    """The latents, the reconstruction without the error, and the error, in a run of SAELens."""
    output = f"blocks.{LAYER}.hook_mlp_out"
    tokens = torch.tensor([PROMPT])
    with torch.no_grad():
        _, cache = model.run_with_cache_with_saes(tokens, saes=[transcoder], use_error_term=True)
    return {
        "latents": cache[f"{output}.hook_sae_acts_post"][0],
        "reconstruction": cache[f"{output}.hook_sae_recons"][0],
        "error": cache[f"{output}.hook_sae_error"][0],
    }


CASES = [
    *[("gpt2", hook, options) for hook in HOOKS for options in (None, FOLDED, CENTRED)],
    *[("llama", hook, options) for hook in HOOKS for options in (None, FOLDED)],
]


@pytest.mark.parametrize(("family", "hook", "options"), CASES)
@pytest.mark.parametrize("architecture", ["transcoder", "jumprelu_transcoder"])
def test_latents_reconstruction_and_error_are_saelens_s(
    tmp_path: Path, family: str, hook: str, options: dict[str, bool] | None, architecture: str
) -> None:
    theirs = transcoder_of_saelens(hook, architecture, options)
    expected = in_lens(lens_model(family, **(options or {})), theirs)
    theirs.save_model(tmp_path)
    transcoders = ne.load_autoencoders(tmp_path, model=context(family))
    assert (transcoders.dst, transcoders.layer_indices) == (D.RESID_DELTA_MLP, (LAYER,))
    dsts = [D.AUTOENCODER_LATENT, D.ONLINE_MLP_AUTOENCODER_LATENT, D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR]
    store = derived(family, [*dsts, D.RESID_DELTA_MLP], autoencoder_context=transcoders, layer_indices=[LAYER])
    for dst in dsts[:2]:
        close(store.activations(dst)[LAYER], expected["latents"], 1e-5)
    error = store.activations(D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR)[LAYER]
    close(error, expected["error"], 1e-5)
    explained = store.activations(D.RESID_DELTA_MLP)[LAYER]
    if options is CENTRED:
        explained = explained - explained.mean(-1, keepdim=True)
    close(explained - error, expected["reconstruction"], 1e-5)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_skip_connection_is_part_of_the_reconstruction(tmp_path: Path, hook: str) -> None:
    theirs = transcoder_of_saelens(hook)
    theirs.save_model(tmp_path)
    ours, origin = load_transcoder(tmp_path)
    inputs = torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        close(ours.decode(ours.encode(inputs), inputs), theirs(inputs))
    assert (origin.dst, origin.layer_index) == (D.RESID_DELTA_MLP, LAYER)
    store = derived(
        "llama",
        [D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR, D.RESID_DELTA_MLP],
        autoencoder_context=ne.load_autoencoders(theirs, model=context("llama")),
    )
    model = context("llama").get_or_create_model()
    with model.record([("resid_post_attn", LAYER)]) as recording:
        model(torch.tensor([PROMPT]))
    block = model.blocks[LAYER]
    resid = recording["resid_post_attn", LAYER][0]
    read = {
        "hook_mlp_in": resid,
        "mlp.hook_in": block.mlp_norm(resid),
        "ln2.hook_normalized": block.mlp_norm(resid) / block.mlp_norm.gain,
    }[hook]
    with torch.no_grad():
        predicted = theirs(read)
    explained = store.activations(D.RESID_DELTA_MLP)[LAYER]
    close(store.activations(D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR)[LAYER], explained - predicted)


def transcoders_for(family: str, reads: TranscoderInput, **changes: Any) -> AutoencoderContext:
    """Random transcoders of all layers."""
    generator = torch.Generator().manual_seed(4)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3

    model = context(family)
    return ne.load_autoencoders(
        {
            layer: Transcoder(
                random(N_LATENTS, WIDTH),
                random(WIDTH, N_LATENTS),
                torch.zeros(WIDTH, dtype=torch.float64),
                random(N_LATENTS),
                output_bias=random(WIDTH),
                skip_weight=random(WIDTH, WIDTH),
                reads=reads,
                **changes,
            )
            for layer in range(model.n_layers)
        },
        model=model,
    )


FAMILIES = ["gpt2", "gpt_neox", "llama", "gemma2"]


@pytest.mark.parametrize("reads", list(TranscoderInput))
@pytest.mark.parametrize("family", FAMILIES)
def test_running_online_changes_neither_logits_nor_gradients(family: str, reads: TranscoderInput) -> None:
    transcoders = transcoders_for(family, reads)
    dsts = [D.ONLINE_MLP_AUTOENCODER_LATENT, D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR, D.LOGITS, D.RESID_POST_MLP]
    settings: dict[str, Any] = {"autoencoder_context": transcoders, "derive_gradients": True}
    offline = derived(family, dsts, **settings)
    latents = offline.activations(D.ONLINE_MLP_AUTOENCODER_LATENT)
    # Overwriting a latent that is 0 by 0 lets every layer's transcoder run within the pass.
    ablations = [
        ne.AblationSpec(
            ne.ActivationIndex(Place.ONLINE_MLP_AUTOENCODER_LATENT, layer, (2, int(latents[layer][2].argmin()))), 0.0
        )
        for layer in range(3)
    ]
    assert all(float(latents[layer][2].min()) == 0 < float(latents[layer][2].max()) for layer in range(3))
    online = derived(family, dsts, ablations=ablations, **settings)
    for dst in dsts:
        for layer in offline.activations(dst):
            close(online.activations(dst)[layer], offline.activations(dst)[layer])
    for dst in dsts[:2] + dsts[3:]:
        for layer, gradient in offline.activations(dst, PassType.BACKWARD).items():
            close(online.activations(dst, PassType.BACKWARD)[layer], gradient)


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_overwriting_a_latent_writes_its_decoder_column(family: str) -> None:
    transcoders = transcoders_for(family, TranscoderInput.NORMED)
    latents = derived(family, D.ONLINE_MLP_AUTOENCODER_LATENT, autoencoder_context=transcoders)
    before = float(latents.activations(D.ONLINE_MLP_AUTOENCODER_LATENT)[1][4, 6])
    index = ne.ActivationIndex(Place.ONLINE_MLP_AUTOENCODER_LATENT, 1, (4, 6))
    plain = derived(family, D.RESID_POST_MLP).activations(D.RESID_POST_MLP)[1]
    changed = derived(
        family, D.RESID_POST_MLP, autoencoder_context=transcoders, ablations=[ne.AblationSpec(index, before + 2.0)]
    ).activations(D.RESID_POST_MLP)[1]
    expected = plain.clone()
    expected[4] += 2.0 * transcoders.get_autoencoder(1).decoder_weight[:, 6]
    close(changed, expected)


@pytest.mark.parametrize("reads", list(TranscoderInput))
@pytest.mark.parametrize("family", FAMILIES)
def test_act_times_grad_of_latents_is_their_effect_to_first_order(family: str, reads: TranscoderInput) -> None:
    transcoders = transcoders_for(family, reads)
    store = derived(
        family,
        [D.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD, D.ONLINE_MLP_AUTOENCODER_LATENT, D.RESID_POST_MLP],
        autoencoder_context=transcoders,
        derive_gradients=True,
    )
    for layer in range(3):
        written = (
            store.activations(D.ONLINE_MLP_AUTOENCODER_LATENT)[layer].unsqueeze(-1)
            * transcoders.get_autoencoder(layer).write_rows
        )
        gradient = store.activations(D.RESID_POST_MLP, PassType.BACKWARD)[layer].unsqueeze(1)
        close(store.activations(D.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD)[layer], (written * gradient).sum(-1))


@pytest.mark.parametrize("reads", list(TranscoderInput))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_traced_latent_has_the_value_that_was_encoded(family: str, reads: TranscoderInput) -> None:
    transcoders = transcoders_for(family, reads)
    trace = ne.TraceConfig(ne.NodeIndex(ne.NodeType.MLP_AUTOENCODER_LATENT, 1, (4, 6)), ne.PreOrPostAct.POST)
    options: dict[str, Any] = {"trace_config": trace, "autoencoder_context": transcoders, "loss": None}
    store = derived(family, [D.ONLINE_MLP_AUTOENCODER_LATENT, D.TOKEN_ATTRIBUTION], **options)
    close(store.traced_activation, store.activations(D.ONLINE_MLP_AUTOENCODER_LATENT)[1][4, 6])


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("reads", list(TranscoderInput))
@pytest.mark.parametrize("family", FAMILIES)
def test_an_edge_between_latents_is_the_same_from_either_end(family: str, reads: TranscoderInput, detach: bool) -> None:
    up, down = (ne.NodeIndex(ne.NodeType.AUTOENCODER_LATENT, layer, (2, 9)) for layer in (0, 1))
    options: dict[str, Any] = {
        "detach_layer_norm_scale_for_attribution": detach,
        "autoencoder_context": transcoders_for(family, reads, activation=Identity()),
    }
    into, out_of = D.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION, D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION
    with annotations_unchecked() if detach else contextlib.nullcontext():
        from_below = derived(family, into, node_index_for_attribution=up, **options).activations(into)[1][2, 9]
        from_above = derived(family, out_of, node_index_for_attribution=down, **options).activations(out_of)[0][2, 9]
    torch.testing.assert_close(from_below, from_above, rtol=1e-8, atol=1e-14)
    assert abs(float(from_below)) > 1e-9


def test_transcoders_that_cannot_run_in_a_model_say_why(tmp_path: Path) -> None:
    other_layer = transcoder_of_saelens("mlp.hook_in", hook_name_out="blocks.2.hook_mlp_out")
    with pytest.raises(
        InvalidRequestError, match="the SkipTranscoder does not say what the autoencoders were trained on"
    ):
        ne.load_autoencoders(other_layer)
    without_place, _ = ne.load_autoencoder(other_layer)
    of_one = ne.load_autoencoders({LAYER: without_place}, "resid_delta_mlp", model=context("llama"))
    with pytest.raises(AutoencoderMismatchError, match="does not say which input of an MLP it reads"):
        derived("llama", D.ONLINE_MLP_AUTOENCODER_LATENT, autoencoder_context=of_one)
    before_norm = transcoder_of_saelens("mlp.hook_in", hook_name_out=f"blocks.{LAYER}.mlp.hook_out")
    of_one = ne.load_autoencoders(before_norm, model=context("gemma2"))
    with pytest.raises(AutoencoderMismatchError, match="before its post-norm"):
        derived("gemma2", D.ONLINE_MLP_AUTOENCODER_LATENT, autoencoder_context=of_one)
    assert derived("llama", D.ONLINE_MLP_AUTOENCODER_LATENT, autoencoder_context=of_one)
    with pytest.raises(AutoencoderMismatchError, match="not transcoders"):
        derived(
            "llama", D.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS_BATCHED, autoencoder_context=of_one,
            layer_indices=[LAYER],
        )  # fmt: skip
    saved = tmp_path / "sae"
    kind, config = sae_lens.registry.get_sae_class("standard")
    kind(config(d_in=WIDTH, d_sae=N_LATENTS)).save_model(saved)
    with pytest.raises(AutoencoderFormatError, match="is not a transcoder"):
        load_transcoder(saved)
