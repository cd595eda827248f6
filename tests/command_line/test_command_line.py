"""The command `neuron-explainer`: its subcommands, its help, and how it says what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import neuron_explainer as ne
from helpers.neuron_records import neuron_record
from helpers.paths import REPOSITORY
from neuron_explainer.collation.settings import CollateSettings, SettingsChanges
from neuron_explainer.command_line.folders import dataset_folder
from neuron_explainer.command_line.main import app
from neuron_explainer.wording import in_units

GENESIS = "In the beginning God created the heaven and the earth.\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_line(result: Result, *named: str) -> None:
    """One line on standard error, exit status 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("neuron-explainer")
    assert result.stderr.count("\n") == 1
    assert all(each in result.stderr for each in named), result.stderr


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text(GENESIS * 3)
    return path


@pytest.fixture
def small(texts: Path, tmp_path: Path) -> list[object]:
    """A run of a second."""
    return [
        *("collate", "--model", "tiny", "--device", "cpu", "--texts", texts, "--out", tmp_path / "made", "--quiet"),
        *("--layers", "0,2", "--top-k", 3, "--context-length", 16, "--max-tokens", 40),
    ]


def test_collate_makes_a_dataset_and_names_other_settings(small: list[object], tmp_path: Path) -> None:
    result = run(*small)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'made'}\n"
    record = ne.load_neuron(tmp_path / "made", 2, 100)
    assert 0 < len(record.most_positive_activation_records) <= 3
    assert_one_line(run(*small, "--seed", 1), "settings.seed (there 0, asked 1)")


def test_collate_with_weights_on_disk_makes_the_same_dataset(small: list[object], tmp_path: Path) -> None:
    run(*small)
    result = run(*small, "--offload", "disk", "--out", tmp_path / "other", "--registered-as", "made on disk")
    assert result.exit_code == 0, result.output
    assert ne.load_neuron(tmp_path / "other", 2, 100) == ne.load_neuron(tmp_path / "made", 2, 100)


def test_collate_takes_several_texts_and_layers(small: list[object], tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(json.dumps({"body": "It is a truth universally acknowledged."}) + "\n")
    out = tmp_path / "other"
    result = run(
        *(*small, "--texts", tmp_path / "more.jsonl", "--text-field", "body", "--layers", 1),
        *("--max-tokens", 400, "--out", out),
    )
    assert result.exit_code == 0, result.output
    info = json.loads((out / "dataset.json").read_text())
    assert info["layer_indices"] == [0, 1, 2]
    assert info["provenance"]["corpus"]["n_texts"] == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dst", "mlp_pst_act"], ["'mlp_pst_act'", "mlp_post_act"]),
        (["--dst", "mlp_write"], ["mlp_write cannot be collated"]),
        (["--model", "no-such-model"], ["no-such-model"]),
        (["--layers", "9"], ["mlp_post_act has no layer 9"]),
        (["--dtype", "float12"], ["float12", "float16"]),
        (["--device", "gpu"], ["'gpu'"]),
        (["--quantiles", "1"], ["quantiles is 1"]),
    ],
)
def test_values_that_the_library_refuses(arguments: list[str], named: list[str], small: list[object]) -> None:
    assert_one_line(run(*small, *arguments), *named)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--top-k", "0"], ["--top-k"]),
        (["--top-k", "three"], ["--top-k"]),
        (["--layers", "one"], ["--layers", "'one'"]),
        (["--texts", "missing.txt"], ["missing.txt: the file does not exist"]),
        (["--layout", "yaml"], ["'yaml'", "packed", "json"]),
        (["--engine", "rye"], ["'rye'", "ray"]),
        (["--offload", "disc"], ["'disc'", "disk"]),
        (["--activation-dtype", "float64"], ["'float64'", "float32"]),
        (["--topk", "3"], ["--topk"]),
        (["extra"], ["extra"]),
    ],
)
def test_arguments_that_are_malformed(arguments: list[str], named: list[str], small: list[object]) -> None:
    assert_one_line(run(*small, *arguments), *named)


def test_texts_that_cannot_be_read(small: list[object], tmp_path: Path) -> None:
    small += ["--max-tokens", 1000]
    (tmp_path / "bad.jsonl").write_text('{"text": tru')
    assert_one_line(run(*small, "--texts", tmp_path / "bad.jsonl"), "bad.jsonl, line 1: it is not valid JSON")
    (tmp_path / "notes.md").write_text("x")
    assert_one_line(run(*small, "--texts", tmp_path / "notes.md"), "notes.md is not a text file")


def test_the_nearest_command_is_named() -> None:
    result = run("colate")
    assert_one_line(result, "Unknown command 'colate'. Choose one of: collate,")


def test_help_shows_every_setting_with_its_default() -> None:
    shown = " ".join(run("collate", "--help").stdout.split())
    for name in SettingsChanges.__annotations__:
        assert f"--{name.replace('_', '-')}" in shown
    assert f"[default: {CollateSettings.context_length}]" in shown
    assert "[default: mlp_post_act]" in shown


@pytest.mark.parametrize("arguments", [["--help"], ["collate", "--help"], ["cache"], ["datasets"], ["--version"]])
def test_light_commands_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom neuron_explainer.command_line.main import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert finished.returncode == 0, finished.stderr


def test_module_and_version() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "neuron_explainer", "--version"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert (finished.returncode, finished.stdout) == (0, f"neuron-explainer {ne.__version__}\n")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_run_is_saved_and_goes_on(ending: signal.Signals, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text(GENESIS * 20_000)
    command = [
        *(sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"),
        *("collate", "--model", "tiny", "--device", "cpu", "--texts", str(texts), "--out", str(tmp_path / "made")),
        *("--layers", "0", "--save-every-seconds", "0", "--quiet", "--batch-tokens", "512"),
    ]
    command[2] += "from neuron_explainer.command_line.main import main; main()"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    state = tmp_path / "made.collating" / "checkpoint.safetensors"
    for _ in range(600):
        if state.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    os.kill(process.pid, ending)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said == "Stopped. The work is saved: run the same command again to go on.\n"
    assert state.is_file()


def test_site(tmp_path: Path) -> None:
    result = run("site", "tiny", tmp_path / "s", "--node", "L1N3", "--node", "L2N4", "--title", "Two")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 's' / 'index.html'}\n")
    assert "<h1>Two</h1>" in (tmp_path / "s" / "index.html").read_text()
    again = run("site", "tiny", tmp_path / "s", "--layer", "1", "--node", "L1N3")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr or "overwrite=True" in again.stderr


def test_verify_and_convert(small: list[object], tmp_path: Path) -> None:
    run(*small)
    made = tmp_path / "made"
    result = run("verify", made, "--records", 3)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("3 records")
    as_json, back = tmp_path / "json", tmp_path / "back"
    assert run("convert", made, as_json).stdout == f"{as_json}\n"
    assert run("convert", as_json, back, "--short-name", "again").stdout == f"{back}\n"
    assert ne.load_neuron(back, 2, 100) == ne.load_neuron(made, 2, 100) == ne.load_neuron(as_json, 2, 100)
    assert_one_line(run("convert", made, back), "exists")
    assert_one_line(run("convert", made, tmp_path / "x", "--layout", "packed"), "already has the packed layout")
    assert_one_line(run("verify", as_json), "dataset.json not found")
    assert_one_line(run("verify", tmp_path / "missing"), "Unknown folder or neuron dataset")
    assert_one_line(run("convert", tmp_path / "missing", tmp_path / "x"), "Unknown folder or neuron dataset")


def test_verify_and_convert_by_registered_name(tmp_path: Path) -> None:
    result = run("verify", "tiny", "--records", 2, "--dst", "attn_write_norm")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 records")
    result = run("convert", "tiny", tmp_path / "json", "--dst", "attn_write_norm")
    assert result.stdout == f"{tmp_path / 'json'}\n"
    assert_one_line(run("verify", "tinny"), "Choose one of: tiny,")
    assert_one_line(run("verify", "tiny", "--dst", "mlp_pre_act"), "tiny has no mlp_pre_act")


def test_files_of_unknown_origin_need_their_names(tmp_path: Path) -> None:
    for neuron in range(2):
        ne.save_neuron(tmp_path / "json", neuron_record(0, neuron))
    assert_one_line(run("convert", tmp_path / "json", tmp_path / "packed"), "dst=", "model=")
    result = run("convert", tmp_path / "json", tmp_path / "packed", "--dst", "mlp_post_act", "--model", "gpt2-small")
    assert result.exit_code == 0, result.output


def test_datasets() -> None:
    assert "gpt2-small" in run("datasets").stdout
    listed = json.loads(run("datasets", "--json").stdout)
    assert {"tiny", "gpt2-small"} <= {entry["short_name"] for entry in listed}
    assert len(listed) == len(ne.datasets())


def test_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path))
    body = tmp_path / "v1" / "bodies" / "aa" / "body"
    body.parent.mkdir(parents=True)
    body.write_bytes(bytes(1500))
    mine = dataset_folder("cache:mine")
    assert mine == tmp_path / "datasets" / "mine"
    mine.mkdir(parents=True)
    (mine / "dataset.json").write_text("{}")
    shown = run("cache").stdout
    assert str(tmp_path) in shown
    assert "1.5 kB" in shown
    assert "2 bytes" in shown
    refused = CliRunner().invoke(app, ["cache", "--clear"], input="n\n")
    assert refused.exit_code == 1
    assert body.exists()
    assert "Removed 1.5 kB." in run("cache", "--clear", "--yes").stdout
    assert not body.exists()
    assert (mine / "dataset.json").exists()


def test_cache_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off")
    assert "off" in run("cache").stdout
    assert dataset_folder("some/folder") == Path("some/folder")
    assert_one_line(run("verify", "cache:mine"), "Name a folder")


def test_bytes_in_units() -> None:
    assert [in_units(n) for n in (0, 999, 1000, 1_234_567, 5_000_000_000_000)] == [
        *("0 bytes", "999 bytes", "1.0 kB", "1.2 MB", "5,000.0 GB")
    ]
