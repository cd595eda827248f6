"""The page of a model that takes messages: they are asked about, shown in the fields, and asked from there."""

import pytest

import neuron_explainer as ne
from neuron_explainer.widgets.attribution.typed import Form, Typed

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
MESSAGES = [{"role": "user", "content": "And the LORD said"}]


@pytest.fixture(scope="module")
def model() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu", chat_template=TEMPLATE)


def test_the_fields_of_a_chat_hold_a_line_for_each_message(model: ne.StandardModelContext) -> None:
    viewer = ne.AttributionViewer(model, MESSAGES, " unto", " to")
    assert viewer.ask_panel.typed == Typed("user: And the LORD said", " unto", " to", form=Form.CHAT)
    assert viewer.attribution is not None
    assert viewer.attribution.value == pytest.approx(ne.attribute(model, MESSAGES, " unto", " to").value)


def test_a_chat_can_be_typed(model: ne.StandardModelContext) -> None:
    viewer = ne.AttributionViewer(model, "And the LORD said", " unto", " to")
    viewer.ask_panel.form.value = Form.CHAT
    viewer.ask_panel.prompt.value = "user: And Moses\nassistant:  said"
    viewer.ask_panel.ask.click()
    assert viewer.wait(30)
    assert viewer.error is None
    messages = [{"role": "user", "content": "And Moses"}, {"role": "assistant", "content": " said"}]
    assert viewer.state["asked"]["prompt"] == messages


def test_a_model_without_a_template_offers_no_chats() -> None:
    viewer = ne.AttributionViewer(ne.load_model("tiny", device="cpu"), "And the LORD said", " unto", " to")
    assert [form for _, form in viewer.ask_panel.form.options] == [Form.TEXT, Form.IDS]
