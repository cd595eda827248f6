"""`neuron-explainer explain`."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import neuron_explainer.explanations as explanations
from helpers.explaining import FrequentTokenExplainer, LengthScorer, SimulatedScorer
from neuron_explainer.command_line.main import app
from neuron_explainer.components.explanations import of_dataset
from neuron_explainer.errors import InvalidRequestError

MADE: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["explain", *(str(argument) for argument in arguments)])


class Client:
    name = "judge-1"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        MADE.append(("client", arguments, options))

    def ask(self, requests: Any, *, progress: bool | None = None) -> list[Any]:
        return []


def made_with_a_client(kind: Any) -> Any:
    def make(client: Client) -> Any:
        MADE.append((kind.__name__, (client.name,), {}))
        return kind()

    return make


@pytest.fixture(autouse=True)
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    MADE.clear()
    monkeypatch.setattr(explanations, "PatternExplainer", FrequentTokenExplainer, raising=False)
    monkeypatch.setattr(explanations, "PatternScorer", SimulatedScorer, raising=False)
    monkeypatch.setattr(explanations, "EmbeddingScorer", LengthScorer, raising=False)
    monkeypatch.setattr(explanations, "OpenAICompatibleClient", Client, raising=False)
    monkeypatch.setattr(
        explanations, "LanguageModelExplainer", made_with_a_client(FrequentTokenExplainer), raising=False
    )
    monkeypatch.setattr(explanations, "DetectionScorer", made_with_a_client(LengthScorer), raising=False)


def test_components_are_explained(tmp_path: Path) -> None:
    nodes = ("--node", "L2N5", "--node", "L0N3")
    result = run("tiny", *nodes, "--scorer", "pattern", "--scorer", "embedding", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    table = tmp_path / "out" / "explanations.csv"
    assert result.stdout == f"{table}\n"
    lines = table.read_text().splitlines()
    assert lines[0].startswith("component,explanation,explainer,simulated,")
    assert [line.split(",")[0] for line in lines[1:]] == ["L0N3", "L2N5"]
    again = run("tiny", *nodes, "--scorer", "pattern", "--out", tmp_path / "out")
    assert again.exit_code == 2
    assert "other settings: scorers.length" in again.stderr


def test_an_endpoint_writes_and_judges(tmp_path: Path) -> None:
    endpoint = ("--base-url", "http://127.0.0.1:1/v1", "--model", "judge-1", "--api-key-env", "KEY")
    result = run(
        *("tiny", "--node", "L2N5", "--explainer", "endpoint", "--scorer", "detection", "--out", tmp_path / "out"),
        *(*endpoint, "--concurrent", 2, "--n", 2),
    )
    assert result.exit_code == 0, result.output
    assert MADE == [
        ("client", ("http://127.0.0.1:1/v1", "judge-1"), {"api_key_env": "KEY"}),
        ("FrequentTokenExplainer", ("judge-1",), {}),
        ("LengthScorer", ("judge-1",), {}),
    ]
    assert len((tmp_path / "out" / "explanations.csv").read_text().splitlines()) == 3


def test_failed_components_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "EmbeddingScorer", lambda: LengthScorer(fails=("L2N5",)), raising=False)
    result = run("tiny", "--node", "L2N5", "--scorer", "embedding", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stderr.endswith("1 of 1 components failed; the table says why.\n")  # after a bar, in a notebook
    assert "ArithmeticError: L2N5 is too long" in (tmp_path / "out" / "explanations.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--explainer", "patern"], ["--explainer", "'patern'", "pattern"]),
        (["--scorer", "embeding"], ["--scorer", "'embeding'", "embedding"]),
        (["--explainer", "endpoint"], ["--base-url", "--model"]),
        (["--scorer", "fuzzing", "--base-url", "http://127.0.0.1:1"], ["'fuzzing'", "--model"]),
        (["--scorer", "surprisal"], ["--local-model"]),
        (["--local-model", "tiny"], ["--local-model is for --scorer surprisal", "--dataset-model"]),
        (["--node", "L9N5"], ["no layer 9"]),
        (["--node", "five"], ["'five'"]),
        (["--concurrent", "0"], ["max_concurrent is 0"]),
        (["--n", "0"], ["n is 0"]),
    ],
)
def test_values_that_are_refused(arguments: list[str], named: list[str], tmp_path: Path) -> None:
    result = run("tiny", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert all(each in result.stderr for each in named), result.stderr
    assert not (tmp_path / "out").exists()


def test_the_models_for_output_tokens_and_for_surprisal_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def explain_dataset(*arguments: Any, **options: Any) -> Any:
        asked.append((options["model"], *(scorer.name for scorer in arguments[3])))
        raise InvalidRequestError("That is enough.")

    monkeypatch.setattr(of_dataset, "explain_dataset", explain_dataset)
    run("tiny", "--dataset-model", "one", "--scorer", "surprisal", "--local-model", "tiny", "--out", tmp_path / "out")
    run("tiny", "--dataset-model", "one", "--out", tmp_path / "out")
    run("tiny", "--scorer", "surprisal", "--local-model", "tiny", "--out", tmp_path / "out")
    assert asked == [("one", "surprisal by tiny"), ("one",), (None, "surprisal by tiny")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base-url", "http://127.0.0.1:9/v1"], "nothing here asks a language model"),
        (["--api-key-env", "KEY", "--scorer", "pattern"], "nothing here asks a language model"),
        (["--local-model", "tiny"], "--local-model is for --scorer surprisal"),
    ],
)
def test_options_without_effect_are_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = run("tiny", "--node", "L1N1", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()
