"""DstConfig: what takes precedence, what is made once, and what is refused when it is made."""

import dataclasses
from pathlib import Path

import pytest
import torch

from helpers.tiny_models import our_model
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.indexing import (
    ActivationIndex,
    AttentionTraceType,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.errors import AutoencoderMismatchError, MisconfiguredError
from neuron_explainer.models.autoencoder_context import (
    AutoencoderConfig,
    AutoencoderContext,
    MultiAutoencoderContext,
)
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.inference_engine_type_registry import InferenceEngineType
from neuron_explainer.models.model_context import ModelContext, StandardModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as Dst
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture(scope="module")
def model() -> StandardModelContext:
    return StandardModelContext("small", our_model("gpt2"))


def autoencoders(
    dst: Dst = Dst.MLP_POST_ACT,
    width: int = 128,
    device: torch.device = CPU,
    layers: tuple[int, ...] = (0, 1, 2),
    base: str | None = None,
) -> AutoencoderContext:
    autoencoder = Autoencoder(torch.zeros(6, width), torch.zeros(width, 6), torch.zeros(width), torch.zeros(6))
    context = AutoencoderContext.from_autoencoders(dst, dict.fromkeys(layers, autoencoder), base_model_name=base)
    context.device = device  # where the weights are is not looked at here
    return context


def test_the_fields_and_their_defaults_in_order() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(DstConfig)}
    assert list(fields.items()) == [
        ("derive_gradients", False),
        ("model_name", None),
        ("inference_engine_type", InferenceEngineType.STANDARD),
        ("layer_indices", None),
        ("autoencoder_config", None),
        ("model_context", None),
        ("autoencoder_context", None),
        ("multi_autoencoder_context", None),
        ("trace_config", None),
        ("node_index_for_attention_write", None),
        ("device_for_raw_activations", None),
        ("activation_index_for_fake_grad", None),
        ("node_index_for_attribution", None),
        ("detach_layer_norm_scale_for_attribution", False),
    ]


def test_a_model_takes_precedence_over_its_name(model: StandardModelContext) -> None:
    config = DstConfig(model_name="small", model_context=model)
    assert config.get_model_context() is model
    assert config.get_n_layers() == 3
    assert config.get_or_create_model() is model.get_or_create_model()
    with pytest.raises(AssertionError, match="model_name is 'other'"):
        DstConfig(model_name="other", model_context=model)
    with pytest.raises(AssertionError, match="needs a model"):
        DstConfig().get_model_context()


def test_a_named_model_is_made_once(model: StandardModelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def from_model_type(name: str, *, device: torch.device, inference_engine_type: InferenceEngineType) -> ModelContext:
        made.append((name, device, inference_engine_type))
        return model

    monkeypatch.setattr(ModelContext, "from_model_type", from_model_type)
    config = DstConfig(model_name="owner/anything", device_for_raw_activations=CPU)
    assert config.get_model_context() is config.get_model_context() is model
    assert config.get_n_layers() == 3
    assert made == [("owner/anything", CPU, InferenceEngineType.STANDARD)]


def test_an_autoencoder_context_takes_precedence_and_is_made_once(tmp_path: Path) -> None:
    context = autoencoders()
    of_multi = MultiAutoencoderContext.from_context_list([autoencoders(Dst.RESID_DELTA_ATTN, 32)])
    config = DstConfig(autoencoder_context=context, multi_autoencoder_context=of_multi)
    assert config.get_autoencoder_context() is context
    assert config.get_autoencoder_dst() is Dst.MLP_POST_ACT
    lazy = AutoencoderConfig(Dst.RESID_DELTA_MLP, {0: tmp_path / "0.pt"})
    assert DstConfig(multi_autoencoder_context=of_multi, autoencoder_config=lazy).get_autoencoder_dst() is (
        Dst.RESID_DELTA_ATTN
    )
    config = DstConfig(autoencoder_config=lazy, device_for_raw_activations=CPU)
    made = config.get_autoencoder_context()
    assert made is not None
    assert made.autoencoder_config is lazy
    assert config.get_autoencoder_context(NodeType.MLP_AUTOENCODER_LATENT) is made
    assert DstConfig().get_autoencoder_context() is None
    assert DstConfig().get_autoencoder_dst() is None


def test_the_config_of_an_autoencoder_context_must_be_its_own() -> None:
    context = autoencoders()
    assert DstConfig(autoencoder_context=context, autoencoder_config=context.autoencoder_config)
    with pytest.raises(AssertionError, match="not the config of autoencoder_context"):
        DstConfig(autoencoder_context=context, autoencoder_config=AutoencoderConfig(Dst.MLP_POST_ACT, {0: "a.pt"}))


def test_autoencoders_of_another_kind_are_refused() -> None:
    mlp, attention = autoencoders(), autoencoders(Dst.RESID_DELTA_ATTN, 32)
    config = DstConfig(autoencoder_context=mlp)
    assert config.get_autoencoder_context(NodeType.AUTOENCODER_LATENT) is mlp
    with pytest.raises(AssertionError, match="attention_autoencoder_latent was asked for"):
        config.get_autoencoder_context(NodeType.ATTENTION_AUTOENCODER_LATENT)
    several = DstConfig(multi_autoencoder_context=MultiAutoencoderContext.from_context_list([mlp, attention]))
    assert several.get_autoencoder_context(NodeType.ATTENTION_AUTOENCODER_LATENT) is attention
    assert several.get_autoencoder_dst(NodeType.MLP_AUTOENCODER_LATENT) is Dst.MLP_POST_ACT
    with pytest.raises(AssertionError, match="Several autoencoders are given"):
        several.get_autoencoder_context()


def test_devices_must_agree(model: StandardModelContext) -> None:
    assert DstConfig(model_context=model, device_for_raw_activations=CPU).get_device() == CPU
    with pytest.raises(AssertionError, match="one device"):
        DstConfig(model_context=model, device_for_raw_activations=META)
    with pytest.raises(AssertionError, match="autoencoder_context: meta"):
        DstConfig(model_context=model, autoencoder_context=autoencoders(device=META))
    several = MultiAutoencoderContext.from_context_list(
        [autoencoders(), autoencoders(Dst.RESID_DELTA_ATTN, 32, device=META)]
    )
    with pytest.raises(AssertionError, match=r"multi_autoencoder_context \(attention_autoencoder_latent\): meta"):
        DstConfig(multi_autoencoder_context=several)


def test_the_device_comes_from_the_model_then_the_autoencoders_then_the_field() -> None:
    assert DstConfig(autoencoder_context=autoencoders(device=META)).get_device() == META
    assert DstConfig(device_for_raw_activations=META).get_device() == META
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert DstConfig().get_device().type == expected


def test_autoencoders_must_be_of_the_model(model: StandardModelContext) -> None:
    assert DstConfig(model_context=model, autoencoder_context=autoencoders(base="org/Small"))
    with pytest.raises(AutoencoderMismatchError, match="trained on gpt2-medium"):
        DstConfig(model_context=model, autoencoder_context=autoencoders(base="gpt2-medium"))
    with pytest.raises(AutoencoderMismatchError, match=r"reads .* numbers per token, but resid_delta_mlp of .* has 32"):
        DstConfig(model_context=model, autoencoder_context=autoencoders(Dst.RESID_DELTA_MLP))
    with pytest.raises(AutoencoderMismatchError, match=r"layers \[3\]"):
        DstConfig(model_context=model, autoencoder_context=autoencoders(layers=(1, 3)))
    several = MultiAutoencoderContext.from_context_list([autoencoders(width=3)])
    with pytest.raises(AssertionError):
        DstConfig(model_context=model, multi_autoencoder_context=several)


@pytest.mark.parametrize("layer_indices", [[3], [-1], [0, 0], [], ["1"]])
def test_layers_that_are_not_there_are_refused(model: StandardModelContext, layer_indices: list[int]) -> None:
    import jaxtyping

    with pytest.raises((MisconfiguredError, jaxtyping.TypeCheckError)):
        DstConfig(model_context=model, layer_indices=layer_indices)
    assert DstConfig(model_context=model, layer_indices=[2, 0]).layer_indices == [2, 0]


def test_a_head_s_write_needs_a_head_in_a_layer() -> None:
    DstConfig(node_index_for_attention_write=NodeIndex(NodeType.ATTENTION_HEAD, 1, (0, 0, 0)))
    for node in (NodeIndex(NodeType.MLP_NEURON, 1, (0, 0)), NodeIndex(NodeType.ATTENTION_HEAD, None, (0, 0, 0))):
        with pytest.raises(AssertionError, match="must be an attention head in a layer"):
            DstConfig(node_index_for_attention_write=node)


def test_a_trace_needs_a_layer_unless_it_is_of_a_logit_and_starts_at_an_activation() -> None:
    def trace(node: NodeIndex) -> TraceConfig:
        return TraceConfig(node, PreOrPostAct.POST)

    DstConfig(trace_config=trace(NodeIndex(NodeType.VOCAB_TOKEN, None, (0, 5))))
    without_layer = trace(NodeIndex(NodeType.MLP_NEURON, None, (0, 5)))
    with pytest.raises(AssertionError, match="needs the layer"):
        DstConfig(trace_config=without_layer)
    gradient = ActivationIndex(ActivationLocationType.MLP_POST_ACT, 1, (0, 5), PassType.BACKWARD)
    with pytest.raises(AssertionError, match="not at a gradient"):
        DstConfig(trace_config=TraceConfig.from_activation_index(gradient))
    head = NodeIndex(NodeType.ATTENTION_HEAD, 0, (0, 0, 0))
    with pytest.raises(AssertionError, match="needs the layer"):
        DstConfig(
            trace_config=TraceConfig(head, PreOrPostAct.POST, False, AttentionTraceType.V, without_layer),
        )


def test_which_types_need_the_backward_pass() -> None:
    assert not DstConfig().requires_grad_for_type(Dst.MLP_POST_ACT)
    assert DstConfig().requires_grad_for_type(Dst.MLP_ACT_TIMES_GRAD)
    assert DstConfig(derive_gradients=True).requires_grad_for_type(Dst.MLP_POST_ACT)


def test_another_engine_s_model_gives_no_transformer(model: StandardModelContext) -> None:
    class Elsewhere(ModelContext):
        def get_or_create_model(self) -> Transformer:
            return our_model("gpt2")

    missing = dict.fromkeys(ModelContext.__abstractmethods__)
    elsewhere = type("Elsewhere", (Elsewhere,), missing)("elsewhere", CPU, model.config)
    with pytest.raises(AssertionError, match="StandardModelContext"):
        DstConfig(model_context=elsewhere).get_or_create_model()


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DstConfig().derive_gradients = True  # type: ignore[misc]
