"""The report of a check: which difference comes first, and what a row of it says."""

import pandas as pd

from neuron_explainer.checking.findings import EVERY_PLACE, Finding, Where, failed, passed
from neuron_explainer.checking.report import CheckReport
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

LATE = failed("rows of attention", "A row does not sum to 1.", where=Where(Place.ATTN_QK_PROBS, 2, 0))
EARLY = failed("gradients", "Another slope.", where=Where(Place.RESID_POST_EMBEDDING))
NOWHERE = failed("weights", "One is not finite.")


def first_of(*findings: Finding) -> Where | None:
    return CheckReport("model", None, findings).first_difference


def test_the_first_difference_is_the_first_in_a_pass() -> None:
    assert first_of(NOWHERE, LATE, EARLY) == EARLY.where
    middle = failed("formulas", "It differs.", where=Where(Place.ATTN_VALUE, 2))
    assert first_of(LATE, middle) == middle.where
    assert first_of(failed("a", "b", where=Where(Place.LOGITS)), LATE) == LATE.where
    assert first_of(NOWHERE, passed("tokens", "They come back.")) is None


def test_what_a_reference_says_goes_before_what_a_check_alone_says() -> None:
    beside = failed(EVERY_PLACE, "It differs.", where=Where(Place.RESID_POST_MLP, 1, 4, 1))
    assert first_of(EARLY, LATE, beside) == beside.where


def test_a_row_has_the_place_the_token_and_the_prompt() -> None:
    beside = failed(EVERY_PLACE, "It differs.", 0.5, 0.1, Where(Place.RESID_POST_MLP, 1, 4, 1))
    rows = CheckReport("model", "theirs", [beside, EARLY]).to_dataframe()
    first, second = ([rows[name][row] for name in ("place", "layer", "token", "prompt")] for row in (0, 1))
    assert first == ["resid.post_mlp", 1, 4, 1]
    assert second[0] == "resid.post_emb"
    assert all(each is pd.NA for each in second[1:])


def test_a_reference_that_was_not_compared_is_not_all_well() -> None:
    fine, places = passed("tokens", "They come back."), pd.DataFrame({"place": ["logits"]})
    assert CheckReport("model", None, [fine]).ok
    assert CheckReport("model", "theirs", [fine], places).ok
    unused = CheckReport("model", "theirs", [fine])
    assert not unused.ok
    assert not unused.failed
    assert str(unused).splitlines()[0].endswith("The places were not compared with the reference's")
