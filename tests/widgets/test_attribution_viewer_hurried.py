"""The page of an answer under hurried and hostile use: what is on view is always of one answer."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import ipywidgets as widgets
import pytest

import neuron_explainer as ne
from neuron_explainer.attribution.exploring.held_answers import MOST_ANSWERS, HeldAnswers
from neuron_explainer.errors import InvalidRequestError, NotOneTokenError, PromptError, StoppedError
from neuron_explainer.models.watching import watched_passes
from neuron_explainer.widgets.attribution.attribution_viewer import AttributionViewer
from neuron_explainer.widgets.attribution.panels.node_panel import NodePanel
from neuron_explainer.widgets.attribution.typed import Form
from neuron_explainer.widgets.attribution.work import records
from neuron_explainer.widgets.attribution.work.page_content import PageContent, PageTask
from neuron_explainer.widgets.attribution.work.records import RecordTask, RecordViewers
from neuron_explainer.widgets.quiet import Quiet
from neuron_explainer.widgets.references import open_widgets

PROMPT, OTHER_PROMPT = "And the LORD said unto", "And the king said unto"
LONGER = "Mr. Darcy looked at Elizabeth and said to"
SECONDS = 30
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.fixture(scope="module")
def model() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


@pytest.fixture
def viewer(model: ne.ModelContext) -> Iterator[AttributionViewer]:
    shown = AttributionViewer(model, PROMPT, " Moses", " her", other_prompt=OTHER_PROMPT)
    yield shown
    shown.close()


def in_thread(work: Callable[[], Any]) -> None:
    """Run work; it fails where it does not come to an end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "stuck"
    if errors:
        raise errors[0]


# Observers


def test_an_observer_that_fails_leaves_one_answer_on_view(viewer: AttributionViewer) -> None:
    viewer.show_node("L3H0")

    def fail(_: Any) -> None:
        raise ArithmeticError("an observer's own")

    viewer.observe(fail, "attribution")
    viewer.ablate("L2H1")
    assert viewer.wait(SECONDS)
    assert isinstance(viewer.error, ArithmeticError)
    viewer.verify("L1N339@3")
    assert viewer.wait(SECONDS)
    assert viewer.error is None
    assert "L2H1" in viewer.code
    assert viewer._one_node.content is viewer._content


def test_an_observer_may_ask_again(viewer: AttributionViewer) -> None:
    viewer.show_node("L3H0")
    asked: list[str] = []

    def ask_once(_: Any) -> None:
        if not asked:
            asked.append("L2H2")
            viewer.ablate("L2H2")

    viewer.observe(ask_once, "attribution")
    viewer.ablate("L2H1")
    assert viewer.wait(SECONDS)
    assert viewer._one_node.content is viewer._content
    assert [each["node"] for each in viewer.state["asked"]["changes"]] == ["L2H1", "L2H2"]


def test_an_observer_that_waits_is_not_stuck(viewer: AttributionViewer) -> None:
    waited: list[bool] = []

    def look(_: Any) -> None:
        viewer.show_node("L3H0")
        waited.append(viewer.wait())

    viewer.observe(look, "attribution")
    in_thread(lambda: viewer.ablate("L2H1"))
    assert waited == [False]
    assert viewer.wait(SECONDS)
    assert viewer.node == "L3H0"
    assert viewer.node_panel.record.children


# The state


def test_a_state_that_fails_leaves_its_error_and_changes_nothing(viewer: AttributionViewer) -> None:
    before, shown = viewer.attribution, viewer.state
    state = viewer.state
    state["asked"]["target"], state["node"], state["notes"] = [""], "L3H0", "of another page"
    state["table"]["n"] = 3
    viewer.state = state
    assert isinstance(viewer.error, NotOneTokenError)
    assert viewer.attribution is before
    assert viewer.state == shown


def test_a_state_is_the_same_on_a_page_of_another_question(model: ne.ModelContext, viewer: AttributionViewer) -> None:
    viewer.ask(LONGER, " her", " him")
    viewer.table.token.value = 9
    assert viewer.wait(SECONDS)
    of_a_longer_prompt = viewer.state
    viewer.ask(PROMPT, " Moses", " her", OTHER_PROMPT)
    viewer.compare()
    viewer.table.column.value = "difference"
    viewer.table.is_descending.value = False
    assert viewer.wait(SECONDS)
    compared, rows = viewer.state, viewer.nodes["name"].tolist()
    viewer.show_node("L3H0")
    again = AttributionViewer(model, PROMPT, " Moses", " her")
    again.show_node("L3H1")
    for state in (of_a_longer_prompt, compared):
        again.state = json.loads(json.dumps(state))
        assert again.wait(SECONDS)
        assert again.state == state
    assert again.nodes["name"].tolist() == rows
    assert again.node_panel.details.value == ""


def test_hostile_states_are_refused(viewer: AttributionViewer) -> None:
    shown = viewer.state
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    states = [shown | {name: value} for name in shown for value in (nested, 10**5000, "\ud800")]
    states += [shown | {"table": shown["table"] | {name: 10**5000}} for name in ("n", "layer", "token")]
    states += [shown | {"table": shown["table"] | {name: "\ud800"}} for name in ("name", "column")]
    for state in states:
        with pytest.raises(InvalidRequestError):
            viewer.state = state
    assert viewer.state == shown


def test_half_characters_in_messages_are_refused(viewer: AttributionViewer) -> None:
    state = viewer.state
    state["asked"]["other_prompt"] = [{"role": "user", "content": "\ud800"}]
    with pytest.raises(InvalidRequestError, match="not valid text"):
        viewer.state = state


# What is chosen, typed and sent


def test_rows_that_are_chosen_while_an_answer_is_computed(
    viewer: AttributionViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, work = threading.Event(), threading.Event(), viewer._asking._work

    def slow(task: PageTask) -> PageContent:
        began.set()
        assert go_on.wait(SECONDS)
        return work(task)

    monkeypatch.setattr(viewer._asking, "_work", slow)
    asking = threading.Thread(target=viewer.ablate, args=("L2H1",), daemon=True)
    asking.start()
    assert began.wait(SECONDS)
    viewer.table.n.value, viewer.table.by.value = 2, "total_effect"
    assert viewer._tabling.wait(SECONDS)
    go_on.set()
    asking.join(SECONDS)
    assert viewer.wait(SECONDS)
    assert viewer.attribution is not None
    assert viewer.nodes["name"].tolist() == viewer.attribution.nodes(2)["name"].tolist()


def test_a_choice_counts_while_another_thread_sets_controls(viewer: AttributionViewer) -> None:
    with viewer.table._quiet:
        in_thread(lambda: setattr(viewer.table.n, "value", 2))
    assert viewer.wait(SECONDS)
    assert viewer.table.n.value == 2
    assert len(viewer.nodes) < 10


def test_quiet_is_of_one_thread() -> None:
    quiet, seen = Quiet(), list[bool]()
    with quiet, quiet:
        in_thread(lambda: seen.append(quiet.is_on))
        seen.append(quiet.is_on)
    assert [*seen, quiet.is_on] == [False, True, False]


def test_a_late_click_on_a_removed_ablation(viewer: AttributionViewer) -> None:
    viewer.ablate("L2H1")
    row = viewer.changes.rows[0]
    row.remove.click()
    assert viewer.wait(SECONDS)
    viewer.changes._on_remove(0)
    assert "There is no change 0" in viewer.status.line.value


def test_fields_in_which_a_front_end_chooses_nothing(viewer: AttributionViewer) -> None:
    shown = viewer.state
    for field in (viewer.sections.section, viewer.table.by, viewer.table.column, viewer.table.kind):
        field.set_state({"index": None})
        assert viewer.wait(SECONDS)
    assert viewer.state == shown


def test_messages_that_are_not_of_the_module(viewer: AttributionViewer, capsys: pytest.CaptureFixture[str]) -> None:
    shown = viewer.state
    for node in ("x", "1e5", "-1", "٣", "9" * 150):
        viewer._acted("token", node)
    assert viewer.table.rows is not None
    viewer.table.rows._handle_custom_msg({"kind": "open", "node": "\ud800", "number": 1}, [])
    assert viewer.wait(SECONDS)
    assert viewer.state == shown
    assert viewer.node_panel.node.value == ""


def test_a_name_that_is_long_or_no_text(viewer: AttributionViewer) -> None:
    for name in ("\ud800", "x" * 1_000_000, "("):
        viewer.table.name.value = name
        assert viewer.wait(SECONDS)
        assert viewer.nodes.empty
        assert viewer.table.message.value == ""
    viewer.table.kind.value = "latent"  # of which this answer has none
    assert viewer.wait(SECONDS)
    assert "name" in viewer.nodes
    assert viewer.table.message.value == ""


def test_token_ids_as_answers(model: ne.ModelContext, viewer: AttributionViewer) -> None:
    token_id = model.encode(" Moses", add_special_tokens=False)[0]
    for target in (token_id, [token_id], [[token_id]], [" Moses"]):
        viewer.ask(PROMPT, target)
        assert viewer.attribution is not None
        assert viewer.attribution.value == ne.attribute(model, PROMPT, " Moses").value
    for wrong in ({" Moses": 1}, object(), 1.5):
        with pytest.raises(InvalidRequestError, match="target"):
            viewer.ask(PROMPT, wrong)


def test_a_model_without_examples_needs_a_prompt(model: ne.StandardModelContext) -> None:
    without_tokenizer = ne.StandardModelContext("own", model.get_or_create_model())
    with pytest.raises(PromptError, match="Give a prompt"):
        AttributionViewer(without_tokenizer)


def test_messages_that_lines_cannot_say() -> None:
    model = ne.load_model("tiny", device="cpu", chat_template=TEMPLATE)
    messages = [{"role": "tool", "content": "And the LORD said", "id": 5}]
    viewer = AttributionViewer(model, messages, " unto", " to")
    assert viewer.ask_panel.form.value is Form.CHAT
    viewer.ablate("L2H1")
    ablated = viewer.attribution
    viewer.ask_panel.ask.click()  # the same question, whose ablations stay
    assert viewer.wait(SECONDS)
    assert viewer.attribution is ablated
    viewer.ask("And the LORD said", " unto", " to")
    viewer.ask(messages, " to", " unto")
    assert viewer.error is None
    assert viewer.state["asked"]["prompt"] == messages
    assert json.loads(viewer.ask_panel.prompt.value) == messages


def test_a_second_prompt_of_another_form_stays(model: ne.ModelContext) -> None:
    other = model.encode(OTHER_PROMPT)
    viewer = AttributionViewer(model, PROMPT, " Moses", " her", other_prompt=other)
    viewer.compare()
    viewer.ask_panel.swap.click()
    assert viewer.wait(SECONDS)
    assert viewer.error is None
    assert viewer.state["asked"]["other_prompt"] == other
    assert viewer.comparison is not None
    viewer.ask_panel.other.value = OTHER_PROMPT
    viewer.ask_panel.ask.click()
    assert viewer.wait(SECONDS)
    assert viewer.state["asked"]["other_prompt"] == OTHER_PROMPT


# What stays


def test_opening_nodes_and_closing_leaves_no_widgets(model: ne.ModelContext) -> None:
    before = set(open_widgets())
    viewer = AttributionViewer(model, PROMPT, " Moses", " her")
    viewer.show_node("L2N5@3")
    viewer.show_node("L3H1@4<-2")
    viewer.show_node("EMB@3")
    viewer._one_node.recording.submit(RecordTask("L3H2", PROMPT))  # is under way when the page is closed
    viewer.close()
    assert viewer.wait(SECONDS)
    left = [each for key, each in open_widgets().items() if key not in before]
    assert [each for each in left if isinstance(each, ne.NeuronViewer | NodePanel)] == []
    assert [each for each in left if isinstance(each, widgets.HTML)] == []


def test_answers_that_are_held_are_limited_in_number(model: ne.ModelContext) -> None:
    held, why = HeldAnswers(10**12), ne.attribute(model, PROMPT)
    for number in range(MOST_ANSWERS + 5):
        held.put(number, why)
    assert [held.get(number) is None for number in range(MOST_ANSWERS + 5)] == [True] * 5 + [False] * MOST_ANSWERS
    assert held.value(0) == why.value


def test_a_dropped_record_does_not_close_the_newest(model: ne.ModelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    viewers = RecordViewers(ne.StandardModelContext("my own", model.get_or_create_model(), model.tokenizer))
    began, go_on, stop = threading.Event(), threading.Event(), threading.Event()
    made: list[ne.NeuronViewer] = []

    def slow(*arguments: Any, **options: Any) -> ne.NeuronViewer:
        viewer = ne.NeuronViewer(*arguments, **options)
        made.append(viewer)
        if options["texts"] == [PROMPT]:
            began.set()
            assert go_on.wait(SECONDS)
        return viewer

    monkeypatch.setattr(records, "NeuronViewer", slow)

    def dropped() -> None:
        with suppress(StoppedError), watched_passes(stop=stop):
            viewers.showing(RecordTask("L2N5", PROMPT))

    older = threading.Thread(target=dropped, daemon=True)
    older.start()
    assert began.wait(SECONDS)
    viewers.showing(RecordTask("L2N6", OTHER_PROMPT))
    stop.set()
    go_on.set()
    older.join(SECONDS)
    assert [each.comm is None for each in made] == [True, False]
    viewers.close()
    assert [each.comm is None for each in made] == [True, True]
