"""What a new user gets wrong is refused in words that help, and nothing is read in another way than it was meant."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, PROMPT, TARGET, autoencoders, context
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.attribution.attributions import Attributions
from neuron_explainer.errors import (
    InvalidIndexError,
    InvalidRequestError,
    MisconfiguredError,
    NeuronExplainerError,
    PromptError,
    UnknownNameError,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D


@pytest.fixture(scope="module")
def why() -> Attribution:
    return attribute(context("gpt2"), PROMPT, TARGET, DISTRACTOR)


def test_lists_of_prompts_in_other_forms() -> None:
    model, two = context("gpt2"), [PROMPT, [3, 4]]
    expected = attribute(model, two, 7).values
    given: Any
    target: Any
    for given in (iter(two), (each for each in two), tuple(two)):
        several = attribute(model, given, 7)
        assert isinstance(several, Attributions)
        assert several.values == expected
    given = iter(PROMPT)
    assert isinstance(attribute(model, given, 7), Attribution)
    given = {"t1", "t2"}
    with pytest.raises(PromptError, match="no order"):
        attribute(model, given, 7)
    for target in (5.5, object(), {7, 8}, {7: 8}, b"ab"):
        with pytest.raises(InvalidRequestError, match="one for all prompts, or a list"):
            attribute(model, two, target)
    given = np.array("t1")
    with pytest.raises(PromptError, match="Give one text"):
        attribute(model, given, 7)


@pytest.mark.parametrize(
    "target", [b"t7", {"t7": 1}, torch.tensor([1.5]), [["t7", "t8"]], [[5, "t7"]], [[[5]]], [b"t7"]]
)
def test_what_is_no_answer(target: Any) -> None:
    with pytest.raises(InvalidRequestError, match="target"):
        attribute(context("gpt2"), PROMPT, target)


def test_positions_and_tokens_are_named_as_they_were_given(why: Attribution) -> None:
    given: Any
    for given in ("@", "@x", "@2<-1"):
        with pytest.raises(InvalidRequestError, match=f"positions: '{given}' is not a token"):
            attribute(context("gpt2"), PROMPT, 7, positions=given)
    for given in ([], 1.5, [None]):
        with pytest.raises(InvalidRequestError, match="tokens"):
            why.nodes(5, tokens=given)


@pytest.mark.parametrize("kinds", ["heads", "mlp", 5, [5], ["head", "layer"], ""])
def test_kinds_are_those_that_a_table_holds(why: Attribution, kinds: Any) -> None:
    with pytest.raises(UnknownNameError) as raised:
        why.nodes(5, kinds=kinds)
    assert set(raised.value.choices) == {"head", "neuron", "latent", "embedding"}


def test_kinds_by_the_type_of_their_nodes(why: Attribution) -> None:
    by_name = why.nodes(5, kinds="head")
    assert list(why.nodes(5, kinds="attention_head").index) == list(by_name.index)
    assert list(why.nodes(5, kinds=("head",)).index) == list(by_name.index)


def test_values_in_the_place_of_nodes(why: Attribution) -> None:
    for value in (0, 0.5, "mean"):
        with pytest.raises(InvalidRequestError, match="write value="):
            why.ablate("L1H0", value)
    with pytest.raises(InvalidIndexError, match="names no node"):
        why.ablate({"L1H0": 0.5})
    for value in ("Mean", "zero"):
        with pytest.raises(PromptError, match='write value="mean"'):
            why.ablate("L1H0", value=value)
    numbers = np.linspace(0, 1, 6)
    assert why.ablate("L1N3", value=numbers).value == why.ablate("L1N3", value=torch.from_numpy(numbers)).value
    assert why.ablate("L1N3", value=[1, 2, 3, 4, 5, 6]).ablated == ("L1N3 = its activation in another prompt",)
    assert why.ablate("L1N3", value=numbers).ablated == ("L1N3 = given numbers",)


def test_verify_takes_single_nodes(why: Attribution) -> None:
    for node in ("L1MLP@5", "L1ATTN", "V5", "L1RESID@3"):
        with pytest.raises(InvalidRequestError, match="not a head, neuron, latent or embedding"):
            why.verify([node])
    for node in ("L1H0", "L1H0@5", "L1N3", "EMB"):
        with pytest.raises(InvalidRequestError, match="names several nodes"):
            why.verify(node)
    for options in ({"value": 5}, {"value": "mean"}, {"reference": "t1"}):
        with pytest.raises(InvalidRequestError, match='for kind="total"'):
            why.verify(3, "direct", **options)
    row = why.nodes(1, kinds="neuron").iloc[0]
    given: Any
    for given in (row, row.name, row["name"], [row["name"]], np.array([row["name"]]), iter([row.name])):
        assert why.verify(given)["name"].tolist() == [row["name"]]


def test_latents_are_named_by_their_autoencoder(why: Attribution) -> None:
    of_mlp, of_attention = (autoencoders("gpt2", place) for place in (D.RESID_DELTA_MLP, D.RESID_DELTA_ATTN))
    one = attribute(context("gpt2"), PROMPT, TARGET, autoencoders=of_mlp)
    two = attribute(context("gpt2"), PROMPT, TARGET, autoencoders=[of_mlp, of_attention])
    name = one.nodes(1, kinds="latent").iloc[0]["name"]
    short, _, token = name.partition("@")
    assert one.verify([f"{short}/mlp@{token}"]).to_dict() == one.verify([name]).to_dict()
    assert one.verify([f"{short}/mlp@{token}"], "direct").notna().all(axis=None)
    assert one.ablate(f"{short}/mlp").value == one.ablate(short).value
    assert one.trace(f"{short}/mlp").value == one.trace(short).value
    for ask in (lambda: one.ablate("L1A3/attn"), lambda: one.trace("L1A3/attn"), lambda: one.verify(["L1A3/attn@5"])):
        with pytest.raises(MisconfiguredError, match="attention_autoencoder_latent was asked for"):
            ask()
    for ask in (lambda: two.ablate("L1A3"), lambda: two.trace("L1A3"), lambda: two.verify(["L1A3@5"])):
        with pytest.raises(InvalidRequestError, match=r"Choose one of: L1A3/mlp(@5)?, L1A3/attn"):
            ask()
    for ask in (lambda: why.ablate("L1A3"), lambda: why.trace("L1A3"), lambda: why.verify(["L1A3@5"])):
        with pytest.raises(InvalidRequestError, match=r"without autoencoders\. Pass them: autoencoders="):
            ask()


def test_traces_and_comparisons(why: Attribution) -> None:
    with pytest.raises(InvalidRequestError, match="Say it once"):
        why.trace("L1H0/q", "k")
    assert why.trace("L1H0/q", "q").value == why.trace("L1H0", "q").value == why.trace("L1H0/q").value
    up = why.trace("L1N3")
    for first, second in ((why, up), (up, why)):
        with pytest.raises(InvalidRequestError, match="One answer is a trace"):
            first.compare(second)
    assert up.compare(up).difference == 0
    tiny = ne.load_model("tiny", device="cpu")
    with pytest.raises(InvalidRequestError, match="different sizes"):
        why.compare(attribute(tiny, PROMPT))


def test_tokens_of_one_answer_are_not_ablated_in_another_s_pass() -> None:
    two = attribute(context("gpt2"), PROMPT, [[7, 8]], [[11, 12]])
    assert two.ablate("L1H0@5").value != two.value
    row = next(row for node, row in two.nodes(1000, kinds="neuron").iterrows() if node.tensor_indices[0] == 6)
    for given in (row, "L1H0@6", "L1H0@6<-2", "EMB@6"):
        with pytest.raises(InvalidRequestError, match=r"token 6 is one of an answer's.*Choose a token from 0 to 5"):
            two.ablate(given)
    uneven = attribute(context("gpt2"), PROMPT, 11, [[7, 8]])
    with pytest.raises(InvalidRequestError, match="token 6 is one of an answer's"):
        uneven.ablate("L1H0@6")
    alone = attribute(context("gpt2"), PROMPT, [[7, 8]])
    assert alone.ablate("L1H0@6").value != alone.value


def test_nothing_raw(why: Attribution) -> None:
    """Each of these is a mistake; all raise errors of this library."""
    model: Any = context("gpt2")
    answer: Any = why
    wrong: list[Any] = [None, 5.5, object(), b"x", {}, {"a": 1}, [None], [[None]], [object()], float("nan"), True]
    for each in wrong:
        given: Any = object() if each is None or each == {} else each  # where None, or an empty list, stands for all
        value: Any = object() if each == 5.5 else each
        asks: list[Callable[[], object]] = [
            partial(attribute, each, PROMPT),
            partial(attribute, model, each),
            partial(attribute, model, PROMPT, 7, metric=given),
            partial(attribute, model, PROMPT, 7, positions=given),
            partial(attribute, model, PROMPT, 7, autoencoders=given),
            partial(attribute, model, PROMPT, 7, ablations=given),
            partial(attribute, model, [PROMPT, PROMPT], given),
            partial(answer.next_tokens, each),
            partial(answer.nodes, each),
            partial(answer.nodes, 5, each),
            partial(answer.nodes, 5, kinds=given),
            partial(answer.nodes, 5, layers=given),
            partial(answer.heads, given),
            partial(answer.heads, 5, each),
            partial(answer.verify, each),
            partial(answer.verify, 5, each),
            partial(answer.verify, 5, value=value),
            partial(answer.ablate, each),
            partial(answer.ablate, "L1N3", value=value),
            partial(answer.trace, each),
            partial(answer.trace, "L1H0", given),
            partial(answer.trace, "L1H0", "v", downstream=given),
            partial(answer.compare, each),
        ]
        for ask in asks:
            with pytest.raises(NeuronExplainerError):
                ask()


def test_what_cannot_attend_is_not_set(why: Attribution) -> None:
    with pytest.raises(InvalidRequestError, match="token 2 cannot attend to the later token 4"):
        why.ablate("L1H0@2<-4", value=0.5)
    with pytest.raises(MisconfiguredError, match=r"^model must be a model"):
        attribute("tiny", PROMPT)  # type: ignore[arg-type]
