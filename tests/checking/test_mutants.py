"""Planted faults: `ne.check` finds them, says where they sit, and finds none where there is none."""

from pathlib import Path
from typing import Any

import pytest
import torch

from checking.mutants import MUTANTS, Mutant, planted
from helpers.installed_transformers import model_of
from helpers.tiny_models import HF_CONFIGS, hf_model, our_model
from neuron_explainer.checking.check import check
from neuron_explainer.checking.findings import EVERY_PLACE
from neuron_explainer.checking.report import CheckReport
from neuron_explainer.models.transformer import Transformer

FOUND_ALONE_BY_CHANCE = {"position embedding left out"}
"""Faults of weights and configs that show without a reference in these small models, though they need not."""
PAGE = Path(__file__).parents[2] / "docs" / "trust.md"


def report_of(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> CheckReport:
    model = planted(mutant, monkeypatch.setattr)
    reference = None if mutant.thorough and mutant.alone else hf_model(mutant.small_model)
    return check(model, reference, thorough=mutant.thorough, progress=False)


def found_alone(report: CheckReport) -> bool:
    """Whether a check that needs no reference failed."""
    beside = ("reference", "norms alone", "attention by", "precision of")
    return any(not any(word in each.check for word in beside) for each in report.failed)


def test_there_are_many_and_each_has_a_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert {mutant.small_model for mutant in MUTANTS} <= set(HF_CONFIGS)


def test_the_page_has_their_numbers() -> None:
    alone, n_all = sum(each.alone for each in MUTANTS), len(MUTANTS)
    text = " ".join(PAGE.read_text("utf-8").split())
    assert f"The tests plant {n_all} faults" in text
    assert f"All {n_all} are found, {sum(each.thorough for each in MUTANTS)} of them by `thorough=True` alone" in text
    assert f"{n_all - sum(each.thorough and each.alone for each in MUTANTS)} are looked for with a reference" in text
    n_chance = len(FOUND_ALONE_BY_CHANCE)
    assert f"{alone + n_chance} are found: all {alone} faults of the computation, and {n_chance} of the" in text
    assert f"of the {n_all - alone} faults of weights and configs" in text


@pytest.mark.parametrize("mutant", [pytest.param(each, id=each.name) for each in MUTANTS])
def test_a_planted_fault_is_found_where_it_sits(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(mutant, monkeypatch)
    assert report.failed
    assert not report.ok
    if mutant.where is not None:
        of_places = next(each for each in report.failed if each.check == EVERY_PLACE)
        assert of_places.where is not None
        assert (of_places.where.place, of_places.where.layer) == mutant.where
    assert found_alone(report) == (mutant.alone or mutant.name in FOUND_ALONE_BY_CHANCE)


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_no_false_alarm(name: str) -> None:
    report = check(our_model(name), hf_model(name), progress=False)
    assert report.failed == []
    assert report.ok


@pytest.mark.long
@pytest.mark.parametrize("name", HF_CONFIGS)
def test_no_false_alarm_with_other_weights_and_prompts(name: str) -> None:
    for seed in range(20):
        theirs, ours = _with_other_weights(name, seed)
        report = check(ours, theirs, seed=seed, thorough=seed == 0, progress=False)
        assert report.failed == [], seed


def _with_other_weights(name: str, seed: int) -> tuple[Any, Transformer]:
    torch.manual_seed(seed + 1)
    theirs = model_of(HF_CONFIGS[name])
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    theirs = theirs.eval().requires_grad_(False)
    return theirs, Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())
