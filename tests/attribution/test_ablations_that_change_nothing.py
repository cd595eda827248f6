"""A single ablation that a person asks for and that changes no number is told of; sweeps and verification are not."""

import warnings

import pytest

import neuron_explainer as ne
from neuron_explainer.notices import UnchangedByInterventionWarning

PROMPT = "And the LORD said unto"


@pytest.fixture(scope="module")
def model() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def silenced(model: ne.ModelContext) -> ne.AblationSpec:
    """What sets an attention weight to what it is: the first token attends to itself alone."""
    index = ne.ActivationIndex("attn_qk_probs", 1, (0, 0, 2))
    store = ne.derive(PROMPT, "attn_qk_probs", model)
    assert float(store.activations("attn_qk_probs")[1][0, 0, 2]) == 1
    return ne.AblationSpec(index, 1.0)


def test_derive_warns_of_one_that_changes_nothing(model: ne.StandardModelContext) -> None:
    with pytest.warns(UnchangedByInterventionWarning, match="changed no number") as caught:
        ne.derive(PROMPT, "logits", model, ablations=silenced(model))
    assert caught[0].filename == __file__
    ne.derive(PROMPT, "logits", model, ablations=ne.AblationSpec(silenced(model).index, 0.5))
    ne.derive(PROMPT, "logits", model, ablations=[silenced(model), silenced(model)])
    ne.derive_batch([PROMPT], "logits", model, ablations=silenced(model))


def test_answers_warn_and_tell_it(model: ne.StandardModelContext) -> None:
    why = ne.attribute(model, PROMPT, " Moses", " her")
    with pytest.warns(UnchangedByInterventionWarning, match=r"L1H2@0<-0 = 1 was applied and changed no number"):
        same = why.ablate("L1H2@0<-0", value=1)
    assert same.ablated == ("L1H2@0<-0 = 1 (changed no number)",)
    assert same.value == pytest.approx(why.value)
    other = same.ablate("L2H3")
    assert other.ablated == ("L1H2@0<-0 = 1 (changed no number)", "L2H3 = 0")
    with pytest.warns(UnchangedByInterventionWarning, match="L1H2@0<-0 = 1"):
        again = other.ablate("L1H2@0<-0", value=1)
    assert again.value == pytest.approx(other.value)
    with pytest.warns(UnchangedByInterventionWarning):
        asked = ne.attribute(model, PROMPT, " Moses", " her", ablations=silenced(model))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What is computed from an answer asks for no change; verifying makes many.
        same.writes("L2N5@3")
        asked.heads(3)
        asked.verify(3)
        assert "changed no number" in same._repr_html_()
