"""Several prompts in one call give what each gives alone; means and spread; which prompts share a pass."""

from typing import Any

import numpy as np
import pandas
import pytest
import torch

import neuron_explainer as ne
from benchmarks.shapes import random_model
from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer
from helpers.derived_scalars import EACH_STRUCTURE, autoencoders, context
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.attribution.attributions import Attributions
from neuron_explainer.attribution.computing import batches
from neuron_explainer.errors import InvalidRequestError, PromptError, UnknownNameError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

PROMPTS = [[5, 17, 3, 44, 17, 20], [9, 4], [8] * 20, [33], [2, 51, 7, 8, 60, 1, 3], [1, 2, 3, 4, 5, 6]]
TARGETS: list[Any] = [7, [8, 9], 3, 4, "t5", [6]]
DISTRACTORS: list[Any] = [11, 12, [13, 14], 1, 2, 3]


def near(*answers: Attribution) -> Any:
    return pytest.approx([why.value for why in answers], rel=1e-9, abs=1e-12)


def assert_same(one: Attribution, other: Attribution, tolerance: float = 1e-9) -> None:
    """The same question with the same numbers."""
    assert one.inquiry.request == other.inquiry.request
    assert one.value == pytest.approx(other.value, rel=tolerance, abs=tolerance)
    assert one.capped_value == pytest.approx(other.capped_value, rel=tolerance, abs=tolerance)
    assert abs(one.residue) < tolerance
    assert one.store.token_ids == other.store.token_ids
    first, second = (pandas.DataFrame(why.parts()) for why in (one, other))
    pandas.testing.assert_frame_equal(first, second, rtol=tolerance, atol=tolerance)
    pandas.testing.assert_frame_equal(
        pandas.DataFrame(one.tokens()), pandas.DataFrame(other.tokens()), rtol=tolerance, atol=tolerance
    )
    for own, others in zip(one.groups[0], other.groups[0], strict=True):
        assert (own.node_type, own.layer, own.rows) == (others.node_type, others.layer, others.rows)
        for column in ("activation", "total_effect", "direct_effect"):
            left, right = own.numbers(column), others.numbers(column)
            if isinstance(left, torch.Tensor):
                torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)
                # What is kept of a batch is of the prompt alone.
                assert left.untyped_storage().nbytes() <= 2 * left.numel() * left.element_size()


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_together_as_one_after_the_other(family: str) -> None:
    several = attribute(context(family), PROMPTS, TARGETS, DISTRACTORS)
    assert isinstance(several, Attributions)
    assert len(several) == len(PROMPTS)
    for why, prompt, target, distractor in zip(several, PROMPTS, TARGETS, DISTRACTORS, strict=True):
        assert_same(why, attribute(context(family), prompt, target, distractor))


def test_autoencoders_and_ablations_and_metrics() -> None:
    options: dict[str, Any]
    for options in (
        {"autoencoders": autoencoders("llama", D.RESID_DELTA_MLP)},
        {"ablations": ne.AblationSpec(ne.ActivationIndex("mlp.post_act", 1, ("All", 3)), 0.5)},
        {"positions": -1, "metric": "log_probability"},
        {"positions": 0},
    ):
        several = attribute(context("llama"), PROMPTS, TARGETS, DISTRACTORS, **options)
        for why, *own in zip(several, PROMPTS, TARGETS, DISTRACTORS, strict=True):
            assert_same(why, attribute(context("llama"), *own, **options))
    for own_choice in (attribute(context("llama"), PROMPTS), attribute(context("llama"), PROMPTS, metric=torch.sum)):
        assert len(own_choice) == len(PROMPTS)


def test_answers_of_several_tokens_with_single_ones() -> None:
    targets = [[[7, 8, 9]], 8, 3, [[4, 4]], 5, 6]
    several = attribute(context("gpt2"), PROMPTS, targets, 11)
    for why, prompt, target in zip(several, PROMPTS, targets, strict=True):
        alone = attribute(context("gpt2"), prompt, target, 11)
        assert why.value == pytest.approx(alone.value, rel=1e-9)
        assert len(why.stores) == len(alone.stores)
        pandas.testing.assert_frame_equal(why.parts(), alone.parts(), rtol=1e-9, atol=1e-9)


def test_one_answer_for_all_or_one_for_each() -> None:
    model, two = context("gpt2"), PROMPTS[:2]
    each = attribute(model, two, [7, 8])
    assert each.values == near(attribute(model, two[0], 7), attribute(model, two[1], 8))
    for_all = attribute(model, two, 7, "t11")
    assert for_all.values == near(*(attribute(model, prompt, 7, 11) for prompt in two))
    alternatives = attribute(model, two, [[7, 8], [9]])
    assert alternatives.values == near(attribute(model, two[0], [7, 8]), attribute(model, two[1], [9]))
    for given in (np.array([7, 8]), torch.tensor([7, 8]), (7, 8), ["t7", "t8"]):
        assert attribute(model, two, given).values == each.values
    for which in ({"target": [7]}, {"target": [7, 8, 9]}, {"target": 7, "distractor": []}):
        with pytest.raises(PromptError, match=r"list of \d for 2 prompts"):
            attribute(model, two, **which)
    # A list of one prompt is a list all the same.
    assert isinstance(attribute(model, [PROMPTS[0]], 7), Attributions)
    assert isinstance(attribute(model, ["t1 t2 t3"], 7), Attributions)
    assert isinstance(attribute(model, torch.tensor([[1, 2], [3, 4]]), 7), Attributions)
    array: Any = np.array([[1, 2], [3, 4]])
    assert isinstance(attribute(model, array, 7), Attributions)


def test_a_prompt_that_is_wrong_is_named() -> None:
    with pytest.raises(PromptError):
        attribute(context("gpt2"), [[1, 2], []], 7)
    with pytest.raises(PromptError, match="61"):
        attribute(context("gpt2"), [[1, 2], [61]], 7)


def test_means_and_spread() -> None:
    several = attribute(context("gpt2"), PROMPTS, TARGETS, DISTRACTORS)
    table = several.table()
    assert table["value"].tolist() == several.values == [why.value for why in several]
    assert table["residue"].tolist() == several.residues
    assert len(table) == len(PROMPTS)
    parts = several.parts()
    for _, row in parts.iterrows():
        own = []
        for why in several:
            of_prompt = why.parts()
            same_layer = of_prompt["layer"].isna() if row["layer"] is pandas.NA else of_prompt["layer"] == row["layer"]
            own.append(float(of_prompt[(of_prompt["part"] == row["part"]) & same_layer]["direct_effect"].sum()))
        assert row["direct_effect"] == pytest.approx(np.mean(own), rel=1e-9, abs=1e-12)
        assert row["direct_effect_std"] == pytest.approx(np.std(own, ddof=1), rel=1e-9, abs=1e-12)
    assert parts["direct_effect"].sum() == pytest.approx(np.mean(several.values), rel=1e-9)
    for name, by in (("heads", "direct_effect"), ("neurons", "total_effect")):
        of_means = getattr(several, name)(5, by)
        assert len(of_means) == 5
        assert of_means[by].abs().is_monotonic_decreasing
        for _, row in of_means.iterrows():
            own = []
            for why in several:
                whole = getattr(why, name)(None)
                own.append(float(whole[whole["name"] == row["name"]][by].iloc[0]))
            assert row[by] == pytest.approx(np.mean(own), rel=1e-9, abs=1e-12)
            assert row[f"{by}_std"] == pytest.approx(np.std(own, ddof=1), rel=1e-9, abs=1e-12)
    alone = several[:1]
    assert isinstance(alone, Attributions)
    assert alone.parts()["direct_effect_std"].isna().all()
    assert alone.parts()["direct_effect"].sum() == pytest.approx(several[0].value)
    assert several[-1].value == several.values[-1]
    with pytest.raises(InvalidRequestError, match="no prompts"):
        several[:0].parts()
    with pytest.raises(UnknownNameError, match="direct_effect"):
        several.heads(3, "direct")
    with pytest.raises(InvalidRequestError, match="n"):
        several.heads(0)


def test_a_batch_ends_where_lengths_differ_or_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    model = context("gpt2").get_or_create_model()
    lengths = [6, 2, 20, 1, 7, 6, 40, 45]
    found = list(batches.batches_of(lengths, model))
    assert sorted(number for batch in found for number in batch) == list(range(len(lengths)))
    for batch in found:
        own = [lengths[number] for number in batch]
        assert max(own) <= max(1.25 * min(own), min(own) + 8)
    assert len(found) == 3
    many = list(batches.batches_of([5] * 130, model))
    assert [len(batch) for batch in many] == [64, 64, 2]
    monkeypatch.setattr(batches, "free_bytes", lambda device: 8 * batches.bytes_of_pass(model, 5) + 100)
    assert [len(batch) for batch in batches.batches_of([5] * 5, model)] == [2, 2, 1]
    monkeypatch.setattr(batches, "free_bytes", lambda device: 0)
    assert [len(batch) for batch in batches.batches_of([5] * 3, model)] == [1, 1, 1]
    several = attribute(context("gpt2"), PROMPTS, TARGETS, DISTRACTORS)
    assert several.values == pytest.approx(
        [attribute(context("gpt2"), *own).value for own in zip(PROMPTS, TARGETS, DISTRACTORS, strict=True)], rel=1e-9
    )


def test_prompts_on_both_sides_of_longropes_change() -> None:
    """A prompt of more than four tokens is rotated as a long one, and so is its every position."""
    rope = {**SMALL_CONFIGS["phi3"]["rope_parameters"], "original_max_position_embeddings": 4, "attention_factor": 1.0}
    entries = {**SMALL_CONFIGS["phi3"], "original_max_position_embeddings": 4, "rope_parameters": rope}
    model = ne.StandardModelContext("stretched", random_model(entries, "cpu", torch.float64), number_tokenizer())
    prompts = [[5, 17, 3], [5, 17, 3, 44], [5, 17, 3, 44, 17], [5, 17, 3, 44, 17, 20]]
    several = attribute(model, prompts, 7, 11)
    for why, prompt in zip(several, prompts, strict=True):
        assert_same(why, attribute(model, prompt, 7, 11))
        logits = model.get_or_create_model()(torch.tensor([prompt]))[0, -1]
        assert why.value == pytest.approx(float(logits[7] - logits[11]), rel=1e-9)
    # The answer's own tokens make the first prompt a long one.
    why = attribute(model, prompts[0], [[7, 8, 9]], 11)
    logs = model.get_or_create_model()(torch.tensor([[5, 17, 3, 7, 8]]))[0].log_softmax(-1)
    single = model.get_or_create_model()(torch.tensor([[5, 17, 3]]))[0].log_softmax(-1)
    expected = logs[2, 7] + logs[3, 8] + logs[4, 9] - single[2, 11]
    assert why.value == pytest.approx(float(expected), rel=1e-9)
    assert why.verify(3)["name"].notna().all()
