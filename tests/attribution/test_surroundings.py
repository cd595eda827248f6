"""Threads, interrupts, modes of autograd, numbers of 16 bits, and weights on disk."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from benchmarks.small_models import number_tokenizer
from helpers.derived_scalars import DISTRACTOR, EACH_STRUCTURE, PROMPT, TARGET, context
from helpers.tiny_models import hf_model
from neuron_explainer.attribution import Attribution, attribute


def numbers(why: Attribution) -> list[float]:
    table = why.nodes(20)
    return [why.value, *table["total_effect"], *table["direct_effect"], *why.parts()["direct_effect"]]


def asked(job: int) -> list[float]:
    """A question, an ablation, a trace or a verification, in turn."""
    why = attribute(context("gpt2"), [*PROMPT, job], TARGET + job, DISTRACTOR)
    match job % 4:
        case 1:
            why = why.ablate(f"L1N{job}", "L0H1")
        case 2:
            why = why.trace("L2H1@5<-3", through="q")
        case 3:
            return why.verify(4)["measured"].tolist()
    return numbers(why)


def test_two_threads_get_what_one_gets() -> None:
    jobs = list(range(8))
    expected = [asked(job) for job in jobs]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(asked, jobs)) == expected


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_an_interrupt_within_leaves_nothing_on_the_model(stop_at: int) -> None:
    model = context("gpt2").get_or_create_model()
    plain = model(torch.tensor([PROMPT]))
    n_calls = 0

    def metric(logits: Tensor) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        if n_calls == stop_at:
            raise KeyboardInterrupt
        return logits[-1, 7] - logits[-1, 11]

    with pytest.raises(KeyboardInterrupt):
        attribute(context("gpt2"), PROMPT, metric=metric).ablate("L1H0").verify(5)
    assert not model.active_interventions
    assert torch.is_grad_enabled()
    assert torch.equal(model(torch.tensor([PROMPT])), plain)
    n_calls = 100
    again = attribute(context("gpt2"), PROMPT, metric=metric)
    assert again.value == pytest.approx(attribute(context("gpt2"), PROMPT, 7, 11).value, rel=1e-12)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_in_every_mode_of_autograd(mode: Callable[[], Any]) -> None:
    why = attribute(context("llama"), PROMPT, TARGET, DISTRACTOR)
    expected = [
        numbers(why),
        numbers(why.ablate("L1H0")),
        numbers(why.trace("L2N3")),
        why.verify(4)["measured"].tolist(),
    ]
    direct = why.verify(4, "direct")["measured"].tolist()
    with mode():
        within = attribute(context("llama"), PROMPT, TARGET, DISTRACTOR)
        assert numbers(within) == expected[0]
        assert numbers(within.ablate("L1H0")) == expected[1]
        assert numbers(within.trace("L2N3")) == expected[2]
        assert within.verify(4)["measured"].tolist() == expected[3]
        assert within.verify(4, "direct")["measured"].tolist() == direct
        assert within.compare([1, 2, 3, 4, 5, 6]).difference != 0
        assert len(attribute(context("llama"), [PROMPT, [1, 2]], TARGET)) == 2
    assert numbers(within) == expected[0]  # tables that are made outside of it


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_numbers_of_sixteen_bits_are_summed_in_float32(family: str) -> None:
    """What rounding leaves over is shown, and is small: hundredths of the largest part, or thousandths."""
    exact = attribute(context(family, torch.float32), PROMPT, TARGET, DISTRACTOR)
    for dtype, allowed in ((torch.bfloat16, 0.03), (torch.float16, 0.006)):
        why = attribute(context(family, dtype), PROMPT, TARGET, DISTRACTOR)
        parts = why.parts()["direct_effect"]
        largest = float(parts.abs().max())
        assert why.value - float(parts.sum()) == pytest.approx(why.residue, abs=1e-6)
        assert 0 < abs(why.residue) <= allowed * largest
        assert f"residue {why.residue:.1e}" in repr(why)
        for effects in why.effects:
            assert effects.directions.dtype == torch.float32
            assert all(each.by_pair.dtype == torch.float32 for each in effects.attention.values())
        assert why.value == pytest.approx(exact.value, abs=0.2 * max(1.0, largest))
        table = why.verify(2, "direct")
        assert (table["estimate"] - table["measured"]).abs().max() <= allowed * largest


def test_weights_on_disk(tmp_path: Path) -> None:
    hf_model("llama").save_pretrained(tmp_path, max_shard_size="40KB")
    in_memory = ne.load_model(tmp_path, device="cpu", tokenizer=number_tokenizer())
    on_disk = ne.load_model(tmp_path, device="cpu", tokenizer=number_tokenizer(), offload="disk")
    assert on_disk.get_or_create_model().is_offloaded
    expected, why = (attribute(model, PROMPT, TARGET, DISTRACTOR) for model in (in_memory, on_disk))
    assert numbers(why) == numbers(expected)
    assert numbers(why.ablate("L1H0", value=[1, 2, 3, 4, 5, 6])) == numbers(
        expected.ablate("L1H0", value=[1, 2, 3, 4, 5, 6])
    )
    for through in ("q", "v"):
        assert numbers(why.trace("L2H1@5<-3", through=through)) == numbers(expected.trace("L2H1@5<-3", through=through))
    assert numbers(why.trace("L2N3@5")) == numbers(expected.trace("L2N3@5"))
    for kind in ("total", "direct"):
        assert why.verify(4, kind)["measured"].tolist() == expected.verify(4, kind)["measured"].tolist()
    assert attribute(on_disk, [PROMPT, [3, 4]], TARGET).values == attribute(in_memory, [PROMPT, [3, 4]], TARGET).values
