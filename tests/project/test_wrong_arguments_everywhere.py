"""What the public functions and classes take (names of members, NumPy and torch numbers), and what they refuse.

All cases run in a process of their own: this one checks annotations at every call, so nothing wrong would get through.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

SETUP = """
import json, sys
from pathlib import Path
import numpy as np, torch
import neuron_explainer as ne
from neuron_explainer.activations.splits import ActivationRecordSliceParams
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.transformer import Transformer

model = ne.load_model("tiny", device="cpu")
chatty = ne.load_model("tiny", device="cpu", chat_template="{{ messages[0].content }}")
transformer, tokens = model.get_or_create_model(), model.to_tokens("Once upon a time")
store = ne.derive("Once upon a time", "mlp_post_act", model)
record = ne.load_neuron("tiny", 2, 5)
heads = ne.load_neuron("tiny", 0, 1, "attn_write_norm").most_positive_activation_records[0]
one, two, three = np.int64(1), torch.tensor(2), np.int32(3)
index = ne.ActivationIndex("MLP_POST_ACT", one, ("All", two), "backward")
neuron = ne.NodeIndex("MLP_NEURON", one, (two, three))
dst, latent = ne.DerivedScalarType, ne.DerivedScalarType.AUTOENCODER_LATENT
context = ne.AutoencoderContext(ne.AutoencoderConfig("MLP_POST_ACT", {one: "a.pt"}), "cpu")
config = lambda **fields: ne.DstConfig(model_context=model, **fields)

def recorded(places):
    with transformer.record(places) as recording:
        transformer(tokens)
    return recording

def intervened(*arguments, **options):
    with transformer.intervene(*arguments, **options) as intervention:
        transformer(tokens)
    return intervention.n_fired

def outcome(expression):
    try:
        return ["", repr(eval(expression, globals()))]
    except BaseException as error:
        return [type(error).__name__, str(error), isinstance(error, ne.errors.NeuronExplainerError)]

print(json.dumps([outcome(expression) for expression in json.load(sys.stdin)]))
"""

TAKEN = [  # expressions that are true
    'list(ne.attention("tiny", tokens, layers=[two, one]).by_layer) == [1, 2]',
    'ne.attention(model, "A b").pattern(one, two).shape == ne.attention(model, "A b").head("L1H2").weights.shape',
    "ne.DstConfig(model_context=model, layer_indices=one).layer_indices == [1]",
    "config(layer_indices=torch.arange(2)).layer_indices == [0, 1]",
    'config(layer_indices=np.arange(2), inference_engine_type="STANDARD").layer_indices == [0, 1]',
    'ne.derive("A", ("MLP_POST_ACT", model)).dsts == [dst.MLP_POST_ACT]',
    'ne.derive(np.arange(3), ["mlp_post_act", ("ATTN_WRITE_NORM", config())], model).token_ids == [0, 1, 2]',
    '"MLP_POST_ACT" in store and "mlp_post_act" in store and "no scalar" not in store and 3 not in store',
    'list(store.activations("MLP_POST_ACT", "FORWARD")) == [0, 1, 2, 3]',
    'store.topk(two, dsts="MLP_POST_ACT", layers=torch.arange(2))[0].shape == (2,)',
    'ne.DerivedScalarStore({("MLP_POST_ACT", "FORWARD"): {one: store.activations("mlp_post_act")[1]}}, store.tokens)'
    ".topk(1, layers=1)[1][0].layer_index == 1",
    'ne.DerivedScalarStore({}, [], summed=["MLP_ACTS"]).summed == {ne.Dimension.MLP_ACTS}',
    'index.tensor_indices == ("All", 2) and index.pass_type is ne.PassType.BACKWARD',
    "ne.AblationSpec(index, np.float32(1)).value == ne.AblationSpec(index, torch.tensor(1)).value == 1.0",
    "ne.AblationSpec(ne.ActivationIndex('mlp_post_act', 1, (None, 3)), 0, np.array([2, 1])).tokens == (2, 1)",
    "ne.TensorAblation(ne.ActivationIndex('mlp_post_act', 1, (None, 3)), np.zeros(2)).values.shape == (2,)",
    "store.topk(1, tokens=two)[1] == store.topk(1, tokens=torch.tensor([2]))[1]",
    'ne.TraceConfig(ne.NodeIndex("attention_head", 1, (3, 1, 0)), "PRE", attention_trace_type="qk").layer_index == 1',
    'dst.from_activation_location_type("MLP_POST_ACT") is dst.MLP_POST_ACT',
    'dst.MLP_POST_ACT.requires_grad_for_pass_type("BACKWARD")',
    'latent.update_from_autoencoder_node_type("MLP_AUTOENCODER_LATENT") is dst.MLP_AUTOENCODER_LATENT',
    'len(model.generate("A", max_new_tokens=two, sampling=ne.Sampling(temperature=two, top_k=three, seed=one))) > 0',
    "ne.Sampling(temperature=np.float32(0.5), top_p=torch.tensor(0.5)) == ne.Sampling(temperature=0.5, top_p=0.5)",
    "len(generate(transformer, [[one, two]], max_new_tokens=two, stop_tokens=torch.arange(0))[0]) == 2",
    'model.generate(["A", "B"], max_new_tokens=2) == [model.generate(each, max_new_tokens=2) for each in "AB"]',
    'model.generate(np.array(model.encode("And")), max_new_tokens=2) == model.generate("And", max_new_tokens=2)',
    "config(derive_gradients=np.True_).derive_gradients is True",
    "ne.ActivationIndex('mlp_post_act', 1, np.array([0, 3])) == ne.ActivationIndex('mlp_post_act', 1, (0, 3))",
    "store.topk(1, largest=np.False_)[0].item() < 0",
    'ne.ActivationIndex("ActivationLocationType.MLP_POST_ACT", 1, (0, 3)).layer_index == 1',
    'ne.Dimension("head") is ne.Dimension("heads") is ne.Dimension.ATTN_HEADS',
    "model.decode(np.arange(3)) == model.tokenizer.decode([np.int64(0), one, two])",
    'model.get_weight("MLP_TO_RESIDUAL", two, "MLP_ACTS").shape == (512, 128)',
    'Transformer.with_random_weights(transformer.config, seed=one, dtype="bfloat16").dtype == torch.bfloat16',
    'recorded([("MLP_POST_ACT", np.arange(2)), ("attn.qk_probs", two)])["mlp_post_act", one].ndim == 3',
    'intervened("MLP_POST_ACT", torch.arange(2), torch.zeros_like, pass_type="FORWARD") == 2',
    "context.layer_indices == (1,) and context.dst is dst.MLP_POST_ACT",
    'ne.load_autoencoders("a/{layer}.pt", "MLP_POST_ACT", layers=one).layer_indices == (1,)',
    'ne.MultiAutoencoderContext({"MLP_AUTOENCODER_LATENT": context}).get_autoencoder_context(context'
    ".autoencoder_node_type) is context",
    'ne.CollateSettings(dst="MLP_PRE_ACT", layers=two, top_k=three).layers == (2,)',
    'ne.load_neurons(np.array([[1, 2], [0, 1]]), "tiny", "MLP_POST_ACT", progress=False).failures == []',
    "len(record.train_activation_records(ActivationRecordSliceParams(one))) == 1",
    'ne.token_heatmap(["a", "b"], torch.tensor([1.0, 2.0]), width=one) == '
    'ne.token_heatmap(["a", "b"], [1, 2], width=1)',
    'ne.record_to_html(record, dst="MLP_POST_ACT", examples=two, width=three) == '
    'ne.record_to_html(record, dst="mlp_post_act", examples=2, width=3)',
    "ne.pair_view(heads, width=two, n_pairs=one, matrix_width=three) == "
    "ne.pair_view(heads, width=2, n_pairs=1, matrix_width=3)",
    'ne.NeuronViewer("tiny", one, two, "MLP_POST_ACT", examples=two).record.neuron_id == ne.NeuronId(1, 2)',
    'ne.live_record(model, one, two, "Once upon", config=model).neuron_id == ne.NeuronId(1, 2)',
    'ne.register_model(ne.RegisteredModel(name="by text", description="", path=str(Path(ne.__file__).parent / "data" '
    '/ "tiny"))) is None and ne.load_model("by text", device="cpu").model_name == "by text"',
]

REFUSED = {  # expressions, with a part of the message that they raise
    "ne.DstConfig(model)": "DstConfig(model_context=model)",
    "config(layer_indices=[1.5])": "layer_indices is [1.5]",
    "config(layer_indices=[1, 1])": "Give each layer once",
    "config(layer_indices=[])": "layer_indices is empty",
    'config(device_for_raw_activations="no device")': "'no device' is not a device",
    "ne.DstConfig(model_name=3)": "model_name must be of type str",
    'ne.derive(3, "mlp_post_act", model)': "Give a text or a flat sequence of token ids, not 3",
    'ne.derive_batch(None, "mlp_post_act", model)': "prompts is None",
    'ne.AblationSpec(index, "1")': "finite number",
    "ne.TensorAblation(3, torch.zeros(2))": "index must be an ActivationIndex",
    "ne.TensorAblation(index, [1.0])": "values must be a tensor, not [1.0]",
    "ne.TensorAblation.mean(3, model)": "index must be of type ActivationIndex",
    "ne.TensorAblation.mean(ne.ActivationIndex('mlp_post_act', 1, (0, 0)), model, 3)": "reference is 3",
    "ne.TensorAblation.mean(ne.ActivationIndex('mlp_post_act', 1, (0, 0)), model, [1.5])": "not 1.5",
    'ne.derive("A", "logits", model, freeze_final_norm="no")': "freeze_final_norm is 'no'. Give True or False",
    'ne.derive_batch(["A"], "logits", model, ablations=[[3]])': "ablations holds 3. Give AblationSpecs",
    'ne.derive_batch(["A"], "logits", model, ablations=[[[]]])': "ablations holds []. Give AblationSpecs",
    'ne.derive_batch(["A"], "logits", model, loss=["logit_diff"])': "loss must be a LossFnConfig",
    "store.topk(1, tokens=[1.5])": "tokens is [1.5]. Give positions",
    "store.difference(3)": "other must be of type DerivedScalarStore",
    "ne.DerivedScalarStore.mean(3)": "stores is 3",
    'ne.DerivedScalarIndex.from_activation_index("index")': "index must be of type ActivationIndex",
    "ne.parse_node(3)": "3 names no node. Give a name such as L23H3",
    "ne.NodeName.parse(3)": "3 is of type int. Give a node's name",
    "ne.NodeIndex.from_activation_index(3)": "index must be of type ActivationIndex",
    "ne.TraceConfig.from_activation_index(3)": "activation_index must be of type ActivationIndex",
    'dst.MLP_POST_ACT.requires_grad_for_pass_type("sideways")': "Choose one of: forward, backward",
    'dst.from_activation_location_type("no place")': "Unknown place 'no place'",
    "store.topk(1.5)": "k is 1.5. Give a whole number, 1 or more",
    "store.topk(1, dsts=3)": "derived scalar type",
    'store.to("no device")': "'no device' is not a device",
    'store.name("index")': "index must be of type DerivedScalarIndex",
    'store.name(ne.DerivedScalarIndex("mlp_post_act", 1, (99, 3)))': "The prompt has no token 99",
    'ne.DerivedScalarStore({"mlp_post_act": {}}, [])': "{(derived scalar type, pass type): {layer: tensor}}",
    "ne.DerivedScalarStore.load(None)": "None is not a location",
    "ne.load_attribution(None)": "None is not a location",
    'ne.load_attribution("a", "tiny")': "ne.load_model",
    'ne.load_attribution("a", autoencoders=context)': "Give both, or neither",
    'ne.attention(model, "A", layers="two")': "layers is 'two'",
    'ne.attention(model, "A", layers=[9])': "has no layer 9",
    'ne.attention(model, "A", skip_first="no")': "skip_first",
    "ne.attention(model, 5)": "token ids",
    'ne.attention(3, "A")': "An object of type int is not a model",
    'ne.attention(model, "A").pattern(None)': "None names no node",
    'ne.attention(model, "A").pattern("L0N1")': "L0N1",
    'ne.attention(model, "A").head(0, 9)': "Layer 0 has no head 9",
    'ne.attention(model, "A").to_dataframe("all")': "n is 'all'",
    'ne.attention(model, "A").to_html(3)': "Give layer and head",
    'ne.attention(model, "A").save_html(3)': "3 is not a location",
    'ne.attribute(model, "A").save(3)': "3 is not a location",
    'model.encode(["a"])': "text must be of type str, not list",
    "model.decode(3)": "Give a flat sequence of token ids, not 3",
    "model.tokenizer.decode_token_list([1.5])": "1.5 is not a token id",
    'model.encode_token_str_list(" the")': "Give a list of texts",
    'model.generate("A", max_new_tokens=1.5)': "max_new_tokens is 1.5",
    'model.generate("A", sampling=0.5)': "ne.Sampling(temperature=0.5)",
    'generate(transformer, "text")': "Give a flat sequence of token ids",
    'generate(transformer, ["text"])': "model.generate(text)",
    'model.to_tokens(["a", "b"])': "[model.to_tokens(text) for text in texts]",
    'model.stream(["a", "b"])': "stream one at a time",
    'model.generate(["a", 5])': "Give one text or one flat sequence",
    "model.generate([])": "at least one token",
    "model.generate([[1], [2]])": "a list of 2 sequences of token ids",
    "model.generate(5)": "Give a text or a flat sequence of token ids, not 5",
    "model.generate([1.5])": "Give a text or a flat sequence of token ids",
    'model.generate(b"And")': "Give a text or a flat sequence of token ids",
    'model.generate({"role": "user", "content": "a"})': "A chat is a list of messages: [message]",
    'chatty.generate([{"role": "user", "content": "a"}, "b"])': "Message 1 is 'b'",
    'chatty.chat_tokens("a")': "The messages are 'a'. Give a list of messages",
    'chatty.chat_tokens({"role": "user"})': "One message is not a list of messages",
    'model.to_tokens([[{"role": "user", "content": "a"}]])': "give one at a time",
    'ne.derive({"role": "user"}, "mlp_post_act", model)': "A chat is a list of messages: [message]",
    'ne.derive([[{"role": "user"}]] * 2, "mlp_post_act", model)': "a list of 2 chats. Give one text or one",
    'ne.derive([[{"role": "user"}]], "mlp_post_act", model)': "a list of 1 chat. Give one text or one",
    'ne.derive_batch([{"role": "user"}], "mlp_post_act", model)': "For one chat, use derive",
    'ne.load_model("tiny", chat_template=5)': "chat_template is 5, which is not a template",
    "ne.live_record(model, 1, 2, [[1, 2]])": "it is of type list, not a string",
    'ne.DstConfig("tiny")': "Write DstConfig(model_name='tiny')",
    "ne.DstConfig(transformer)": "Write DstConfig(model_context=model)",
    "ne.DstConfig(layers=[1])": "DstConfig() has no argument 'layers'. Did you mean: layer_indices",
    "ne.DstConfig(True, derive_gradients=True)": "got derive_gradients twice",
    'config(derive_gradients="yes")': "must be True or False",
    'ne.DstConfig(model_context="tiny")': "Give model_name='tiny', or model_context=model",
    "ne.DstConfig(model_context=transformer)": "Give model_context=model",
    "ne.Sampling(0.8)": "Write Sampling(temperature=0.8)",
    "ne.Sampling(temp=0.8)": "Sampling() has no argument 'temp'. Choose one of: temperature",
    "ne.CollateSettings(5)": "takes arguments by name",
    'ne.load_model("gpt2-smal")': "Did you mean: gpt2-small, gpt2-xl",
    "ne.known_models(3)": "search must be of type str, not int",
    'ne.Sampling(temperature="warm")': "temperature is 'warm'",
    "ne.Sampling(temperature=1, top_k=1.5)": "top_k is 1.5",
    "ne.Sampling(seed=2**63)": "below 2^63",
    'ne.StandardModelContext("x", transformer=3)': "transformer must be of type Transformer",
    "transformer([[1, 2]])": "tensor of token ids",
    "transformer(tokens, attention_mask=[[True]])": "attention_mask must be of type Tensor",
    "transformer(tokens, logits_at=3)": "logits_at is 3",
    "transformer(tokens, cache=3)": "cache must be of type KeyValueCache",
    'recorded("mlp_post_act")["mlp_post_act", [1]]': "was not asked for",
    'intervened("mlp_post_act", 1, 3)': "Give a function of the tensor",
    'Transformer.with_random_weights(transformer.config, device="no device")': "'no device' is not a device",
    "ne.load_autoencoder(3)": "3 is not an autoencoder",
    'ne.load_autoencoder("owner/name", ["a"])': "sae_id must be of type str, not list",
    'ne.load_autoencoders("owner/name", sae_id=3)': "sae_id is 3",
    'ne.load_autoencoders("a/{layer}.pt", "mlp_post_act", layers="1")': "layers is '1'",
    'ne.AutoencoderConfig("mlp_post_act", ["a.pt"])': "Give a mapping from layers",
    'ne.AutoencoderConfig("mlp_post_act", {1: 3})': "holds 3 for layer 1. Give: str or PathLike",
    "ne.AutoencoderContext(3)": "autoencoder_config must be of type AutoencoderConfig",
    'ne.AutoencoderContext.from_autoencoders("mlp_post_act", {1: 3})': "Give: Autoencoder",
    "ne.MultiAutoencoderContext([context])": "Use from_context_list",
    "ne.MultiAutoencoderContext.from_context_list([3])": "must be of type AutoencoderContext",
    "ne.CollateSettings(layers=[-1])": "whole number from 0 on",
    "ne.CollateSettings(text_field=3)": "text_field must be of type str",
    'ne.collate(model, ["a"], None)': "out is None. Give a local path",
    'ne.collate(model, ["a"], "out", settings=3)': "settings must be",
    'ne.collate(model, ["a"], "out", config=3)': "config must be a",
    'ne.collate(model, ["a"], "out", save_every_seconds="often")': "save_every_seconds is 'often'",
    'ne.live_record(model, "1", 2, "Once")': "layer is '1'. Give a whole number",
    'ne.live_record(model, 1, 2.5, "Once")': "neuron is 2.5",
    "ne.verify(3)": "must be a name, an address or a folder, not of type int",
    'ne.verify("tiny", 1.5)': "n is 1.5",
    'ne.convert("tiny", None)': "out is None. Give a local path",
    "ne.load_neuron(None, 0, 1)": "must be a name, an address or a folder, not of type NoneType",
    'ne.load_neurons(ne.NeuronId(0, 1), "tiny")': "Give several",
    "ne.load_explanations(3, 0, 1)": "must be a name, an address or a folder, not of type int",
    'ne.save_neuron(record, "folder")': "The order is save_neuron(dataset_path, record)",
    "ne.register_dataset(3)": "3 is not a location",
    "ne.register_neuron_dataset_metadata(3)": "metadata must be of type NeuronDatasetMetadata",
    "ne.register_model(3)": "model must be of type RegisteredModel",
    "ne.ActivationRecord(None, None)": "needs a list of tokens and a list of activations",
    "record.train_activation_records(3)": "params must be of type ActivationRecordSliceParams",
    "record.train_activation_records(ActivationRecordSliceParams(1.5))": "n_examples_per_split is 1.5",
    'ne.token_heatmap(["a"], ["high"])': "Values must be numbers",
    "ne.token_heatmap([1, 2], [1.0, 2.0])": "each token must be of type str",
    'ne.token_heatmap(["a"], [1.0], width=1.5)': "width is 1.5",
    'ne.token_heatmap(["a"], [1.0], scale=3)': "scale must be of type ColourScale",
    'ne.ColourScale("low", "high")': "low is 'low'",
    "ne.record_to_html(heads)": "record must be of type NeuronRecord, not ActivationRecord",
    'ne.record_to_html(record, examples="3")': "examples is '3'",
    "ne.plot_histogram(heads)": "record must be of type NeuronRecord",
    "ne.plot_example(record)": "Give one of its examples",
    "ne.pair_view(heads, n_pairs=1.5)": "n_pairs is 1.5",
    "ne.NeuronViewer(model, texts=[3])": "Give a text or several",
    'ne.NeuronViewer("tiny", load=3)': "load is 3",
    'ne.NeuronViewer("tiny", examples="3")': "examples is '3'",
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[Any]]:
    """For each expression the name of its error ("" if none), its message or value, and whether the error is typed."""
    expressions = [*TAKEN, *REFUSED]
    run = subprocess.run(
        [sys.executable, "-c", SETUP], input=json.dumps(expressions), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return dict(zip(expressions, json.loads(run.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("expression", TAKEN)
def test_names_and_numbers_of_all_kinds_are_taken(outcomes: dict[str, list[Any]], expression: str) -> None:
    assert outcomes[expression][:2] == ["", "True"]


@pytest.mark.parametrize(("expression", "message"), REFUSED.items())
def test_a_wrong_argument_is_a_typed_error_that_says_what_to_give(
    outcomes: dict[str, list[Any]], expression: str, message: str
) -> None:
    name, found, *is_typed = outcomes[expression]
    assert name, f"no error, but {found}"
    assert is_typed == [True], f"{name}: {found}"
    assert message in found
