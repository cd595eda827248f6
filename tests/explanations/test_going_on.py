"""Calls of `ne.explain_dataset` that go on: nothing of before stays that is not true any more, and changes are seen."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import neuron_explainer as ne
from helpers.asking_clients import client_of
from helpers.explaining import FrequentTokenExplainer, files_of
from helpers.html_reading import assert_harmless
from helpers.paths import REPOSITORY
from helpers.scripted_endpoint import rubbish, scripted_endpoint
from neuron_explainer.activations.explanation_files import (
    NeuronSimulationResults,
    ScoredExplanation,
    ScoredSequenceSimulation,
    Scores,
    SequenceSimulation,
)
from neuron_explainer.explanations import (
    Explanation,
    Explanations,
    ExplanationScore,
    LanguageModelExplainer,
    SurprisalScorer,
    save_explanations,
)
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.language_models.prompts import Demonstration
from neuron_explainer.explanations.language_models.showing import ShownExample
from neuron_explainer.explanations.many.described import settings_as_json

NODES = ["L0N3", "L2N5"]


def explained(out: Path, explainer: Any = None, **options: Any):
    return ne.explain_dataset("tiny", NODES, explainer or FrequentTokenExplainer(), [], out, **options)


def test_what_a_killed_call_left_unfinished_is_removed(tmp_path):
    whole = files_of(explained(tmp_path / "whole").path)
    out = explained(tmp_path / "out").path
    for name in (".explained.jsonl", "explanations/0/.3.jsonl", "explanations/2/.7.jsonl", ".explaining.json"):
        (out / f"{name}.12-0123abcd.partial").write_text("cut o")
    others = {"explanations/0/.mine.partial": b"", ".note.txt.1-0123abcd.partial": b"mine"}
    for name, content in others.items():
        (out / name).write_bytes(content)
    explained(out)
    assert files_of(out) == whole | others


def test_a_component_that_fails_now_has_no_explanation_of_before(tmp_path):
    whole = files_of(explained(tmp_path / "whole").path)
    out = explained(tmp_path / "out").path
    (out / "explained.jsonl").unlink()  # as if killed between the file and its line

    def fail(name: str) -> None:
        raise RuntimeError("It fails now.")

    assert set(explained(out, FrequentTokenExplainer(before=fail)).failed) == set(NODES)
    assert not list((out / "explanations").rglob("*.jsonl"))
    explained(out)
    assert files_of(out) == whole


def test_one_question_that_gets_no_choice_is_one_components_error(tmp_path):
    with scripted_endpoint(lambda asked: '{"explanation": "words"}') as endpoint:
        endpoint.script = [rubbish(b'{"choices": []}')]
        explainer = LanguageModelExplainer(client_of(endpoint, max_concurrent=1))
        result = explained(tmp_path / "out", explainer, max_concurrent=1)
        assert result.failed == ("L0N3",)
        again = explained(tmp_path / "out", explainer, max_concurrent=1)
        assert (again.n_new, again.failed) == (1, ())


@pytest.mark.parametrize("n_bytes", [60, 1000])
def test_a_full_disk_is_told_and_nothing_is_lost(n_bytes, tmp_path):
    out = tmp_path / "out"
    script = f"""
import resource, sys
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
import neuron_explainer as ne
from helpers.explaining import FrequentTokenExplainer, SimulatedScorer
for limit in ({n_bytes}, None):
    try:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        ne.explain_dataset("tiny", {NODES!r}, FrequentTokenExplainer(), SimulatedScorer(), {str(out)!r})
    except ne.errors.OutOfSpaceError:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print("full")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "full\n"), ended.stderr
    assert len(list((out / "explanations").rglob("*.jsonl"))) == 2
    assert not list(out.rglob("*.partial"))


class _Given:
    def __init__(self, value: Any) -> None:
        self.value = value


def _demonstrated(level: int) -> list[Demonstration]:
    return [Demonstration((ShownExample(("a", "b"), (1, 2), ((1, 0, level),)),), "x")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x" * 2000 + "a", "x" * 2000 + "b"),
        ([0] * 100 + [1], [0] * 100 + [2]),
        (dict.fromkeys(range(200), 1), dict.fromkeys(range(200), 2)),
        (np.int64(1), np.int64(2)),
        (np.bool_(True), np.bool_(False)),
        (np.zeros(3), np.ones(3)),
        (torch.zeros(300), torch.ones(300)),
        (b"a", b"b"),
        (_demonstrated(3), _demonstrated(4)),
    ],
)
def test_a_change_is_seen_however_long_deep_or_odd_the_setting_is(one, other):
    assert settings_as_json(_Given(one)) == settings_as_json(_Given(one))
    assert settings_as_json(_Given(one)) != settings_as_json(_Given(other))


def test_another_model_of_the_same_name_is_seen():
    model = ne.load_model("tiny", device="cpu")
    before = settings_as_json(SurprisalScorer(model))
    assert before == settings_as_json(SurprisalScorer(ne.load_model("tiny", device="cpu")))
    with torch.no_grad():
        next(iter(model.get_or_create_model().parameters())).mul_(2)
    assert settings_as_json(SurprisalScorer(model)) != before


def test_other_prompts_are_seen(monkeypatch):
    with scripted_endpoint() as endpoint:
        explainer = LanguageModelExplainer(client_of(endpoint))
    before = settings_as_json(explainer)
    assert settings_as_json(explainer) == before
    monkeypatch.setattr(prompts, "AS_MARKED", "Something else.")
    assert settings_as_json(explainer) != before


def test_no_name_steers_a_terminal_and_tables_may_have_a_column_twice():
    odd = "<b>a\x1b[31mb\u202e"
    judgements = pandas.DataFrame([["a", "b", 1.0], ["c", "d", 2.0]], columns=["text", "text", "judged"])
    score = ExplanationScore(odd, odd, odd, odd, 0.5, baselines={odd: 0.1}, judgements=judgements, note=odd)
    explanations = Explanations([Explanation(odd, odd)], odd)
    tokens = pandas.DataFrame([[0, 0, odd, 0.0, 1.0]], columns=["text", "position", "token", "simulated", "real"])
    simulated = replace(score, judgements=tokens).to_dataframe()
    assert simulated["token"].tolist() == ["<b>a\\x1b[31mb\\u202e"]
    for text in (repr(score), repr(explanations), str(explanations.to_dataframe()), simulated.to_string()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert_harmless(score._repr_html_())


def test_tokens_of_files_from_outside_steer_no_terminal(tmp_path):
    sequence = ScoredSequenceSimulation(SequenceSimulation(["a\x1b[31m"], [1.0]), [0.5], Scores())
    said = NeuronSimulationResults(ne.NeuronId(2, 5), [ScoredExplanation("names", Scores(0.5), [sequence])])
    save_explanations(said, tmp_path)
    assert ne.load_explanations(tmp_path, "L2N5") == said
    frame = ne.component("tiny", "L2N5", explanations=tmp_path).explanations.simulations()
    assert frame["token"].tolist() == ["a\\x1b[31m"]


def test_a_dataset_that_was_made_anew_is_seen(tmp_path):
    for index in (3, 5):
        ne.save_neuron(tmp_path / "dataset", ne.load_neuron("tiny", 0, index))
    (tmp_path / "dataset" / "collated.json").write_text('{"provenance": {"corpus": "one"}}')

    def explain_both() -> Any:
        return ne.explain_dataset(tmp_path / "dataset", ["L0N3", "L0N5"], FrequentTokenExplainer(), [], tmp_path / "o")

    explain_both()
    assert explain_both().n_new == 0
    (tmp_path / "dataset" / "collated.json").write_text('{"provenance": {"corpus": "another"}}')
    with pytest.raises(ne.errors.DatasetExistsError, match="dataset_digest"):
        explain_both()
