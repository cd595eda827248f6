"""A model's context: sizes, weights by place, tokens, and the model's life and death."""

import concurrent.futures
import functools
import gc
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.checkpoints import byte_level_tokenizer, save_folder, small_gpt2, small_llama
from helpers.tiny_models import HF_CONFIGS, our_model, random_tokens
from neuron_explainer.errors import (
    InvalidRequestError,
    MisconfiguredError,
    NotOneTokenError,
    TokenizerMismatchError,
    UnknownNameError,
)
from neuron_explainer.models.generation import text_generation
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.inference_engine_type_registry import InferenceEngineType
from neuron_explainer.models.layers.mlp import MLP
from neuron_explainer.models.model_context import ModelContext, StandardModelContext, get_default_device
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.vocabulary.weights import WeightLocationType

P, W = ActivationLocationType, WeightLocationType


@functools.cache
def context_of(name: str) -> StandardModelContext:
    return StandardModelContext(name, our_model(name, torch.float64))


def absent(name: str) -> set[WeightLocationType]:
    config = context_of(name).config
    missing = set() if config.learned_positions else {W.POSITION_EMBEDDING}
    if not config.gated_mlp:
        missing.add(W.MLP_TO_HIDDEN_UP)
    if not config.norm_has_bias:
        missing |= {W.ATTN_INPUT_LAYER_NORM_BIAS, W.MLP_INPUT_LAYER_NORM_BIAS, W.FINAL_LAYER_NORM_BIAS}
    if not config.input_norms:
        missing |= {W.ATTN_INPUT_LAYER_NORM_GAIN, W.MLP_INPUT_LAYER_NORM_GAIN}
        missing |= {W.ATTN_INPUT_LAYER_NORM_BIAS, W.MLP_INPUT_LAYER_NORM_BIAS}
    return missing


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_every_weight_has_its_places_shape(name: str) -> None:
    context = context_of(name)
    for location in W:
        layer = None if location.has_no_layers else 1
        if location in absent(name):
            with pytest.raises(InvalidRequestError, match=f"has no {location.value}"):
                context.get_weight(location, layer)
        else:
            weight = context.get_weight(location, layer)
            assert tuple(weight.shape) == tuple(context.get_dim_size(dimension) for dimension in location.shape)
            assert not weight.requires_grad


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_weights_do_what_their_places_say(name: str) -> None:
    """What is recorded before and after a weight, and the weight, agree: biases are found as what is left at zero."""
    context = context_of(name)
    model = context.get_or_create_model()
    tokens = random_tokens(1, 6)
    places = [P.RESID_POST_MLP_LAYER_NORM, P.RESID_POST_ATTN_LAYER_NORM, P.ATTN_VALUE, P.MLP_PRE_ACT, P.MLP_POST_ACT]
    places += [P.ATTN_WEIGHTED_SUM_OF_VALUES, P.RESID_DELTA_ATTN, P.RESID_DELTA_MLP]
    with model.record([(place, 1) for place in places]) as recording:
        model(tokens)
    block = model.blocks[1]

    def at(place: ActivationLocationType) -> torch.Tensor:
        return recording[place, 1][0]

    def constant_over_tokens(difference: torch.Tensor) -> bool:
        return torch.allclose(difference, difference[:1].expand_as(difference), atol=1e-9)

    values = torch.einsum("tm,hmv->thv", at(P.RESID_POST_MLP_LAYER_NORM), context.get_weight(W.ATTN_TO_VALUE, 1))
    assert constant_over_tokens(at(P.ATTN_VALUE) - values)
    pre_act = at(P.RESID_POST_ATTN_LAYER_NORM) @ context.get_weight(W.MLP_TO_HIDDEN, 1)
    is_chosen = at(P.MLP_PRE_ACT) != 0
    if context.config.n_experts:  # with biases that differ by the tokens' experts
        if not context.config.mlp_bias:
            assert torch.allclose(at(P.MLP_PRE_ACT), pre_act * is_chosen, atol=1e-9)
    else:
        assert constant_over_tokens(at(P.MLP_PRE_ACT) - pre_act)
    if not context.config.post_norms:
        written = at(P.MLP_POST_ACT) @ context.get_weight(W.MLP_TO_RESIDUAL, 1)
        if not (context.config.n_experts and context.config.mlp_bias):
            assert constant_over_tokens(at(P.RESID_DELTA_MLP) - written)
        heads = torch.einsum(
            "thv,hvm->tm", at(P.ATTN_WEIGHTED_SUM_OF_VALUES), context.get_weight(W.ATTN_TO_RESIDUAL, 1)
        )
        assert constant_over_tokens(at(P.RESID_DELTA_ATTN) - heads)
    if context.config.gated_mlp:
        up = at(P.RESID_POST_ATTN_LAYER_NORM) @ context.get_weight(W.MLP_TO_HIDDEN_UP, 1)
        if isinstance(block.mlp, MLP) and block.mlp.up_bias is None:
            assert torch.allclose(at(P.MLP_POST_ACT), block.mlp.activation_function(pre_act) * up, atol=1e-9)


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_the_embedding_and_the_unembedding_are_the_ends_of_the_residual_stream(name: str) -> None:
    context = context_of(name)
    model = context.get_or_create_model()
    tokens = random_tokens(1, 6)
    with model.record([P.RESID_POST_EMBEDDING, P.RESID_POST_FINAL_LAYER_NORM]) as recording:
        logits = model(tokens)[0]
    embedded = context.get_weight(W.EMBEDDING)[tokens[0]]
    if context.config.learned_positions:
        embedded = embedded + context.get_weight(W.POSITION_EMBEDDING)[:6]
    assert torch.allclose(recording[P.RESID_POST_EMBEDDING][0], embedded, atol=1e-12)
    unembedded = recording[P.RESID_POST_FINAL_LAYER_NORM][0] @ context.get_weight(W.UNEMBEDDING)
    if model.unembedding_bias is not None:
        unembedded = unembedded + model.unembedding_bias
    cap = context.config.logits_softcap
    assert torch.allclose(logits, unembedded if cap is None else cap * torch.tanh(unembedded / cap), atol=1e-9)


def test_shared_keys_and_values_are_repeated_for_each_head() -> None:
    theirs = small_llama()
    context = ne.load_model(theirs)
    values = theirs.model.layers[1].self_attn.v_proj.weight.detach()
    weight = context.get_weight(W.ATTN_TO_VALUE, 1)
    for head, shared in enumerate([0, 0, 1, 1]):
        assert torch.equal(weight[head], values[shared * 16 : (shared + 1) * 16].T)


def test_normalised_weights() -> None:
    context = context_of("gpt2")
    raw = context.get_weight(W.MLP_TO_RESIDUAL, 0)
    for dimension, axis in ((Dimension.MLP_ACTS, 0), (Dimension.RESIDUAL_STREAM_CHANNELS, 1)):
        normalised = context.get_weight(W.MLP_TO_RESIDUAL, 0, normalize_dim=dimension)
        assert torch.allclose(normalised * raw.norm(dim=axis, keepdim=True), raw)
        assert torch.allclose(normalised.norm(dim=axis), torch.ones(1, dtype=torch.float64))
    with pytest.raises(InvalidRequestError, match=r"no axis attn_heads.*mlp_acts, residual_stream_channels"):
        context.get_weight(W.MLP_TO_RESIDUAL, 0, normalize_dim=Dimension.ATTN_HEADS)


@pytest.mark.parametrize(("location", "layer"), [(W.MLP_TO_HIDDEN, 3), (W.MLP_TO_HIDDEN, -1), (W.MLP_TO_HIDDEN, None)])
def test_layers_that_are_not_there(location: WeightLocationType, layer: int | None) -> None:
    with pytest.raises(InvalidRequestError, match=f"no layer {layer}; layers: 0–2"):
        context_of("gpt2").get_weight(location, layer)
    with pytest.raises(InvalidRequestError, match="Leave the layer out"):
        context_of("gpt2").get_weight(W.EMBEDDING, 0)


def test_sizes() -> None:
    context = context_of("mistral")
    assert (context.n_layers, context.n_neurons, context.n_attention_heads, context.d_model) == (3, 48, 4, 32)
    assert (context.vocab_size, context.max_context_length) == (61, 64)
    assert context.get_dim_size(Dimension.QUERY_AND_KEY_CHANNELS) == 16
    with pytest.raises(InvalidRequestError, match=r"sequence_tokens does not depend on the model alone.*mlp_acts"):
        context.get_dim_size(Dimension.SEQUENCE_TOKENS)


def test_tokens(tmp_path: Path) -> None:
    context = ne.load_model(save_folder(small_gpt2(), tmp_path), device="cpu")
    ids = context.encode("naïve — 東京")
    assert context.decode(ids) == "naïve — 東京"
    assert context.decode_token_list(ids) == [context.decode_token(token_id) for token_id in ids]
    assert context.encode_token_str_list([" Mary", "<|endoftext|>"]) == [context.encode_token_str(" Mary"), 319]
    assert context.decode_token_list(torch.tensor([319])) == ["<|endoftext|>"]
    with pytest.raises(NotOneTokenError):
        context.encode_token_str(" Mary and")
    for bad in (-1, 320):
        with pytest.raises(InvalidRequestError, match=f"no token {bad}. Token ids go from 0 to 319"):
            context.decode_token_list([bad])


def test_generated_text(tmp_path: Path) -> None:
    context = ne.load_model(save_folder(small_gpt2(), tmp_path), device="cpu")
    prompt = context.encode("The capital")
    for seed in range(5):
        sampling = Sampling(temperature=2.0, seed=seed)
        (ids,) = generate(context.get_or_create_model(), [prompt], max_new_tokens=18, sampling=sampling)
        pieces = list(context.stream("The capital", max_new_tokens=18, sampling=sampling))
        assert "".join(pieces) == context.decode(ids)
        assert all(pieces)
        assert context.generate("The capital", max_new_tokens=18, sampling=sampling) == context.decode(ids)


def test_a_character_is_streamed_when_it_is_whole_and_the_text_ends_at_its_end_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = ModelTokenizer(byte_level_tokenizer())
    snowman = tokenizer.encode("\N{SNOWMAN}")
    written = [*tokenizer.encode("a"), *snowman, *snowman[:1], 319, *tokenizer.encode("b")]
    monkeypatch.setattr(text_generation, "stream", lambda *arguments, **options: iter([[token] for token in written]))
    transformer = ne.load_model(small_gpt2()).get_or_create_model()
    context = StandardModelContext("x", transformer, tokenizer, end_token_ids=[319])
    assert list(context.stream("a")) == ["a", "\N{SNOWMAN}", "\\xe2"]


@pytest.mark.parametrize(("n_rows", "fits"), [(319, False), (320, True), (832, True), (833, False)])
def test_a_vocabulary_may_have_spare_rows(n_rows: int, fits: bool) -> None:
    transformer = ne.load_model(small_llama(vocab_size=n_rows)).get_or_create_model()
    tokenizer = ModelTokenizer(byte_level_tokenizer())
    if fits:
        assert StandardModelContext("x", transformer, tokenizer).vocab_size == n_rows
    else:
        with pytest.raises(TokenizerMismatchError, match=f"320 tokens and x has {n_rows}"):
            StandardModelContext("x", transformer, tokenizer)


def test_the_model_is_created_when_it_is_needed_and_once(tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path)
    weights = (folder / "model.safetensors").rename(folder / "elsewhere")
    context = ModelContext.from_model_type(
        str(folder), device=torch.device("cpu"), inference_engine_type=InferenceEngineType.STANDARD
    )
    assert context.n_layers == 2
    assert context.encode(" Mary")
    weights.rename(folder / "model.safetensors")
    model = context.get_or_create_model()
    assert context.get_or_create_model() is model
    assert context.get_weight(W.EMBEDDING).data_ptr() == model.embedding.data_ptr()
    watched = weakref.ref(model)
    logits = model(torch.tensor([[1, 2, 3]]))
    del model
    context.free()
    gc.collect()
    assert watched() is None
    assert torch.equal(context.get_or_create_model()(torch.tensor([[1, 2, 3]])), logits)


def test_threads_that_ask_at_once_get_the_same_model() -> None:
    transformer = ne.load_model(small_gpt2()).get_or_create_model()
    created = []

    def create() -> Transformer:
        time.sleep(0.05)
        created.append(transformer)
        return transformer

    context = StandardModelContext("x", config=transformer.config, device="cpu", create=create)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: context.get_or_create_model(), range(4))) == {transformer}
    assert len(created) == 1


def test_a_model_from_memory_is_gone_when_it_is_freed() -> None:
    context = ne.load_model(small_gpt2())
    context.free()
    with pytest.raises(InvalidRequestError, match="GPT2LMHeadModel was freed"):
        context.get_or_create_model()


def test_what_a_context_needs() -> None:
    with pytest.raises(MisconfiguredError, match="transformer, or config"):
        StandardModelContext("x")
    with pytest.raises(UnknownNameError, match=r"inference engine 'other'.*standard"):
        ModelContext.from_model_type("tiny", inference_engine_type="other")


def test_devices() -> None:
    assert get_default_device() == (
        torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    )
    for device in ("nowhere", "cuda:99"):
        with pytest.raises(InvalidRequestError):
            ne.load_model(small_gpt2(), device=device)


def test_smollm2(smollm2: StandardModelContext) -> None:
    model = smollm2.get_or_create_model()
    for prompt, answer in [
        ("The capital of France is", " Paris"),
        # Only a model whose queries and keys are turned rightly knows who gave and who is given.
        ("When Mary and John went to the store, John gave a drink to", " Mary"),
    ]:
        logits = model(torch.tensor([smollm2.encode(prompt)]), logits_at="last")
        assert smollm2.decode_token(int(logits.argmax())) == answer
    assert smollm2.end_token_ids == (smollm2.encode_token_str("<|im_end|>"),)


def test_names_values_and_other_whole_numbers_are_taken() -> None:
    context = context_of("gpt2")
    weight = context.get_weight(W.MLP_TO_RESIDUAL, 1)
    for name in ("MLP_TO_RESIDUAL", "mlp.out_layer", "mlp_to_residual"):
        assert torch.equal(context.get_weight(name, np.int64(1)), weight)
    normalised = context.get_weight("mlp.out_layer", torch.tensor(1), normalize_dim="MLP_ACTS")
    assert torch.equal(normalised, context.get_weight(W.MLP_TO_RESIDUAL, 1, normalize_dim=Dimension.MLP_ACTS))
    assert context.get_dim_size("mlp_acts") == context.get_dim_size("MLP_ACTS") == context.n_neurons
    with pytest.raises(UnknownNameError, match=r"Unknown weight 'mlp_to_resid'\. Did you mean: mlp"):
        context.get_weight("mlp_to_resid", 1)
    with pytest.raises(UnknownNameError, match="Unknown dimension"):
        context.get_dim_size("sides")
