"""The benchmarks beside other tools: what they compare, in which order they measure, how they read figures."""

import json
import sys
from pathlib import Path

import pytest
import torch

import neuron_explainer as ne
from benchmarks.dashboards import ours as dashboards
from benchmarks.dashboards import weights as dashboard_weights
from benchmarks.line_process import LineProcess
from benchmarks.peers import weights
from benchmarks.peers.ours import PLACES, Peer
from benchmarks.peers.processes import ToolProcess, largest_differences, median_of, ratio_to_ours, rounds_of
from benchmarks.peers.tool import JOBS, act_times_grad, apart, prompt_of, run

SMALL = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 32, "vocab_size": 1000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The peers' GPT-2 with fewer numbers."""
    path = tmp_path_factory.mktemp("peers") / "gpt2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "GPT2", SMALL)
        weights.write_gpt2(path, embedding_scale=20.0)
    return path


def test_a_difference_is_found_and_named() -> None:
    ours = {"patterns": torch.tensor([0.0, 2.0]), "neurons": torch.tensor([1.0, 4.0])}
    theirs = {"patterns": torch.tensor([0.0, 2.0]), "neurons": torch.tensor([1.5, 4.0])}
    assert largest_differences(ours, theirs) == (0.125, "neurons")


@pytest.mark.parametrize("theirs", [torch.zeros(3), torch.tensor([float("nan"), 1.0])])
def test_what_cannot_be_compared_is_an_error(theirs: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"shape|finite"):
        apart(torch.ones(2), theirs)


def test_what_a_tool_lacks_is_an_error() -> None:
    with pytest.raises(ValueError, match="neurons"):
        largest_differences({"neurons": torch.ones(2), "logits": torch.ones(2)}, {"logits": torch.ones(2)})


class Clocked:
    """A process whose n-th call takes the n-th of some seconds."""

    def __init__(self, name: str, seconds: list[float], calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, iter(seconds), calls

    def did(self, what: str, job: str) -> dict[str, float]:
        assert (what, job) == ("time", "plain")
        self.calls.append(self.name)
        return {"wall": next(self.seconds), "processor": 1.0}


def test_tools_take_turns_and_ratios_are_those_of_one_round() -> None:
    calls: list[str] = []
    # The first call warms up; the machine is three times slower in the second round, for both.
    processes = {"ours": Clocked("ours", [50, 1, 3, 1], calls), "theirs": Clocked("theirs", [1, 2, 6, 5], calls)}
    rounds = rounds_of(processes, "plain", repeats=3)  # type: ignore[arg-type]
    assert calls == ["theirs", "ours", "ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert ratio_to_ours(rounds, "theirs", "wall") == 2.0
    assert median_of(rounds["theirs"], "wall") == 5
    assert ratio_to_ours(rounds, "theirs", "processor") == 1.0


def test_our_numbers_have_the_compared_form(folder: Path) -> None:
    peer = Peer(folder, 8)
    numbers = {job: peer.numbers(job, run(peer, job)) for job in JOBS}
    assert {kind: tuple(tensor.shape) for kind, tensor in numbers["record"].items()} == {
        "after attention": (2, 8, 32),
        "after layers": (2, 8, 32),
        "patterns": (2, 2, 8, 8),
        "neurons": (2, 8, 128),
    }
    torch.testing.assert_close(numbers["record"]["patterns"].sum(-1), torch.ones(2, 2, 8))
    assert set(numbers["gradients"]) == {*PLACES, *(f"{kind}, gradient" for kind in PLACES)}
    # What the peers' tables are made of gives our table too.
    by_hand = act_times_grad({kind: list(tensor[:, None]) for kind, tensor in numbers["gradients"].items()})
    for kind, tensor in numbers["node table"].items():
        assert tensor.abs().max() > 0
        assert apart(tensor, by_hand[kind]) < 1e-5


def test_a_tool_in_a_process_of_its_own_gives_its_numbers_and_times(folder: Path) -> None:
    with ToolProcess("ours", folder, 8, 1) as process:
        logits = process.numbers("plain")["logits"]
        taken, memory = process.did("time", "record"), process.did("peak", "record")
    model = ne.load_model(folder, device="cpu").get_or_create_model()
    torch.testing.assert_close(logits, model(prompt_of(8))[0])
    assert taken["wall"] > 0
    assert taken["processor"] > 0
    assert 0 < memory["before"] <= memory["peak"]


def test_what_a_process_prints_is_no_answer() -> None:
    code = (
        "from benchmarks.line_process import answer_lines, own_answers\n"
        "answers = own_answers()\n"
        "print('Loading the model')\n"
        "answer_lines(lambda first, second: first + second, answers)"
    )
    with LineProcess([sys.executable, "-c", code], quiet=True) as process:
        assert process.did(1, 2) == 3
        assert json.loads(process.ask("[4, 5]")) == 9


def test_a_process_that_ends_is_an_error() -> None:
    with LineProcess([sys.executable, "-c", ""], quiet=True) as process, pytest.raises(SystemExit, match="ended"):
        process.line()


def test_our_dashboards_have_the_maxima_of_the_latents(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dashboard_weights, dashboards):
        monkeypatch.setattr(module, "N_LATENTS", 6)
        monkeypatch.setattr(module, "LAYER", 1)
    monkeypatch.setattr(dashboard_weights, "HOOK", "blocks.1.hook_resid_post")
    monkeypatch.setattr(dashboard_weights, "GPT2", SMALL)
    (tmp_path / "gpt2").symlink_to(folder)
    dashboard_weights.write_autoencoder(tmp_path / "autoencoder")
    tokens = dashboard_weights.tokens()[:20, :32]
    (tmp_path / "tokens.json").write_text(json.dumps(tokens.tolist()))
    monkeypatch.setitem(dashboards.EXAMPLES, "context_length", 32)
    side = dashboards.Side(tmp_path)
    with side.context.get_or_create_model().record(["resid_post_mlp"]) as recording:
        side.context.get_or_create_model()(tokens)
    latents = ne.load_autoencoder(tmp_path / "autoencoder")[0].encode(recording["resid_post_mlp", 1])
    expected = latents.flatten(0, 1).amax(0)
    assert (expected > 0).all()
    torch.testing.assert_close(torch.tensor(side.maxima()), expected)
