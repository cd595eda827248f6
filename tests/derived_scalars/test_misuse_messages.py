"""Misuse of derive, its indices and its store: each message names the scalar or the argument, and what to do."""

import pickle
import re
import subprocess
import sys

import pytest

import neuron_explainer as ne
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    AttnSubNodeIndex,
    DerivedScalarIndex,
    NodeIndex,
    TraceConfig,
)
from neuron_explainer.errors import IndexOutOfRangeError, InvalidIndexError, NotDerivedError, UnknownNameError

_MESSAGES = r"""
import re
import neuron_explainer as ne
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex

D, P, model = ne.DerivedScalarType, "And the LORD said unto", ne.load_model("tiny")
config = ne.DstConfig(model_context=model)
store = ne.derive(P, "mlp write-norm", model)
assert ne.derive([[5, 17, 3]], D.LOGITS, model).token_ids == [5, 17, 3]
for call, says in [
    (lambda: ne.derive(P, "mlp_write_norm"), r"^mlp_write_norm needs a model\. Pass it, as derive\(prompt"),
    (lambda: ne.derive(model, P, D.LOGITS), r"^prompt is of type StandardModelContext\. .*derive\(prompt"),
    (lambda: ne.derive(P, config, D.LOGITS), r"^dsts is of type DstConfig\. The order"),
    (lambda: ne.derive(P, model, "logits"), r"^dsts is of type StandardModelContext\. The order"),
    (lambda: ne.derive(P, D.LOGITS, D.LOGITS), r"^config is of type DerivedScalarType\. The order"),
    (lambda: ne.derive(P, D.LOGITS, model.get_or_create_model()), "what ne.load_model returns"),
    (lambda: ne.derive(P, D.LOGITS, "tiny"), r"ne\.load_model\('tiny'\)"),
    (lambda: ne.derive([P, P], D.LOGITS, model), "list of 2 texts.*derive_batch"),
    (lambda: ne.derive([[1], [2]], D.LOGITS, model), "2 sequences of token ids.*derive_batch"),
    (lambda: ne.derive(P, "logit", model), "Did you mean: logits"),
    (lambda: ne.derive(P, [None], model), r"^None is of type NoneType\. Give the name of a derived scalar type\.$"),
    (lambda: ne.derive(P, "mlp_act_times_grad", model), r'^mlp_act_times_grad needs a gradient.*LossFnConfig'),
    (lambda: ne.derive(P, "mlp_act_times_grad", model, loss="logit_diff"), r'LossFnConfig\("logit_diff", \['),
    (lambda: ne.derive(P, D.MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD, model), "^mlp_write_to_final.*`trace_config`"),
    (lambda: ne.derive(P, D.MLP_AUTOENCODER_LATENT, model), r"^mlp_autoencoder_latent needs.*ne\.load_autoencoders"),
    (lambda: ne.derive(P, D.SINGLE_NODE_WRITE, model), "^single_node_write needs the node"),
    (lambda: ne.derive(P, D.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION, model), "^vocab_token_write"),
    (lambda: ne.derive(P, D.LOGITS, model, ablations=[ActivationIndex("logits", None, (0, 0))]), "Give AblationSpecs"),
    (lambda: ne.DstConfig(model_name="gpt2x"), "Unknown model 'gpt2x'"),
    (lambda: store.plot("mlp_write_norm", "1"), r"^mlp_write_norm has no layer '1'; derived: 0–3\.$"),
    (lambda: store.plot("mlp_write_norm", k="a"), "^k is 'a'"),
    (lambda: store.plot("mlp_write_norm", 1, component="a"), "no component 'a'; components: 0–511"),
    (lambda: store.to_dataframe(dsts=[]), "^dsts is empty"),
    (lambda: store.topk(3, largest="abs"), "^largest is 'abs'. Give True or False"),
    (lambda: store.to_dataframe(5, "mlp_write_norm"), "name derived scalars as dsts=…"),
    (lambda: store.to_dataframe(layers=[]), "^layers is empty"),
    (lambda: store.topk(3, pass_type="backward"), "^Nothing of the backward pass was derived. Set DstConfig's"),
    (lambda: store.plot("mlp_write_norm", 1, without_first=True), "without_first.*without_first_token"),
    (lambda: ne.token_heatmap(["a"], [10**400]), "^Values must be numbers"),
    (lambda: store.save(None), "None is not a location"),
    (lambda: store.sum_over(5), "^5 is of type int. Give the name of an axis. Choose one of: neurons, tokens"),
]:
    try:
        call()
    except ne.errors.NeuronExplainerError as error:
        assert re.search(says, str(error)), f"{error} does not say {says}"
    else:
        raise SystemExit(f"not refused: {says}")
"""


def test_messages() -> None:
    """In a process of its own, for these tests' own check of annotations would refuse the arguments first."""
    subprocess.run([sys.executable, "-c", _MESSAGES], check=True)


@pytest.fixture(scope="module")
def store() -> ne.DerivedScalarStore:
    return ne.derive([5, 17, 3], "mlp_write_norm", ne.load_model("tiny"))


def test_a_batch_of_one_prompt_is_a_prompt(store: ne.DerivedScalarStore) -> None:
    model = ne.load_model("tiny")
    text = "And the LORD said unto"
    for prompt in (model.to_tokens(text), model.to_tokens(text)[0]):
        found = ne.derive(prompt, "mlp_write_norm", model)
        assert found.tokens == ne.derive(text, "mlp_write_norm", model).tokens


def test_one_ablation_needs_no_list(store: ne.DerivedScalarStore) -> None:
    ablation = AblationSpec(ActivationIndex("mlp.post_act", 0, ("All", "All")), 0.0)
    ablated = ne.derive([5, 17, 3], "mlp_write_norm", ne.load_model("tiny"), ablations=ablation)
    assert not ablated.activations("mlp_write_norm")[0].any()
    assert store.activations("mlp_write_norm")[0].any()


def test_a_layer_that_was_not_derived_is_refused_by_the_tensors_too(store: ne.DerivedScalarStore) -> None:
    by_layer = store.activations("mlp_write_norm")
    for known in (by_layer, pickle.loads(pickle.dumps(by_layer))):
        with pytest.raises(NotDerivedError, match="mlp_write_norm has no layer 9; derived: 0–3"):
            known[9]
    assert by_layer.get(9) is None


def test_an_index_shows_itself_as_a_call_that_makes_it() -> None:
    head = NodeIndex("attention_head", 2, (3, 2, 1))
    for index in (
        head,
        NodeIndex("mlp_neuron", 1, ("All", 2), "backward"),
        AttnSubNodeIndex("attention_head", 2, (3, 2, 1), q_k_or_v="attn.q"),
        DerivedScalarIndex("logits", None, (1, None)),
        AblationSpec(ActivationIndex("mlp.post_act", 1, (0, 0)), 1.5),
        TraceConfig(head, "post", attention_trace_type="QK"),
        ne.LossFnConfig("probs", [5]),
    ):
        assert eval(repr(index), {**globals(), "LossFnConfig": ne.LossFnConfig}) == index
    assert repr(head) == "NodeIndex('attention_head', 2, (3, 2, 1))"


def test_an_index_out_of_range_says_first_what_is_wrong(store: ne.DerivedScalarStore) -> None:
    with pytest.raises(
        IndexOutOfRangeError, match=r"^Position 2000 on the axis mlp_acts is out of range\. Choose 0 to 511"
    ):
        store[DerivedScalarIndex("mlp_write_norm", 1, (1, 2000))]
    with pytest.raises(IndexOutOfRangeError, match=r"^The model has no layer 9; layers: 0–3\."):
        NodeIndex("mlp_neuron", 9, (0, 0)).check_against(4, {})
    with pytest.raises(InvalidIndexError, match=re.escape("layer_index has the entry 'x'. Give a whole number.") + "$"):
        NodeIndex("mlp_neuron", "x", (0, 0))  # type: ignore[arg-type]


def test_unknown_model_names_are_refused_at_once() -> None:
    with pytest.raises(UnknownNameError, match="Unknown model 'gpt2x'"):
        ne.DstConfig(model_name="gpt2x")
    assert ne.DstConfig(model_name="owner/name").model_name == "owner/name"
