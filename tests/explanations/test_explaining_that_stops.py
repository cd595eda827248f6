"""`ne.explain_dataset` that is killed, interrupted or stopped goes on, whatever ends first; one call at a time."""

import subprocess
import sys
import threading
import time

import pytest

import neuron_explainer as ne
from helpers.explaining import NODES, FrequentTokenExplainer, LengthScorer, SimulatedScorer, explained, files_of
from helpers.paths import REPOSITORY
from neuron_explainer.errors import (
    DatasetExistsError,
)
from neuron_explainer.explanations.many.journal import OutcomeJournal
from neuron_explainer.models.watching import watched_passes


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_killed_call_goes_on(n_threads, whole, tmp_path):
    out = tmp_path / "out"
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
import neuron_explainer as ne
from helpers.explaining import FrequentTokenExplainer, LengthScorer, SimulatedScorer
from neuron_explainer.explanations.many import journal

added = journal.OutcomeJournal.add
def add(self, outcome):
    added(self, outcome)
    print(outcome.component, flush=True)
    if len(self.outcomes()) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
journal.OutcomeJournal.add = add
judges = [SimulatedScorer(), LengthScorer()]
ne.explain_dataset("tiny", {NODES!r}, FrequentTokenExplainer(), judges, {str(out)!r}, baselines=False,
    max_concurrent={n_threads})
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    done = killed.stdout.split()
    assert len(done) == 3
    with open(out / "explained.jsonl", "ab") as file:
        file.write(b'{"component":"L3N8","layer":3,"ind')  # as a kill in the midst of a line leaves it
    asked: list[str] = []
    result = explained(out, explainer=FrequentTokenExplainer(before=asked.append))
    assert sorted(asked) == sorted(set(NODES) - set(done))
    assert result.n_new == 3
    assert files_of(out) == files_of(whole)


def test_the_order_in_which_components_end_does_not_matter(whole, tmp_path):
    def wait(name: str) -> None:
        time.sleep(0.02 * (len(NODES) - NODES.index(name)))

    result = explained(tmp_path / "out", explainer=FrequentTokenExplainer(before=wait), max_concurrent=6)
    ours, theirs = files_of(result.path), files_of(whole)
    assert {name: ours[name] for name in ours if name != "explaining.json"} == {
        name: theirs[name] for name in theirs if name != "explaining.json"
    }


def test_several_components_are_worked_on_at_once(tmp_path):
    together = threading.Barrier(3, timeout=20)
    explainer = FrequentTokenExplainer(before=lambda name: together.wait())
    assert explained(tmp_path / "out", NODES[:3], explainer=explainer, scorers=[], max_concurrent=3).failed == ()


def test_further_nodes_are_added(tmp_path, whole):
    out = tmp_path / "out"
    explained(out, NODES[3:])
    asked: list[str] = []
    result = explained(out, NODES, explainer=FrequentTokenExplainer(before=asked.append))
    assert sorted(asked) == NODES[:3]
    assert files_of(result.path) == files_of(whole)
    assert explained(out, NODES[:2]).to_dataframe()["component"].tolist() == NODES[:2]


def test_a_damaged_or_missing_file_is_made_again(whole, tmp_path):
    out = explained(tmp_path / "out").path
    (out / "explanations" / "0" / "3.jsonl").write_bytes(b"")  # as a power cut leaves it
    (out / "explanations" / "2" / "5.jsonl").unlink()
    assert explained(out).n_new == 2
    assert files_of(out) == files_of(whole)


def test_an_interrupt_keeps_what_is_done(whole, tmp_path):
    out = tmp_path / "out"

    class Interrupting(LengthScorer):
        def score(self, explanation, subject):
            if subject.name == NODES[2]:
                raise KeyboardInterrupt
            return super().score(explanation, subject)

    Interrupting.__name__ = "LengthScorer"
    with pytest.raises(ne.errors.CollateStopped, match="make the same call again"):
        explained(out, scorers=[SimulatedScorer(), Interrupting()], max_concurrent=1)
    assert len(OutcomeJournal(out / "explained.jsonl").outcomes()) == 2
    explained(out)
    assert files_of(out) == files_of(whole)


def test_watched_work_is_stopped(tmp_path):
    stop = threading.Event()
    explainer = FrequentTokenExplainer(before=lambda name: stop.set())
    with watched_passes(stop=stop), pytest.raises(ne.errors.StoppedError):
        explained(tmp_path / "out", explainer=explainer, max_concurrent=1)


def test_two_calls_in_one_folder(tmp_path):
    out, said = tmp_path / "out", []

    def before(name: str) -> None:
        with pytest.raises(DatasetExistsError, match="at this moment") as refused:
            explained(out, NODES[:1])
        said.append(str(refused.value))

    explained(out, NODES[:1], explainer=FrequentTokenExplainer(before=before))
    assert len(said) == 1
    assert not (out / "run.lock").exists()
