"""What a run finds in its folders: other datasets, other runs, the user's own files, damaged state."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import neuron_explainer as ne
from helpers.collation_models import model_context, random_texts
from neuron_explainer.collation.output.building import building_folder
from neuron_explainer.collation.runs.saved_state import STATE_FILE_NAME, SavedState, _checksum, load_state, save_state
from neuron_explainer.collation.runs.work_folder import held_work_folder, work_folder_of
from neuron_explainer.errors import CollateError, DatasetExistsError, InvalidRequestError, NeuronExplainerError

TEXTS = random_texts(12, seed=3)
SETTINGS: dict[str, Any] = {
    "context_length": 12,
    "top_k": 3,
    "random_k": 2,
    "quantiles": 0,
    "batch_tokens": 12,
    "layers": [1],
    "progress": False,
    "save_every_seconds": 0.0,
}


class Stopped(Exception):
    """What stops a run in these tests."""


def stopping() -> Iterator[str]:
    yield from TEXTS[:10]
    raise Stopped


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    "texts", [TEXTS[:-1], [*TEXTS, "w1"], [*TEXTS[:-1], "w1 w2"], TEXTS[::-1]], ids=["fewer", "more", "other", "order"]
)
def test_a_finished_dataset_of_other_texts_is_refused(texts: list[str], tmp_path: Path) -> None:
    context, path = model_context(), tmp_path / "out"
    ne.collate(context, TEXTS, path, **SETTINGS)
    before = contents(path)
    with pytest.raises(DatasetExistsError, match="other texts"):
        ne.collate(context, texts, path, **SETTINGS)
    assert contents(path) == before
    assert ne.collate(context, iter(TEXTS), path, **SETTINGS) == path


def test_texts_beyond_the_limit_of_tokens_make_no_other_dataset(tmp_path: Path) -> None:
    context, path = model_context(), tmp_path / "out"
    limited = SETTINGS | {"max_tokens": 40}
    ne.collate(context, TEXTS, path, **limited)
    assert ne.collate(context, [*TEXTS, "w1"], path, **limited) == path
    with pytest.raises(DatasetExistsError, match="other texts"):
        ne.collate(context, ["w3", *TEXTS], path, **limited)


def test_a_finished_dataset_of_another_model_or_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    ne.collate(model_context(), TEXTS, path, **SETTINGS)
    with pytest.raises(DatasetExistsError, match=r"model\.name"):
        ne.collate(model_context("gpt_neox"), TEXTS, path, **SETTINGS)
    with pytest.raises(DatasetExistsError, match=r"layout \(there 'packed', asked 'json'\)"):
        ne.collate(model_context(), TEXTS, path, **SETTINGS, layout="json")


def test_one_run_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with (
        held_work_folder(path),
        pytest.raises(DatasetExistsError, match=r"Another run is making .*out.* \(process \d+"),
    ):
        ne.collate(model_context(), TEXTS, path, **SETTINGS)
    assert list(tmp_path.iterdir()) == []
    assert ne.collate(model_context(), TEXTS, path, **SETTINGS).is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_work_folder_is_left_alone(overwrite: bool, tmp_path: Path) -> None:
    foreign = tmp_path / "out.collating"
    (foreign / "dataset").mkdir(parents=True)
    (foreign / "dataset" / "thesis.tex").write_text("mine")
    with pytest.raises(DatasetExistsError, match="no run of collate made it"):
        ne.collate(model_context(), TEXTS, tmp_path / "out", **SETTINGS, overwrite=overwrite)
    assert contents(foreign) == {"dataset/thesis.tex": b"mine"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["model", "no safetensors", "folder", "lock"])
def test_files_of_others_with_a_runs_names_are_left_alone(kind: str, overwrite: bool, tmp_path: Path) -> None:
    work, context = tmp_path / "out.collating", model_context()
    with pytest.raises(Stopped):
        ne.collate(context, stopping(), tmp_path / "out", **SETTINGS)
    mine = work / ("run.lock" if kind == "lock" else "checkpoint.safetensors")
    mine.unlink(missing_ok=True)
    if kind == "model":
        save_file({"weight": torch.zeros(3)}, mine, metadata={"format": "pt"})
    elif kind == "folder":
        mine.mkdir()
        (mine / "thesis.tex").write_text("mine")
    else:
        mine.write_text("mine")
    before = contents(work)
    with pytest.raises(DatasetExistsError, match=rf"{mine.name} is damaged, or no run of collate made it"):
        ne.collate(context, TEXTS, tmp_path / "out", **SETTINGS, overwrite=overwrite)
    assert contents(work) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("layout", ["packed", "json"])
def test_files_of_others_beside_a_runs_stay(layout: Any, overwrite: bool, tmp_path: Path) -> None:
    work, context, path = tmp_path / "out.collating", model_context(), tmp_path / "out"
    with pytest.raises(Stopped):
        ne.collate(context, stopping(), path, **SETTINGS, layout=layout)
    left = {
        f".checkpoint.safetensors.12-{'a1' * 4}.partial": work,
        f".packed.being-built-{'a1' * 16}/x": work,
    }  # as killed processes leave them
    mine = {"dataset/thesis.tex": work, "packed/thesis.tex": work, ".notes.partial": work, "notes.md": work}
    for name, folder in (mine | left).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"mine")
    ne.collate(context, TEXTS, path, **SETTINGS, layout=layout, overwrite=overwrite)
    assert contents(work) == dict.fromkeys(mine, b"mine")
    assert not any(content == b"mine" for content in contents(path).values())


def test_a_file_of_others_in_the_datasets_place_stays(tmp_path: Path) -> None:
    context, path = model_context(), tmp_path / "out"
    ne.collate(context, TEXTS, path, **SETTINGS)
    (path / "layer_2.safetensors").write_bytes(b"mine")
    two_layers = SETTINGS | {"layers": [1, 2], "overwrite": True}
    with pytest.raises(DatasetExistsError, match=r"layer_2\.safetensors is not of a dataset made by collate. Move it"):
        ne.collate(context, TEXTS, path, **two_layers)
    assert contents(path) == {"layer_2.safetensors": b"mine"}
    (path / "layer_2.safetensors").unlink()
    assert ne.load_neuron(ne.collate(context, iter(TEXTS), path, **two_layers | {"overwrite": False}), 2, 3)


def test_converting_removes_no_folder_of_others(tmp_path: Path) -> None:
    mine = tmp_path / "made.converting"
    mine.mkdir()
    (mine / "thesis.tex").write_text("mine")
    left = tmp_path / f".made.being-built-{'0f' * 16}"
    left.mkdir()
    made = ne.convert("tiny", tmp_path / "made", dst="attn_write_norm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "made.converting"]
    back = ne.convert(made, tmp_path / "back")
    assert ne.load_neuron(back, 1, 2).most_positive_activation_records
    assert contents(mine) == {"thesis.tex": b"mine"}


def test_one_conversion_a_folder(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with held_work_folder(made), building_folder(tmp_path, "made") as building:  # as a conversion has them
        building.mkdir()
        with pytest.raises(DatasetExistsError, match="Another run is making"):
            ne.convert("tiny", made, dst="attn_write_norm")
        assert building.is_dir()
    assert ne.convert("tiny", made, dst="attn_write_norm") == made
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("out", [".", "link", "/"])
def test_folders_that_cannot_be_replaced(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    (tmp_path / "link").symlink_to(place)
    if out == "/":
        with pytest.raises(DatasetExistsError, match="a dataset can be made in"):
            ne.collate(model_context(), TEXTS, out, **SETTINGS)
        return
    path = Path(".") if out == "." else tmp_path / out
    assert ne.collate(model_context(), TEXTS, path, **SETTINGS) == path
    assert ne.collate(model_context(), TEXTS, path, **SETTINGS) == path
    assert ne.load_neuron(place, 1, 0).random_sample
    assert {each.name for each in tmp_path.iterdir()} == {"here", "link"}


def test_a_home_folder_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ne.collate(model_context(), TEXTS, "~/mine", **SETTINGS) == tmp_path / "mine"
    assert ne.load_neuron("~/mine", 1, 0).random_sample
    assert ne.register_dataset("~/mine", "of home").neuron_dataset_path == str(tmp_path / "mine")


@pytest.mark.parametrize("layout", ["packed", "json"])
def test_overwriting_removes_only_what_a_run_wrote(layout: Any, tmp_path: Path) -> None:
    context, path = model_context(), tmp_path / "out"
    ne.collate(context, TEXTS, path, **SETTINGS, layout=layout)
    mine = {"notes.md": b"mine", "plots/a.png": b"mine", "1/notes.json": b"mine"}
    for name, content in mine.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(content)
    ne.collate(context, TEXTS[:5], path, **SETTINGS, layout="packed", overwrite=True)
    assert {name: contents(path)[name] for name in mine} == mine
    assert not (path / "1" / "0.json").exists()
    assert ne.load_neuron(path, 1, 3) == ne.load_neuron(
        ne.collate(context, TEXTS[:5], tmp_path / "other", **SETTINGS), 1, 3
    )


def test_damaged_state_is_never_taken(tmp_path: Path) -> None:
    """Whatever is changed in the file: a typed error, and never another dataset."""
    context, path = model_context(), tmp_path / "out"
    with pytest.raises(Stopped):
        ne.collate(context, stopping(), path, **SETTINGS)
    state = tmp_path / "out.collating" / "checkpoint.safetensors"
    whole = state.read_bytes()
    chance = random.Random(0)
    from neuron_explainer.collation.runs.preparation import collated_model_of, job_of
    from neuron_explainer.collation.settings import CollateSettings

    own = {name: value for name, value in SETTINGS.items() if name not in ("progress", "save_every_seconds")}
    identity = job_of(collated_model_of(context, None, None), TEXTS, CollateSettings(**own)).identity
    assert load_state(state.parent, identity) is not None
    header = 8 + int.from_bytes(whole[:8], "little")
    for number in range(200):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 3])):
            damaged[chance.randrange(header if number % 2 else len(whole))] ^= 1 << chance.randrange(8)
        if number % 5 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        state.write_bytes(damaged)
        with pytest.raises(NeuronExplainerError):
            load_state(state.parent, identity)
    with pytest.raises(CollateError, match=r"checkpoint\.safetensors is damaged"):
        ne.collate(context, TEXTS, path, **SETTINGS)
    state.write_bytes(whole)
    ne.collate(context, TEXTS, path, **SETTINGS)


SAVED_CHANGES: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "a missing tensor": lambda tensors: tensors.pop("1.top.peak"),
    "no sequences": lambda tensors: [tensors.pop(f"sequences.{name}") for name in ("number", "length", "tokens")],
    "an unknown tensor": lambda tensors: tensors.update({"x" * 5000: torch.zeros(1)}),
    "another layer": lambda tensors: tensors.update({"2.component": torch.arange(5)}),
    "another dtype": lambda tensors: tensors.update({"1.active": tensors["1.active"].float()}),
    "another shape": lambda tensors: tensors.update({"1.moments.mean": tensors["1.moments.mean"][None]}),
    "fewer components": lambda tensors: tensors.update({"1.component": tensors["1.component"][:-1]}),
    "more tokens": lambda tensors: tensors.update({"sequences.tokens": tensors["sequences.tokens"].repeat(2)}),
    "negative lengths": lambda tensors: tensors.update({"sequences.length": -tensors["sequences.length"]}),
    "other sequences": lambda tensors: tensors.update({"sequences.number": tensors["sequences.number"] + 1000}),
    "bins elsewhere": lambda tensors: tensors.update({"1.histogram.exponent": -tensors["1.histogram.exponent"]}),
    "a range of NaN": lambda tensors: tensors["1.histogram.lowest"].fill_(torch.nan),
}


def stopped_run(path: Path) -> SavedState:
    """A saved state, and the description of its run."""
    with pytest.raises(Stopped):
        ne.collate(model_context(), stopping(), path, **SETTINGS)
    saved = load_state(work_folder_of(path), identity_of_run(path))
    assert saved is not None
    return saved


def identity_of_run(path: Path) -> dict[str, Any]:
    with safe_open(work_folder_of(path) / STATE_FILE_NAME, framework="pt") as file:
        described: dict[str, Any] = json.loads(file.metadata()["collate"])["identity"]
    return described


@pytest.mark.parametrize("change", SAVED_CHANGES.values(), ids=SAVED_CHANGES)
def test_tensors_that_no_such_run_saves_are_refused(
    change: Callable[[dict[str, torch.Tensor]], object], tmp_path: Path
) -> None:
    path = tmp_path / "out"
    saved = stopped_run(path)
    change(saved.tensors)
    save_state(work_folder_of(path), identity_of_run(path), saved.resume_point, saved.tensors)
    with pytest.raises(CollateError, match="The saved state is damaged") as caught:
        ne.collate(model_context(), TEXTS, path, **SETTINGS)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "changes",
    [
        {"n_texts": "5"}, {"n_texts": -1}, {"digest": None}, {"batches_done": 1.5}, {"is_complete": 1},
        {"chunk_start": None}, {"chunk_start": {"texts": 10**18}}, {"chunk_start": {"windows": -1}},
        {"chunk_start": {"sequences": 2**64}},
    ],
    ids=str,
)  # fmt: skip
def test_a_place_where_no_run_can_be_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "out"
    saved = stopped_run(path)
    position = {**asdict(saved.resume_point), **changes}
    described = json.dumps({"identity": identity_of_run(path), "position": position})
    metadata = {"collate": described, "version": "1", "sha256": _checksum(described, saved.tensors)}
    save_file(saved.tensors, work_folder_of(path) / STATE_FILE_NAME, metadata)
    with pytest.raises(CollateError, match=r"checkpoint\.safetensors is damaged"):
        ne.collate(model_context(), TEXTS, path, **SETTINGS)


def test_no_dataset_of_a_changed_model(tmp_path: Path) -> None:
    context, path = model_context(), tmp_path / "out"
    ablated = ("mlp_post_act", 1, torch.zeros_like)
    model = context.get_or_create_model()
    with pytest.raises(InvalidRequestError, match=r"mlp\.post_act of layer 1"), model.intervene(*ablated):
        ne.collate(context, TEXTS, path, **SETTINGS)
    assert list(tmp_path.iterdir()) == []
    ne.collate(context, TEXTS, path, **SETTINGS)
    with pytest.raises(InvalidRequestError, match=r"mlp\.post_act of layer 1"), model.intervene(*ablated):
        ne.verify(path, 2, model=context)
    with model.intervene(*ablated):
        record = ne.live_record(context, 1, 3, TEXTS)
    assert record.max_activation == 0


def test_defaults_of_torch_change_no_number() -> None:
    context = model_context(dtype=torch.float32)
    expected = ne.live_record(context, 1, 3, TEXTS)
    torch.set_default_dtype(torch.float64)
    try:
        found = ne.live_record(context, 1, 3, TEXTS)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == expected


def test_collating_works_where_the_system_has_no_file_locks(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\n"  # as on Windows
        "import neuron_explainer as ne\n"
        f"made = ne.collate('tiny', ['And the LORD said'], {str(tmp_path / 'made')!r}, layers=0, quantiles=0)\n"
        "print(ne.load_neuron(made, 0, 3).neuron_id)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert run.stdout.strip() == "0:3", run.stderr
