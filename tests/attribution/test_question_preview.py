"""A question as it is typed: what can be read is read, and what is wrong stands beside it."""

import time
import warnings
from typing import Any

import pytest

import neuron_explainer as ne
from neuron_explainer.attribution import attribute
from neuron_explainer.errors import ChatTemplateError, MisconfiguredError, NotOneTokenError, PromptError
from neuron_explainer.models.transformer import Transformer

PROMPT = "Mr. Darcy looked at Elizabeth and said to"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny")


@pytest.mark.parametrize(
    ("target", "distractor", "options"),
    [
        (" her", " him", {}),
        (" her", None, {}),
        (["her", " she"], [" him", 7], {}),
        (" Moses and Aaron", " him", {}),
        (" her", None, {"metric": "probs", "positions": 3}),
        (None, None, {}),
        (" her", " her", {"prepend_bos": False}),
        (None, None, {"metric": ne.LossFnConfig("logit_diff", [" her"], [" him"])}),
    ],
)
def test_it_is_what_attribute_is_asked(
    model: ne.ModelContext, target: Any, distractor: Any, options: dict[str, Any]
) -> None:
    preview = ne.preview_question(model, PROMPT, target, distractor, **options)
    asked = attribute(model, PROMPT, target, distractor, **options).inquiry
    assert preview.errors == {}
    assert preview.prompt is not None
    assert preview.prompt.token_ids == model.encode(PROMPT)
    assert preview.hints == asked.hints
    for answer in preview.targets + preview.distractors:
        assert "".join(preview.answer_tokens(answer)) == answer.text
        assert len(preview.answer_tokens(answer)) == len(answer.token_ids)
    if preview.targets:
        assert (*preview.targets, *preview.distractors) == asked.answers
        assert preview.title == asked.title
    else:  # the model's own choice, which a pass tells
        assert preview.title == "logit of the likeliest token minus that of the second"


@pytest.mark.parametrize(
    ("arguments", "options", "wrong"),
    [
        (("", " her", " him"), {}, {"prompt": PromptError}),
        ((None, "", " him"), {}, {"prompt": PromptError, "target": NotOneTokenError}),
        ((PROMPT, " her", ""), {}, {"distractor": NotOneTokenError}),
        ((PROMPT, 10**9, object()), {}, {"target": Exception, "distractor": Exception}),
        ((PROMPT, None, " him"), {}, {"question": MisconfiguredError}),
        ((PROMPT, " her", " him"), {"metric": "probs"}, {"question": MisconfiguredError}),
        ((PROMPT, " her", " him"), {"metric": "charm"}, {"question": Exception}),
        ((PROMPT, " her", " him"), {"positions": 99}, {"question": Exception}),
        ((PROMPT, " her", " him"), {"prepend_bos": "no"}, {"prompt": Exception}),
        (("a \ud800", "\udc00", " him"), {}, {"prompt": Exception, "target": Exception}),
        ((" x" * 9999, " her", " him"), {}, {"prompt": PromptError}),
        (([{"role": "user", "content": "Hello"}], " her", " him"), {}, {"prompt": ChatTemplateError}),
        (([{"role": 3}], " her", " him"), {}, {"prompt": Exception}),
        (({}, [], [[]]), {}, {"prompt": Exception, "target": Exception, "distractor": Exception}),
        ((3, {" her"}, b" him"), {}, {"prompt": Exception, "distractor": Exception}),
    ],
)
def test_mistakes_stand_beside_what_can_be_read(
    model: ne.ModelContext, arguments: tuple[Any, ...], options: dict[str, Any], wrong: dict[str, type[Exception]]
) -> None:
    preview = ne.preview_question(model, *arguments, **options)
    assert dict.fromkeys(preview.errors) == dict.fromkeys(wrong)
    for name, error in wrong.items():
        assert isinstance(preview.errors[name], error)
        assert isinstance(preview.errors[name], ne.errors.NeuronExplainerError)
    assert preview.title == ""
    # The error is the one that attribute raises, if it is the only one.
    if len(wrong) == 1:
        (only,) = preview.errors.values()
        with pytest.raises(type(only)) as raised:
            attribute(model, *arguments, **options)
        assert str(raised.value) == str(only)
    assert (preview.prompt is None) == ("prompt" in wrong)
    if arguments[2] == " him":
        (distractor,) = preview.distractors
        assert preview.answer_tokens(distractor) == [" him"]


def test_a_text_that_ends_in_a_space_is_a_hint_and_no_warning(model: ne.ModelContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preview = ne.preview_question(model, f"{PROMPT} ", "her", "")
    assert [hint[:29] for hint in preview.hints] == ["The prompt ends in a space. I"]
    assert set(preview.errors) == {"distractor"}


def test_no_pass_is_run_and_it_is_quick(model: ne.ModelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a pass was run")

    monkeypatch.setattr(Transformer, "forward", refuse)
    (longest,) = [model.max_context_length]
    text = model.decode(model.encode("And the LORD said unto Moses, Speak unto Pharaoh. " * 60)[: longest - 1])
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        ne.preview_question(model, text, " her", " Moses and Aaron")
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.05  # far more than it takes (below 1 ms), so that a busy machine does not fail


def test_a_model_that_is_none(model: ne.ModelContext) -> None:
    with pytest.raises(MisconfiguredError, match="model"):
        ne.preview_question(3, PROMPT)  # type: ignore[arg-type]
