"""`python -m neuron_explainer.collation`."""

import json
from pathlib import Path

import pytest

import neuron_explainer as ne
from neuron_explainer.collation.__main__ import folder_meant, main


def test_makes_a_dataset_and_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("In the beginning God created the heaven and the earth.\n" * 3)
    (tmp_path / "more.jsonl").write_text(json.dumps({"body": "It is a truth universally acknowledged."}) + "\n")
    command = [
        *(
            "--model",
            "tiny",
            "--device",
            "cpu",
            "--texts",
            str(tmp_path / "texts.txt"),
            "--out",
            str(tmp_path / "made"),
        ),
        *("--layers", "0", "2", "--top-k", "3", "--context-length", "16", "--max-tokens", "40", "--quiet"),
    ]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "made")
    record = ne.load_neuron(tmp_path / "made", 2, 100)
    assert 0 < len(record.most_positive_activation_records) <= 3
    assert main([*command, "--seed", "1"]) == 1
    assert "settings.seed (there 0, asked 1)" in capsys.readouterr().err
    command[command.index("--texts") + 1] = str(tmp_path / "more.jsonl")
    assert main([*command[:-1], "--text-field", "body", "--out", str(tmp_path / "other")]) == 0
    assert (tmp_path / "other" / "dataset.json").is_file()


def test_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path))
    assert folder_meant("cache:mine") == tmp_path / "datasets" / "mine"
    assert folder_meant("some/folder") == Path("some/folder")
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off")
    with pytest.raises(ne.errors.InvalidRequestError, match="Name a folder"):
        folder_meant("cache:mine")
