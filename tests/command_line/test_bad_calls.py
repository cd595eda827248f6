"""Bad calls of every subcommand: one line on standard error, the right exit status, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.paths import REPOSITORY
from neuron_explainer.command_line.main import app

GOOD = "In the beginning God created the heaven and the earth.\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that bad calls name; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.txt").write_text(GOOD)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "half.jsonl").write_text('{"text": tru')
    (tmp_path / "nan.jsonl").write_text("NaN\n")
    (tmp_path / "number.jsonl").write_text('{"text": 3}\n')
    (tmp_path / "field.jsonl").write_text('{"body": "x"}\n')
    (tmp_path / "list.jsonl").write_text("[" * 100_000 + "\n")
    (tmp_path / "bad.txt.gz").write_bytes(b"not gzip")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    (tmp_path / "a_file").write_text("x")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for name, text in (("cut", '{"model"'), ("other", "[1]"), ("nan", '{"n_layers": NaN}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset.json").write_text(text)
    (tmp_path / "json" / "0").mkdir(parents=True)
    (tmp_path / "json" / "0" / "0.json").write_text("{}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": "three"}))
    return tmp_path


COLLATE = ["collate", "--model", "tiny", "--device", "cpu", "--texts", "good.txt", "--out", "made", "--quiet"]

BAD_CALLS = [
    *(
        [*COLLATE, *more.split()]
        for more in (
            "--model no-such-model",
            "--model model",
            "--model bad.gguf",
            "--model nothing",
            "--model a_file",
            "--texts missing.txt",
            "--texts empty.txt --texts missing.jsonl",
            "--texts latin.txt",
            "--texts notes.md",
            "--texts half.jsonl",
            "--texts nan.jsonl",
            "--texts number.jsonl",
            "--texts field.jsonl",
            "--texts list.jsonl",
            "--texts bad.txt.gz",
            "--texts bad.parquet",
            "--texts nothing",
            "--out http://host/folder",
            "--out s3://bucket/folder",
            "--out a_file",
            "--out a_file/below",
            "--out mine",
            "--out cut",
            "--out /proc/none/made",
            "--dst mlp_pst_act",
            "--dst mlp_write",
            "--layers 9",
            "--layers -1",
            "--layers one",
            "--layers 1,1",
            "--device gpu",
            "--device cuda:99",
            "--dtype float12",
            "--dtype int8",
            "--layout yaml",
            "--engine rye",
            "--activation-dtype float64",
            "--top-k 0",
            "--top-k three",
            "--context-length 0",
            "--context-length 99999999",
            "--context-length 1 --prepend-bos",
            "--stride 1000",
            "--quantiles 1",
            "--histogram-bins 1",
            "--seed -1",
            "--seed 99999999999",
            "--max-tokens 0",
            "--max-tokens nan",
            "--save-every-seconds -1",
            "--save-every-seconds nan",
            "--n-workers 0",
            "--registered-as gpt2-small",
            "--topk 3",
            "--top-k 1000000000000",
            "--random-k 9223372036854775807",
            "--quantiles 5000 --examples-per-quantile 1000",
            "--histogram-bins 99999999999999999999",
            "--out cache:../below",
            "--out cache:/tmp",
            "--out cache:.",
            "--out /",
            "extra",
        )
    ),
    ["collate"],
    [*COLLATE, "--texts", ""],
    [*COLLATE, "--out", "a\0b"],
    [*COLLATE, "--corpus-name", "\udcff"],
    [*COLLATE, "--registered-as", "\udcff"],
    [*COLLATE, "--model", "a" * 5000],
    [*COLLATE, "--model", "~no-such-user/model"],
    ["collate", "--model", "tiny", "--texts", "empty.txt", "--out", "made", "--quiet", "--device", "cpu"],
    ["verify"],
    ["verify", "missing"],
    ["verify", "nothing"],
    ["verify", "a_file"],
    ["verify", "cut"],
    ["verify", "other"],
    ["verify", "nan"],
    ["verify", "json"],
    ["verify", "tiny", "-n", "0"],
    ["verify", "tiny", "--dst", "mlp_pre_act"],
    ["verify", "tiny", "--model", "no-such-model"],
    ["verify", "tiny", "--seed", "-1"],
    ["verify", "http://127.0.0.1:9/none"],
    ["convert", "tiny"],
    ["convert", "missing", "x"],
    ["convert", "nothing", "x"],
    ["convert", "json", "x", "--dst", "mlp_post_act", "--model", "m"],
    ["convert", "cut", "x"],
    ["convert", "other", "x"],
    ["convert", "tiny", "http://host/x"],
    ["convert", "tiny", "mine"],
    ["convert", "tiny", "a_file"],
    ["convert", "tiny", "a_file/below"],
    ["convert", "tiny", "x", "--layout", "packed"],
    ["convert", "tiny", "x", "--activation-dtype", "float8"],
    ["datasets", "--jsonn"],
    ["cache", "extra"],
    ["colate"],
    ["--no-such-option"],
]


@pytest.mark.parametrize("call", BAD_CALLS, ids=" ".join)
def test_a_bad_call_is_one_line(call: list[str], place: Path) -> None:
    before = {file for file in place.rglob("*") if ".collating" not in str(file)}
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("neuron-explainer")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "--traceback" not in result.stderr, result.stderr  # a line of the library's own
    assert {file for file in place.rglob("*") if ".collating" not in str(file)} == before


def test_an_unforeseen_error_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuron_explainer.activation_server.neuron_datasets.datasets", lambda: 1 / 0)
    result = CliRunner().invoke(app, ["datasets"])
    assert (result.exit_code, result.stdout) == (2, "")
    expected = "neuron-explainer: ZeroDivisionError: division by zero (the option --traceback shows where)\n"
    assert result.stderr == expected
    shown = CliRunner().invoke(app, ["--traceback", "datasets"])
    assert isinstance(shown.exception, ZeroDivisionError)


def test_an_interrupt_and_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neuron_explainer.activation_server.neuron_datasets.datasets", interrupted)
    result = CliRunner().invoke(app, ["datasets"])
    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")
    reading, writing = os.pipe()
    os.close(reading)
    closed = subprocess.run(
        [sys.executable, "-m", "neuron_explainer", "datasets"], stdout=writing, stderr=subprocess.PIPE, cwd=REPOSITORY
    )
    os.close(writing)
    assert closed.stderr == b""
    assert closed.returncode != 0


@pytest.mark.parametrize("call", ["datasets", "--help", "--version"])
def test_output_that_cannot_be_written(call: str) -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "neuron_explainer", call], stdout=full, stderr=subprocess.PIPE, cwd=REPOSITORY
        )
    assert run.stderr.startswith(b"neuron-explainer: [Errno 28]")
    assert (run.returncode, run.stderr.count(b"\n")) == (2, 1)
