"""Configs old and new are read alike, what is not supported is refused, and checkpoints that do not fit are named."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers

import neuron_explainer as ne
from helpers.derived_scalars import annotations_unchecked
from helpers.installed_transformers import IS_OLD, hf_config_of, or_skipped
from helpers.paths import REPOSITORY
from helpers.tiny_models import HF_CONFIGS, ONE_OF_EACH_FAMILY, hf_model, our_model, random_tokens
from neuron_explainer.errors import (
    InvalidRequestError,
    MisconfiguredError,
    MissingTensorError,
    TensorShapeError,
    UnexpectedTensorError,
    UnknownNameError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.families import FAMILY_BY_MODEL_TYPE, family_of, register_family
from neuron_explainer.models.layers.rotary import inverse_frequencies
from neuron_explainer.models.parity.reference import ObservedModules
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.nodes import AttnSubNode
from neuron_explainer.vocabulary.places import ActivationLocationType

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 50,
    "max_position_embeddings": 128,
}


def config_of(**entries: object) -> TransformerConfig:
    hf_config = {**LLAMA, **entries}
    return family_of(hf_config).config(hf_config)


def test_the_old_and_the_new_spelling_of_rotary_settings_mean_the_same() -> None:
    constants = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    constants["original_max_position_embeddings"] = 32
    old = config_of(rope_theta=500.0, rope_scaling={"rope_type": "llama3", **constants})
    new = config_of(rope_parameters={"rope_theta": 500.0, "rope_type": "llama3", **constants})
    assert old == new
    assert old.rotary == RotaryConfig(
        n_channels=16, base=500.0, scaling="llama3", factor=8.0, original_context_length=32
    )
    assert config_of(rope_scaling={"type": "linear", "factor": 2.0}).rotary == RotaryConfig(
        n_channels=16, scaling="linear", factor=2.0
    )
    neox = {**LLAMA, "model_type": "gpt_neox"}
    old_neox = family_of(neox).config({**neox, "rotary_pct": 0.5, "rotary_emb_base": 777})
    assert old_neox.rotary == RotaryConfig(n_channels=8, base=777.0)


def test_llama_3_stretches_long_wavelengths_alone() -> None:
    plain = inverse_frequencies(RotaryConfig(n_channels=64, base=500000.0))
    scaled = inverse_frequencies(RotaryConfig(n_channels=64, base=500000.0, scaling="llama3", factor=8.0))
    wavelengths = 2 * math.pi / plain
    is_long, is_short = wavelengths > 8192, wavelengths < 8192 / 4
    assert is_long.any()
    assert is_short.any()
    assert (~is_long & ~is_short).any()
    torch.testing.assert_close(scaled[is_long], plain[is_long] / 8)
    torch.testing.assert_close(scaled[is_short], plain[is_short])
    between = scaled[~is_long & ~is_short]
    assert (between > plain[~is_long & ~is_short] / 8).all()
    assert (between < plain[~is_long & ~is_short]).all()


def test_entries_that_older_configs_leave_out_have_their_family_s_defaults() -> None:
    assert config_of().n_key_value_heads == 4
    assert config_of(head_dim=None).d_head == 16
    assert not config_of().tied_unembedding
    assert config_of(model_type="mistral").sliding_window_by_layer == (4096, 4096)
    assert config_of(model_type="mistral", sliding_window=None).sliding_window_by_layer == (None, None)
    assert config_of(model_type="qwen2", sliding_window=10).sliding_window_by_layer == (None, None)
    qwen = config_of(model_type="qwen2", sliding_window=10, use_sliding_window=True, max_window_layers=1)
    assert qwen.sliding_window_by_layer == (None, 10)
    gemma = config_of(model_type="gemma2")
    assert gemma.sliding_window_by_layer == (4096, None)
    assert gemma.attention_scale_by_layer == (1 / 16, 1 / 16)
    assert gemma.tied_unembedding
    assert gemma.logits_softcap == 30.0


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_type": "lama"}, r"'lama' is not supported\. Choose one of: llama, "),
        ({"rope_scaling": {"rope_type": "proportional", "factor": 4.0}}, "'proportional'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "needs 'low_freq_factor'"),
        ({"hidden_size": None}, "no hidden_size"),
        ({"pretraining_tp": 2}, "pretraining_tp = 2"),
        ({"model_type": "gemma2", "use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ],
)
def test_what_is_not_supported_is_refused(entries: dict[str, object], message: str) -> None:
    with pytest.raises(UnsupportedCheckpointError, match=message):
        config_of(**entries)


def test_contradictory_sizes_and_unknown_activation_functions_are_refused() -> None:
    with pytest.raises(MisconfiguredError, match="3 key/value heads"):
        config_of(num_key_value_heads=3)
    with pytest.raises(MisconfiguredError, match="n_layers is 0"):
        config_of(num_hidden_layers=0)
    with pytest.raises(UnknownNameError, match=r"'gelu_nw'\. Choose one of: gelu_new"):
        Transformer(config_of(hidden_act="gelu_nw"))


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_checkpoints_of_the_base_model_and_with_masks_in_them_load_too(name: str) -> None:
    theirs = hf_model(name)
    family = family_of(theirs.config.to_dict())
    tensors = {key.removeprefix(family.base_prefix): tensor for key, tensor in theirs.state_dict().items()}
    mask_name = {
        "gpt2": "h.0.attn.bias",
        "gpt_neox": "layers.0.attention.masked_bias",
        "gptj": "h.0.attn.masked_bias",
        "gpt_neo": "h.0.attn.attention.bias",
        "opt": "decoder.embed_positions.weight",  # it has none
        "falcon": "h.0.self_attention.rotary_emb.inv_freq",
    }.get(name, "layers.1.self_attn.rotary_emb.inv_freq")
    tensors.setdefault(mask_name, torch.zeros(1))
    model = Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), tensors)
    tokens = random_tokens(1, 5)
    torch.testing.assert_close(model(tokens), our_model(name)(tokens))


def test_tensors_that_do_not_fit_are_named() -> None:
    config, tensors = hf_model("llama").config.to_dict(), dict(hf_model("llama").state_dict())
    name = "model.layers.1.mlp.up_proj.weight"
    with pytest.raises(MissingTensorError, match=re.escape(name)) as missing:
        Transformer.from_hf_config_and_tensors(config, {key: tensors[key] for key in tensors if key != name})
    assert missing.value.tensor == name
    with pytest.raises(UnexpectedTensorError, match=r"model\.layers\.3\.bonus"):
        Transformer.from_hf_config_and_tensors(config, {**tensors, "model.layers.3.bonus": torch.zeros(1)})
    with pytest.raises(TensorShapeError, match=r"\(48, 31\).*\(48, 32\)") as misshapen:
        Transformer.from_hf_config_and_tensors(config, {**tensors, name: torch.zeros(48, 31)})
    assert misshapen.value.tensor == name


def test_each_tensor_is_read_once() -> None:
    class Reader(dict[str, torch.Tensor]):
        read: list[str] = []  # noqa: RUF012

        def __getitem__(self, name: str) -> torch.Tensor:
            self.read.append(name)
            return super().__getitem__(name)

    theirs = hf_model("gpt_neox")
    tensors = Reader(theirs.state_dict())
    Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), tensors)
    looked_at_by_type_checks = next(iter(tensors))
    times_read = Counter(tensors.read)
    assert set(times_read) == set(tensors)
    assert {count for name, count in times_read.items() if name != looked_at_by_type_checks} == {1}


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_the_parts_of_a_fused_weight_give_what_the_whole_gives(name: str) -> None:
    model = our_model(name)
    attention = model.blocks[1].attention
    normed = torch.randn(2, 5, model.config.d_model)
    for which, heads in zip((AttnSubNode.Q, AttnSubNode.K, AttnSubNode.V), attention.project(normed), strict=True):
        torch.testing.assert_close(attention.project_part(which, normed), heads)
        bias = attention.part(which)[1]
        by_head = torch.einsum("btd,hdc->bthc", normed, attention.by_head(which))
        unbiased = heads if bias is None else heads - bias.view(-1, model.config.d_head)
        torch.testing.assert_close(by_head, attention.repeated(unbiased), atol=1e-5, rtol=1e-5)
    summed = torch.randn(2, 5, model.config.n_heads, model.config.d_head)
    together = torch.einsum("bthc,hcd->btd", summed, attention.output_by_head())
    if attention.output_bias is not None:
        together = together + attention.output_bias
    torch.testing.assert_close(attention.output(summed), together, atol=1e-5, rtol=1e-5)


def test_random_weights_follow_their_seed() -> None:
    config = config_of()
    first, again, other = (Transformer.with_random_weights(config, seed=seed) for seed in (0, 0, 1))
    tokens = random_tokens(1, 6, vocab_size=50)
    assert torch.equal(first(tokens), again(tokens))
    assert not torch.equal(first(tokens), other(tokens))
    assert Transformer.with_random_weights(config, dtype=torch.bfloat16).dtype == torch.bfloat16


DOCUMENT = REPOSITORY / "docs/adding_a_family.md"


@pytest.fixture
def documented() -> Iterator[dict[str, Any]]:
    """The document's examples, run; the registry is as before afterwards."""
    before = dict(FAMILY_BY_MODEL_TYPE)
    names: dict[str, Any] = {"__name__": "example"}
    try:
        for example in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
            exec(compile(example, str(DOCUMENT), "exec"), names)
        yield names
    finally:
        FAMILY_BY_MODEL_TYPE.clear()
        FAMILY_BY_MODEL_TYPE.update(before)


DOCUMENTED_CONFIGS: dict[str, dict[str, Any]] = {
    "gemma": {"model_type": "gemma", "head_dim": 16, "num_key_value_heads": 1},
    "glm": {"model_type": "glm", "num_key_value_heads": 2, "head_dim": 16},
    "glm_rotated": {"model_type": "glm", "head_dim": 8, "rope_parameters": {"partial_rotary_factor": 1.0}},
}


def random_hf_model(**entries: object) -> transformers.PreTrainedModel:
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    torch.manual_seed(0)
    config = hf_config_of({**LLAMA, **special, **entries})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.filterwarnings("ignore:check_parity is an older name")
@pytest.mark.parametrize("name", DOCUMENTED_CONFIGS)
def test_the_documented_families_agree_at_every_place(documented: dict[str, Any], name: str) -> None:
    theirs = random_hf_model(**DOCUMENTED_CONFIGS[name])
    ours = Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())
    assert ne.check_parity(ours, theirs).largest_difference.max() < 1e-4


def test_a_family_is_replaced_only_if_asked(documented: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="replace=True"):
        register_family(FAMILY_BY_MODEL_TYPE["gemma"])
    register_family(documented["GemmaFamily"](), replace=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (type(FAMILY_BY_MODEL_TYPE["llama"]), r"family is the class LlamaFamily\. Give an instance: LlamaFamily\("),
        (5, "family must be of type Family, not int"),
        (None, "not NoneType"),
    ],
)
def test_only_an_instance_of_a_family_can_be_registered(given: Any, message: str) -> None:
    with annotations_unchecked(), pytest.raises(InvalidRequestError, match=message):
        register_family(given, replace=True)


@pytest.mark.filterwarnings("ignore:check_parity is an older name")
def test_a_place_of_another_shape_is_named(documented: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = random_hf_model(model_type="glm", head_dim=8)
    ours = Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())
    places = ObservedModules.places
    key = (ActivationLocationType.MLP_PRE_ACT, 1)
    monkeypatch.setattr(ObservedModules, "places", lambda self: {**places(self), key: torch.zeros(2, 24, 192)})
    with pytest.raises(InvalidRequestError, match=r"mlp\.pre_act of layer 1 has shape .*96\) here and .*192\) in"):
        ne.check_parity(ours, theirs)


def test_the_document_lists_exactly_the_parameters_of_our_models() -> None:
    listed = set()
    for row in DOCUMENT.read_text().split("## Our parameters")[1].split("\n## ")[0].splitlines():
        if row.startswith("| `"):
            listed |= set(re.findall(r"`([\w.]+)`", row.split("|")[1]))
    configs = [our_model(name).config for name in HF_CONFIGS]
    models = [Transformer(config) for config in configs]
    models += [Transformer(dataclasses.replace(config, unembedding_bias=True, qkv_bias=True)) for config in configs]
    of_layer = re.compile(r"^blocks\.\d+\.|(?<=^mlp\.)experts\.\d+\.")  # an expert's are named as those of an MLP
    named = {
        of_layer.sub("", of_layer.sub("", name, count=1)) for model in models for name, _ in model.named_parameters()
    }
    assert listed == named


def test_a_share_of_rotated_channels_is_read_in_both_spellings_or_refused(documented: dict[str, Any]) -> None:
    phi3 = {**LLAMA, "model_type": "phi3", "partial_rotary_factor": 0.5}  # a raw config.json, not a converted one
    theirs = random_hf_model(**phi3)
    assert IS_OLD or "partial_rotary_factor" in theirs.config.to_dict()["rope_parameters"]
    old, new = (family_of(phi3).config(entries) for entries in (phi3, theirs.config.to_dict()))
    assert old == new
    assert old.rotary == RotaryConfig(n_channels=8)
    neox = {**LLAMA, "model_type": "gpt_neox"}
    nested = {**neox, "rope_parameters": {"partial_rotary_factor": 0.5}}
    assert family_of(neox).config(nested).rotary == RotaryConfig(n_channels=8)
    for model_type in ("llama", "mistral", "qwen2", "qwen3", "gemma2"):
        for entries in ({"partial_rotary_factor": 0.5}, {"rope_parameters": {"partial_rotary_factor": 0.5}}):
            with pytest.raises(UnsupportedCheckpointError, match=rf"{model_type} config has partial_rotary_factor"):
                config_of(model_type=model_type, **entries)
        assert config_of(model_type=model_type, partial_rotary_factor=1.0).rotary is not None


@pytest.mark.parametrize("model_type", or_skipped(sorted(FAMILY_BY_MODEL_TYPE)))
def test_every_family_has_a_model_in_the_table_of_the_tests(model_type: str) -> None:
    assert model_type in {config.model_type for config in HF_CONFIGS.values()}
