"""`ne.explain_dataset`: its table, files and pages; what fails is kept in its place; what is refused."""

import json
from dataclasses import replace

import pytest

import neuron_explainer as ne
from helpers.explaining import NODES, FrequentTokenExplainer, LengthScorer, SimulatedScorer, explained, files_of
from helpers.html_reading import assert_harmless
from neuron_explainer.errors import (
    DatasetExistsError,
    ExplainingStoppedError,
    InvalidRequestError,
    NeuronExplainerError,
)
from neuron_explainer.explanations.many.described import settings_as_json
from neuron_explainer.explanations.many.outcome import KeptError, Outcome


def test_the_table_and_the_files(whole):
    result = explained(whole)
    assert (result.n_new, result.failed, len(result)) == (0, (), 6)
    table = result.to_dataframe()
    assert table["component"].tolist() == NODES
    assert list(table.columns[:6]) == [
        *("component", "explanation", "explainer", "simulated", "simulated low", "simulated high"),
    ]
    assert "error" not in table.columns
    row = table[table["component"] == "L0N3"].iloc[0]
    score = ne.score(
        FrequentTokenExplainer().explain(_subject("L0N3"), 1)[0], ne.component("tiny", "L0N3"), SimulatedScorer()
    )
    assert row["simulated"] == score.value
    assert (row["simulated low"], row["simulated high"]) == (0.1, 0.9)
    lines = (whole / "explanations.csv").read_text().splitlines()
    assert lines[0].startswith("component,explanation,explainer,simulated,")
    assert [line.split(",")[0] for line in lines[1:]] == NODES
    assert_harmless(result._repr_html_())


def _subject(name: str):
    from neuron_explainer.explanations.asking.subject import subject_of

    return subject_of(ne.component("tiny", name))


def test_baselines_are_the_most_frequent_token_and_the_next_component_s_explanation(tmp_path):
    asked: list[str] = []
    explainer = FrequentTokenExplainer(before=asked.append)
    nodes = ["L1N355", "L1N356", "L3N511"]
    table = explained(tmp_path / "out", nodes, explainer=explainer, baselines=True, max_concurrent=1).to_dataframe()
    assert asked == ["L1N355", "L1N356", "L1N357", "L3N511", "L3N0"]  # each once, and after the last comes the first
    for node, other in zip(nodes, ("L1N356", "L1N357", "L3N0"), strict=True):
        (text,) = FrequentTokenExplainer().explain(_subject(other), 1)
        row = table[table["component"] == node].iloc[0]
        assert row["length: another explanation"] == LengthScorer().score(text, _subject(node)).value
        alone = ne.score(text, ne.component("tiny", node), SimulatedScorer(), baselines=False)
        assert row["simulated: another explanation"] == pytest.approx(alone.value, nan_ok=True)
    assert table["length: most frequent token"].notna().all()


def test_a_component_without_another_is_scored_all_the_same(tmp_path):
    def before(name: str) -> None:
        if name == "L1N356":
            raise InvalidRequestError("L1N356 cannot be explained")

    made = explained(tmp_path / "out", ["L1N355"], explainer=FrequentTokenExplainer(before=before), baselines=True)
    assert made.failed == ()
    table = made.to_dataframe()
    assert table["length"].notna().all()
    assert "length: another explanation" not in table.columns


def test_explanations_are_shown_with_their_component(whole):
    folder = explained(whole).explanations
    node = ne.component("tiny", "L0N3", explanations=folder)
    (text,) = node.explanations
    frame = node.explanations.simulations()
    judged = SimulatedScorer().score(FrequentTokenExplainer().explain(_subject("L0N3"), 1)[0], _subject("L0N3"))
    assert frame.values.tolist() == judged.judgements.values.tolist()
    page = assert_harmless(node.to_html()).text
    assert text in page
    assert "beside the real activations" in page
    scores = ne.load_explanations(folder, "L0N3").scored_explanations[0].scores
    assert scores.ev_correlation_score == pytest.approx(judged.value)
    viewer = ne.NeuronViewer("tiny", "L0N3", explanations=str(folder))
    viewer.open_section("explanations")
    assert viewer.wait(60)
    assert text in assert_harmless(viewer.sections.view.value).text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"explainer": FrequentTokenExplainer("this token")}, "explainer.wording"),
        ({"scorers": [SimulatedScorer(is_calibrated=True), LengthScorer()]}, "scorers.simulated.is_calibrated"),
        ({"scorers": [SimulatedScorer()]}, "scorers.length"),
        ({"n": 2}, "n (there 1, asked 2)"),
        ({"baselines": True}, "baselines"),
    ],
)
def test_other_settings_are_refused(changes, named, whole):
    before = files_of(whole)
    with pytest.raises(DatasetExistsError, match="other settings") as refused:
        explained(whole, **changes)
    assert named in str(refused.value)
    assert files_of(whole) == before


def test_another_dataset_is_refused(whole):
    with pytest.raises(DatasetExistsError, match="derived_scalar"):
        ne.explain_dataset("tiny", "L0H1", FrequentTokenExplainer(), [], whole, dst="attn_write_norm")


def test_errors_of_single_components_are_kept_and_tried_again(whole, tmp_path):
    out, broken = tmp_path / "out", [True]

    def before(name: str) -> None:
        if broken and name == "L1N356":
            raise RuntimeError("no <b>luck</b>\x1b[31m at https://me:secret@host/x")

    result = explained(out, explainer=FrequentTokenExplainer(before=before), max_concurrent=1)
    assert result.failed == ("L1N356",)
    table = result.to_dataframe().set_index("component")
    assert table.loc["L1N356", "error"] == "RuntimeError: no <b>luck</b>\\x1b[31m at https://host/x"
    assert table.loc["L0N3", "explanation"]
    assert "secret" not in str(files_of(out))
    broken.clear()
    again = explained(out, explainer=FrequentTokenExplainer(before=before))
    assert (again.n_new, again.failed) == (1, ())
    assert files_of(out) == files_of(whole)


def test_a_score_that_fails_leaves_the_others(tmp_path):
    result = explained(tmp_path / "out", NODES[:2], scorers=[SimulatedScorer(), LengthScorer(fails=["L0N3"])])
    table = result.to_dataframe().set_index("component")
    assert table.loc["L0N3", "error"] == "length: ArithmeticError: L0N3 is too long"
    assert table.loc["L0N3", "simulated"] > 0.5
    assert result.failed == ("L0N3",)


def test_an_error_that_all_would_meet_stops_the_work(whole, tmp_path):
    class BudgetExceededError(NeuronExplainerError):
        """As a client's."""

    out, asked = tmp_path / "out", []

    def before(name: str) -> None:
        asked.append(name)
        if name == NODES[2]:
            raise BudgetExceededError("The budget is used up.")

    with pytest.raises(ExplainingStoppedError, match=r"The budget is used up\. 2 of 6 components are done") as stopped:
        explained(out, explainer=FrequentTokenExplainer(before=before), max_concurrent=1)
    assert isinstance(stopped.value.__cause__, BudgetExceededError)
    assert (stopped.value.n_done, stopped.value.n_components) == (2, 6)
    assert asked == NODES[:3]
    explained(out)
    assert files_of(out) == files_of(whole)


@pytest.mark.parametrize(("status", "is_fatal"), [(None, True), (401, True), (503, True), (400, False)])
def test_which_errors_of_endpoints_stop_the_work(status, is_fatal, tmp_path):
    class EndpointError(NeuronExplainerError):
        """As a client's."""

        status_code = status

    def before(name: str) -> None:
        raise EndpointError("It does not answer.")

    explainer = FrequentTokenExplainer(before=before)
    if is_fatal:
        with pytest.raises(ExplainingStoppedError):
            explained(tmp_path / "out", NODES[:1], explainer=explainer)
    else:
        assert explained(tmp_path / "out", NODES[:1], explainer=explainer).failed == ("L0N3",)


@pytest.mark.parametrize("content", ["{}", "not json", '{"made_by": "neuron_explainer.explain_dataset"}'])
def test_foreign_and_damaged_folders_are_left_alone(content, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(DatasetExistsError, match=r"a\.txt"):
        explained(tmp_path, NODES[:1])
    (tmp_path / "explaining.json").write_text(content)
    with pytest.raises(DatasetExistsError, match="damaged"):
        explained(tmp_path, NODES[:1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "explaining.json"]


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        (("tiny", NODES[:1], FrequentTokenExplainer), {"out": "x"}, "explainer is"),
        (("tiny", NODES[:1], FrequentTokenExplainer(), "length"), {"out": "x"}, "scorers is 'length'"),
        (("tiny", NODES[:1], FrequentTokenExplainer(), [LengthScorer(), LengthScorer()]), {"out": "x"}, "Two scorers"),
        (("tiny", NODES[:1], FrequentTokenExplainer(), [LengthScorer]), {"out": "x"}, "of scorers is not one"),
        (("tiny", NODES[:1], FrequentTokenExplainer()), {}, "out is None"),
        (("tiny", NODES[:1], FrequentTokenExplainer()), {"out": "x", "n": 0}, "n is 0"),
        (("tiny", NODES[:1], FrequentTokenExplainer()), {"out": "x", "max_concurrent": 0}, "max_concurrent is 0"),
        (("tiny", ["L9N5"], FrequentTokenExplainer()), {"out": "x"}, "no layer 9"),
        (("no such dataset", None, FrequentTokenExplainer()), {"out": "x"}, "is not a neuron dataset"),
    ],
)
def test_wrong_arguments(arguments, options, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequestError, match=named):
        ne.explain_dataset(*arguments, **options)
    assert list(tmp_path.iterdir()) == []


def test_several_explanations_of_each(tmp_path):
    result = explained(tmp_path / "out", NODES[:2], n=3, baselines=False)
    assert result.to_dataframe().groupby("component").size().tolist() == [3, 3]
    assert len(ne.load_explanations(result.explanations, "L0N3").scored_explanations) == 3


def test_a_line_says_whether_it_is_whole():
    line = Outcome("L0N3", 0, 3, error=KeptError("E", "é\u2028")).line()
    found = Outcome.of_line(line)
    assert found is not None and found.error == KeptError("E", "é\u2028")  # noqa: PT018
    for wrong in (line[:-9], line.replace(b"L0N3", b"L0N4"), b"[]", b"{}", b"\xff", b"[" * 100_000):
        assert Outcome.of_line(wrong) is None
    assert line.count(b"\n") == 1


def test_settings_of_explainers_say_no_secrets_and_no_addresses():
    class Client:
        def __init__(self, base_url, name, api_key, max_cost=1.0):
            self.base_url, self.name, self.api_key, self.max_cost = base_url, name, api_key, max_cost

        def ask(self, requests, *, progress=None):
            return []

    class Wrapping:
        def __init__(self, client, temperature=0.5, api_key="s3cret"):
            self.name, self.client, self.temperature, self.api_key = "wrapping", client, temperature, api_key

    one = settings_as_json(Wrapping(Client("http://a", "judge-1", "s3cret")))
    assert one == {
        "class": "Wrapping",
        "name": "wrapping",
        "client": {"class": "Client", "name": "judge-1"},
        "temperature": 0.5,
    }
    assert one == settings_as_json(Wrapping(Client("http://b", "judge-1", "other", max_cost=5.0)))
    assert one != settings_as_json(Wrapping(Client("http://a", "judge-2", "s3cret")))
    json.dumps(one)


def test_what_is_no_explanation_or_score_is_an_error_of_its_component(tmp_path):
    class Wrong:
        name = "wrong"

        def explain(self, subject, n):
            return ["words"] if subject.name == "L0N3" else FrequentTokenExplainer().explain(subject, n)

        def score(self, explanation, subject):
            return None

    result = explained(tmp_path / "out", ["L0N3", "L2N5"], explainer=Wrong(), scorers=Wrong())
    errors = result.to_dataframe().set_index("component")["error"]
    assert errors["L0N3"].startswith("AttributeError: ")
    assert errors["L2N5"].startswith("wrong: AttributeError: ")
    assert result.to_dataframe()["explanation"].tolist()[1]


def test_a_missing_key_stops_the_work(tmp_path):
    def before(name: str) -> None:
        raise ne.errors.MisconfiguredError("The environment variable MY_KEY is not set.")

    with pytest.raises(ExplainingStoppedError, match="MY_KEY is not set"):
        explained(tmp_path / "out", NODES[:1], explainer=FrequentTokenExplainer(before=before))


def test_columns_are_called_by_the_scorer_s_name(tmp_path):
    class Renaming(LengthScorer):
        def score(self, explanation, subject):
            return replace(super().score(explanation, subject), scorer="another name")

    assert "length" in explained(tmp_path / "out", NODES[:1], scorers=[Renaming()]).to_dataframe().columns
