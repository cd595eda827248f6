"""What can be asked, in every form; what a metric is, by hand; hints; and errors that help."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.chats import chat_model, said
from helpers.derived_scalars import PROMPT, TARGET, context
from helpers.tiny_models import hf_model
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    MisconfiguredError,
    NeuronExplainerError,
    NodeNameError,
    NotOneTokenError,
    PromptError,
    UnknownNameError,
)
from neuron_explainer.notices import TrailingSpaceWarning

TEXT = "And the LORD said unto"


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def asked(*answers: Any, family: str = "gpt2", prompt: Any = PROMPT, **options: Any) -> Attribution:
    return attribute(context(family), prompt, *answers, **options)


def logits_of(family: str = "gpt2", tokens: list[int] = PROMPT) -> Tensor:
    """(tokens, vocabulary), as `transformers` computes them."""
    return hf_model(family, torch.float64)(torch.tensor([tokens])).logits[0]


def log_probability(answer: list[int], family: str = "gpt2", prompt: list[int] = PROMPT) -> float:
    """Of an answer after the prompt, each token given those before it."""
    total, tokens = 0.0, list(prompt)
    for token in answer:
        total += float(logits_of(family, tokens)[-1].log_softmax(-1)[token])
        tokens.append(token)
    return total


def near(number: float) -> Any:
    return pytest.approx(number, rel=1e-9, abs=1e-9)


def test_targets_and_distractors_in_every_form() -> None:
    last = logits_of()[-1]
    mean = float(last.mean())
    for form in (
        TARGET,
        "t7",
        ["t7"],
        [7],
        (7,),
        [[7]],
        np.int64(7),
        torch.tensor(7),
        [np.int32(7)],
        torch.tensor([7]),
    ):
        assert asked(form).value == near(float(last[7]) - mean)
        assert asked(form, "t11").value == near(float(last[7] - last[11]))
        assert asked("t7", form if form == "t7" else 11).value is not None
    assert asked([7, 9], [11, "t3", "t4"]).value == near(
        float((last[7] + last[9]) / 2 - (last[11] + last[3] + last[4]) / 3)
    )
    assert asked(["t7", "t9"]).value == near(float((last[7] + last[9]) / 2) - mean)
    own = last.topk(2).values
    assert asked().value == near(float(own[0] - own[1]))
    assert asked(7, 7).value == 0


def test_metrics() -> None:
    logits = logits_of()
    last = logits[-1]
    logs, probabilities = last.log_softmax(-1), last.softmax(-1)
    for metric, answers, expected in (
        ("logit_diff", (7, 11), last[7] - last[11]),
        ("logit_diff", (7,), last[7]),
        ("LOGIT_DIFF", (7, [11, 12]), last[7] - last[[11, 12]].mean()),
        ("logit_minus_mean", (7,), last[7] - last.mean()),
        ("probs", ([7, 9],), probabilities[7] + probabilities[9]),
        ("log_probability", (7,), logs[7]),
        ("log_probability", ([7, 9], 11), logs[[7, 9]].mean() - logs[11]),
        (ne.LossFnConfig("logit_diff", ["t7"], ["t11"]), (), last[7] - last[11]),
        (ne.LossFnConfig("logit_minus_mean", [7, 9]), (), last[[7, 9]].mean() - last.mean()),
        (ne.LossFnConfig("probs", ["t7"]), (), probabilities[7]),
        (lambda logits: logits[2, 5] * logits[-1, 3], (), logits[2, 5] * logits[-1, 3]),
    ):
        why = asked(*answers, metric=metric)
        assert why.value == near(float(expected))
        assert why.parts()["direct_effect"].sum() == near(why.value)


def test_several_positions_are_their_mean_and_a_function_sees_them() -> None:
    logits = logits_of()
    for given, positions in (
        (2, [2]),
        (-1, [5]),
        (-6, [0]),
        ([1, 3], [1, 3]),
        ((3, 1, 3), [1, 3]),
        (range(6), list(range(6))),
        ("@' t44'".replace(" ", ""), [3]),
        ("@2", [2]),
        ("@-2", [4]),
        (["@'t3'", 0], [0, 2]),
        (np.int64(2), [2]),
        (torch.tensor([1, 2]), [1, 2]),
        (None, [5]),
    ):
        why = asked(7, 11, positions=given)
        assert why.value == near(float((logits[positions, 7] - logits[positions, 11]).mean()))
        assert why.inquiry.request["positions"] == positions
    seen: list[tuple[int, ...]] = []

    def largest(logits: Tensor) -> Tensor:
        seen.append(tuple(logits.shape))
        return logits.max(-1).values.sum()

    assert asked(metric=largest, positions=[1, 4]).value == near(float(logits[[1, 4]].max(-1).values.sum()))
    assert asked(metric=largest).value == near(float(logits.max(-1).values.sum()))
    assert set(seen) == {(2, 61), (6, 61)}
    assert asked(positions=3).value == near(float(logits[3].topk(2).values.diff().abs()))
    with pytest.raises(NodeNameError, match=r"1.*4"):
        asked(7, positions="@'t17'")
    with pytest.raises(IndexOutOfRangeError, match="0 to 5"):
        asked(7, positions=6)
    with pytest.raises(InvalidRequestError, match="positions"):
        asked(positions=[1, 2])


def test_a_token_of_a_text_as_a_position(tiny: ne.StandardModelContext) -> None:
    by_text = attribute(tiny, TEXT, " Moses", positions="@' LORD'")
    tokens = by_text.store.tokens
    assert by_text.value == attribute(tiny, TEXT, " Moses", positions=tokens.index(" LORD")).value
    with pytest.raises(NodeNameError, match="LORD"):
        attribute(tiny, TEXT, " Moses", positions="@' lord'")


def test_answers_of_several_tokens_are_log_probabilities() -> None:
    for answers, expected in (
        (("t7 t8",), log_probability([7, 8])),
        (([[7, 8]],), log_probability([7, 8])),
        (("t7 t8", 11), log_probability([7, 8]) - log_probability([11])),
        (
            ("t7 t8 t9", [[11, 12], [3]]),
            log_probability([7, 8, 9]) - (log_probability([11, 12]) + log_probability([3])) / 2,
        ),
        ((["t7", "t8 t9"],), (log_probability([7]) + log_probability([8, 9])) / 2),
    ):
        why = asked(*answers)
        assert why.value == near(expected)
        assert why.parts()["direct_effect"].sum() == near(why.value)
        assert abs(why.residue) < 1e-9
    early = asked("t7 t8", positions=3)
    assert early.value == near(log_probability([7, 8], prompt=PROMPT[:4]))
    why = asked("t7 t8", [[11, 12, 13]])
    table = why.answers()
    assert table["log_probability"].tolist() == [near(log_probability([7, 8])), near(log_probability([11, 12, 13]))]
    assert table["probability"].tolist() == [math.exp(each) for each in table["log_probability"]]
    assert table["n_tokens"].tolist() == [2, 3]
    with pytest.raises(InvalidRequestError, match="several tokens"):
        asked("t7 t8", metric="logit_diff")
    with pytest.raises(InvalidRequestError, match="one position"):
        asked("t7 t8", positions=[1, 2])


def test_rows_of_answers_say_whose_they_are() -> None:
    for answers, texts in (([[[7, 8]]], ["t7t8"]), ([[[7, 8]], "t11"], ["t7t8", "t11"])):
        why = asked(*answers)
        parts = why.parts()
        assert list(parts.columns) == ["answer", "predicting_position", "part", "layer", "direct_effect"]
        assert parts["answer"].unique().tolist() == texts
        of_first = parts[parts["answer"] == "t7t8"]["predicting_position"].dropna().unique().tolist()
        assert of_first == [5, 6]
        nodes = why.nodes(20, "direct_effect")
        assert list(nodes.columns[:2]) == ["answer", "predicting_position"]
        assert set(nodes["predicting_position"]) == {5, 6}
        assert "answer" in why.tokens().columns
        assert "answer" in why.verify(3).columns


def test_next_tokens_always_hold_targets_and_distractors() -> None:
    logits = logits_of()[-1]
    worst = logits.argsort()[:4].tolist()
    for answers in (
        (worst[0], worst[1]),
        (worst[:2], worst[2:]),
        ([worst[0], worst[3]],),
        ([[worst[0], 8]],),
        ([[7, 8]], 11),
    ):
        why = asked(*answers)
        for n in (1, 3, 61, 1000):
            table = why.next_tokens(n)
            first = {answer.token_ids[0] for answer in why.inquiry.answers}
            assert first <= set(table["token_id"])
            best = set(logits.topk(min(n, 61)).indices.tolist())
            assert set(table["token_id"]) == best | first
            assert dict(zip(table["token_id"], table["asked"], strict=True)).items() >= why.inquiry.asked_tokens.items()
            for _, row in table.iterrows():
                token = int(row["token_id"])
                assert row["logit"] == near(float(logits[token]))
                assert row["probability"] == near(float(logits.softmax(-1)[token]))
                assert row["rank"] == int((logits > logits[token]).sum()) + 1
                assert row["token"] == f"t{token}"
    assert asked(7, positions=2).next_tokens(1)["token_id"].iloc[0] == int(logits_of()[2].argmax())


def test_soft_capped_logits() -> None:
    model = context("gemma2").get_or_create_model()
    cap = model.config.logits_softcap
    assert cap is not None
    own = logits_of("gemma2")
    uncapped = torch.atanh(own / cap) * cap
    why = asked(7, 11, family="gemma2")
    assert why.value == near(float(uncapped[-1, 7] - uncapped[-1, 11]))
    assert why.capped_value == near(float(own[-1, 7] - own[-1, 11]))
    assert "capped" in repr(why)
    table = why.next_tokens(3)
    for _, row in table.iterrows():
        token = int(row["token_id"])
        assert row["logit"] == near(float(uncapped[-1, token]))
        assert row["capped_logit"] == near(float(own[-1, token]))
        assert row["probability"] == near(float(own[-1].softmax(-1)[token]))
    several = asked([[7, 8]], family="gemma2")
    after = [*PROMPT, 7]
    both = logits_of("gemma2", after)
    expected = [(torch.atanh(both / cap) * cap).log_softmax(-1), both.log_softmax(-1)]
    found = [float(logs[5, 7] + logs[6, 8]) for logs in expected]
    assert [several.value, several.capped_value] == [near(found[0]), near(found[1])]
    assert several.answers()["log_probability"].tolist() == [near(found[1])]
    plain = asked(7, 11)
    assert plain.capped_value == plain.value
    assert "capped_logit" not in plain.next_tokens(3).columns


def test_hints_exactly_when_they_should_be(tiny: ne.StandardModelContext) -> None:
    def hints(*answers: Any, prompt: Any = TEXT) -> tuple[str, ...]:
        return attribute(tiny, prompt, *answers).hints

    assert hints(" Moses", " her") == ()
    assert hints() == ()
    assert hints(",") == ()
    assert hints([tiny.encode_token_str(" Moses")]) == ()
    assert hints(" her", " her") == ("' her' is target and distractor at once. The two cancel out.",)
    assert hints([" her", " Moses"], [" him"]) == ()
    without_space = hints("her", " Moses")
    assert any("'her' has no leading space" in hint and "' her'" in hint for hint in without_space)
    several = hints(" Moses her")
    assert len(several) == 1
    assert "' Moses her' is 2 tokens (' Moses' + ' her')" in several[0]
    with pytest.warns(TrailingSpaceWarning):
        spaced = hints(" Moses", prompt=f"{TEXT} ")
    assert len(spaced) == 1
    assert "ends in a space" in spaced[0]
    # Within a text that does not end in a word a new word may well have no space; token ids were meant as they are.
    assert hints("her", prompt=tiny.encode(TEXT)) == ()
    asked_earlier = attribute(tiny, TEXT, "her", positions=3).hints
    assert any("After ' LORD' a new word" in hint for hint in asked_earlier)
    with pytest.warns(TrailingSpaceWarning):
        assert attribute(tiny, f"{TEXT} ", " Moses", positions=3).hints == ()
    two = hints("Moses")
    assert len(two) == 2
    assert "no leading space" in two[0]
    assert "2 tokens" in two[1]


def test_prompts_in_every_form(tiny: ne.StandardModelContext) -> None:
    expected = attribute(tiny, TEXT, " Moses", " her")
    ids = expected.store.token_ids
    prompt: Any
    for prompt in (ids, tuple(ids), torch.tensor(ids), torch.tensor([ids]), np.array(ids)):
        why = attribute(tiny, prompt, " Moses", " her")
        assert isinstance(why, Attribution)
        assert why.value == expected.value
    chat = chat_model()
    messages = said("Hi")
    why = attribute(chat, messages)
    assert isinstance(why, Attribution)
    assert why.store.token_ids == chat.chat_tokens(messages)
    assert why.hints == ()
    assert attribute(chat, chat.chat_text(messages)).value == why.value
    assert attribute(chat, chat.chat_tokens(messages)).value == why.value
    several = attribute(chat, [messages, said("Hi", "Hello", "Bye")])
    assert len(several) == 2
    assert several[0].value == pytest.approx(why.value, rel=1e-4)
    assert attribute(chat, messages, "a").inquiry.request["prompt"] == messages


def test_without_a_tokenizer() -> None:
    model = ne.StandardModelContext("bare", context("gpt2").get_or_create_model(), None)
    why = attribute(model, PROMPT, 7, 11)
    assert why.value == asked(7, 11).value
    assert why.next_tokens(1)["token"].tolist()[0].startswith("<")
    assert why.nodes(3)["name"].tolist() == asked(7, 11).nodes(3)["name"].tolist()


Raises = Callable[[], Any]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((PROMPT, ""), {}, NotOneTokenError, "''"),
        ((PROMPT, []), {}, InvalidRequestError, "target is an empty list"),
        ((PROMPT, [[]]), {}, InvalidRequestError, "target holds"),
        ((PROMPT, 61), {}, InvalidRequestError, "61"),
        ((PROMPT, -1), {}, InvalidRequestError, "-1"),
        ((PROMPT, 1.5), {}, InvalidRequestError, "target is 1.5"),
        ((PROMPT, [None]), {}, InvalidRequestError, "target holds None"),
        ((PROMPT, [7, 1.5]), {}, InvalidRequestError, "target holds 1.5"),
        ((PROMPT, None, 7), {}, MisconfiguredError, "without a target"),
        ((PROMPT, 7, []), {}, InvalidRequestError, "distractor is an empty list"),
        ((PROMPT, 7, object()), {}, InvalidRequestError, "distractor"),
        ((PROMPT, 7), {"metric": "logit_dif"}, UnknownNameError, "logit_diff"),
        ((PROMPT, 7), {"metric": 5}, NeuronExplainerError, "logit_diff"),
        ((PROMPT,), {"metric": "logit_diff"}, MisconfiguredError, "needs a target"),
        ((PROMPT, 7, 11), {"metric": "probs"}, MisconfiguredError, "takes no distractor"),
        ((PROMPT, 7), {"metric": torch.sum}, MisconfiguredError, "Leave target and distractor out"),
        ((PROMPT, 7), {"metric": ne.LossFnConfig("probs", [7])}, MisconfiguredError, "own tokens"),
        ((PROMPT,), {"metric": lambda logits: 5}, NeuronExplainerError, "metric"),
        ((PROMPT,), {"metric": lambda logits: logits}, NeuronExplainerError, "one number"),
        ((PROMPT,), {"metric": lambda logits: logits.detach().sum()}, NeuronExplainerError, "metric"),
        ((PROMPT, 7), {"positions": []}, InvalidRequestError, "empty list"),
        ((PROMPT, 7), {"positions": 1.5}, InvalidRequestError, "positions is 1.5"),
        ((PROMPT, 7), {"positions": "@'x'"}, NodeNameError, "x"),
        ((PROMPT, 7), {"positions": "@"}, InvalidRequestError, "@7"),
        ((PROMPT, 7), {"autoencoders": 5}, MisconfiguredError, "autoencoders is 5"),
        ((PROMPT, 7), {"autoencoders": []}, MisconfiguredError, "autoencoders"),
        ((PROMPT, 7), {"ablations": "L1H0"}, NeuronExplainerError, "ablations"),
        ((PROMPT, 7), {"ablations": 5}, NeuronExplainerError, "ablations"),
        (([], 7), {}, PromptError, "no tokens"),
        (("", 7), {}, PromptError, "no tokens"),
        (([5, 61], 7), {}, PromptError, "61"),
        ((5, 7), {}, PromptError, "5"),
        ((None, 7), {}, PromptError, "None"),
        (([5] * 65, 7), {}, PromptError, "65"),
        (([5] * 64, [[7, 8]]), {}, PromptError, "65"),
        ((PROMPT, 7), {"prepend_bos": True}, InvalidRequestError, "prepend_bos"),
        (([PROMPT, PROMPT], [7, 8, 9]), {}, PromptError, "list of 3 for 2 prompts"),
    ],
)
def test_errors_name_what_is_wrong(arguments: Any, options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        attribute(context("gpt2"), *arguments, **options)


def test_wrong_models() -> None:
    model: Any
    for model in (None, 5, "tiny", context("gpt2").get_or_create_model()):
        with pytest.raises(NeuronExplainerError):
            attribute(model, PROMPT, 7)
