"""Jacobian lenses: against differentiation one number at a time, shards, stopping, and files from anywhere."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, small_context
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    MalformedCheckpointError,
    MisconfiguredError,
    MissingFileError,
    NonFiniteTensorError,
    PromptError,
    UnknownNameError,
    UnsupportedCheckpointError,
)
from neuron_explainer.experiments.lenses.jacobian import fit_state, fitting
from neuron_explainer.experiments.lenses.jacobian.one_prompt import jacobians_of_prompt
from neuron_explainer.experiments.lenses.kinds import EMBEDDED_LENS

PROMPT = [5, 17, 3, 44, 9, 31, 20]
TEXTS = [[(7 * text + 3 * place) % 61 for place in range(6 + text)] for text in range(4)]


def brute_force(
    model: ne.ModelContext, token_ids: list[int], layer: int, target: int, positions: range, dimensions: list[int]
) -> torch.Tensor:
    """Rows of the Jacobian: every target position and dimension differentiated alone, and source positions summed."""
    transformer = model.get_or_create_model()
    places = [("resid_post_mlp", layer), ("resid_post_mlp", target)]
    with transformer.record(places, gradients=True) as recording:
        transformer(torch.tensor([token_ids]), logits_at=None)
        source, end = recording[places[0]], recording[places[1]]
        rows = torch.zeros(len(dimensions), model.get_or_create_model().config.d_model, dtype=torch.float64)
        for number, dimension in enumerate(dimensions):
            for later in positions:
                (gradient,) = torch.autograd.grad(end[0, later, dimension], source, retain_graph=True)
                assert not gradient[0, later + 1 :].any()
                for earlier in positions:
                    rows[number] += gradient[0, earlier].double() / len(positions)
    return rows.float()


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_one_prompts_jacobian_is_that_of_brute_force(name: str) -> None:
    model, positions, dimensions = small_context(name), range(3, 6), [0, 13, 31]
    found = jacobians_of_prompt(model.get_or_create_model(), PROMPT, [0, 1, 2], 2, positions, dim_batch=5)
    for layer in (0, 1):
        expected = brute_force(model, PROMPT, layer, 2, positions, dimensions)
        torch.testing.assert_close(found[layer][dimensions], expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(found[2], torch.eye(32))


def test_the_embedded_models_lens_is_that_of_brute_force(tmp_path: Path) -> None:
    model = ne.load_model("tiny", device="cpu")
    text = "And it came to pass in those days, that there went out a decree from Caesar Augustus, that all the world"
    token_ids = model.encode(text)[:21]
    lens = ne.fit_jacobian_lens(model, [text], tmp_path / "lens.safetensors", max_tokens=21, dim_batch=32)
    assert (lens.layers, lens.n_prompts, lens.target_layer) == ((0, 1, 2), 1, None)
    for layer in lens.layers:
        dimensions = [layer, 64, 127]
        expected = brute_force(model, token_ids, layer, 3, range(16, 20), dimensions)
        torch.testing.assert_close(lens.matrices[layer][dimensions], expected, atol=1e-5, rtol=1e-5)


def test_a_lens_reads_what_its_matrix_makes_of_a_layer(tmp_path: Path) -> None:
    for name in ("gemma2", "granite", "gpt2"):
        model = small_context(name)
        transformer = model.get_or_create_model()
        generator = torch.Generator().manual_seed(2)
        lens = ne.JacobianLens({layer: torch.randn(32, 32, generator=generator) for layer in (0, 1)}, 3)
        reading = ne.lens(model, PROMPT, kind=lens, tokens=list(range(61)))
        with transformer.record(["resid_post_mlp"]) as recording:
            own = transformer(torch.tensor([PROMPT]))[0]
        for layer in (0, 1):
            moved = torch.stack([lens.matrices[layer] @ resid for resid in recording["resid_post_mlp", layer][0]])
            expected = transformer.unembed(transformer.final_norm(moved))
            torch.testing.assert_close(reading.read.asked_logits[layer, 0], expected, atol=2e-5, rtol=1e-5)
        assert reading.layers == (0, 1, 2)
        assert torch.equal(reading.read.asked_logits[2, 0], own)
        vector = ne.lens_of_vector(model, recording["resid_post_mlp", 1][0, 4], kind=lens, layer=1, top=1)
        assert vector.token_id.item() == reading.to_dataframe().query("layer == 1 and position == 4").token_id.iloc[0]
        lens.save(tmp_path / f"{name}.safetensors")
        again = ne.lens(model, PROMPT, kind=tmp_path / f"{name}.safetensors", tokens=list(range(61)))
        assert torch.equal(again.read.asked_logits, reading.read.asked_logits)


def _fit(model: ne.ModelContext, texts: Any, out: Path, **options: Any) -> ne.JacobianLens:
    return ne.fit_jacobian_lens(model, texts, out, skip_first=2, dim_batch=16, progress=False, **options)


def test_shards_merged_are_one_fit(tmp_path: Path) -> None:
    model = small_context("llama")
    whole = _fit(model, TEXTS, tmp_path / "whole.safetensors")
    _fit(model, TEXTS[:1], tmp_path / "one.safetensors")
    _fit(model, TEXTS[1:], tmp_path / "three.safetensors")
    merged = ne.merge_jacobian_lenses(
        [tmp_path / "one.safetensors", ne.load_jacobian_lens(tmp_path / "three.safetensors")], tmp_path / "merged.pt"
    )
    assert (merged.n_prompts, merged.model_name, whole.n_prompts) == (4, "llama", 4)
    for layer in whole.layers:
        torch.testing.assert_close(merged.matrices[layer], whole.matrices[layer], atol=1e-6, rtol=1e-6)
        rounded = ne.load_jacobian_lens(tmp_path / "merged.pt").matrices[layer]
        assert torch.equal(rounded, merged.matrices[layer].half().float())
        by_hand = torch.stack([
            jacobians_of_prompt(model.get_or_create_model(), text, [layer], 2, range(2, len(text) - 1), 32)[layer]
            for text in TEXTS
        ]).mean(0)  # fmt: skip
        torch.testing.assert_close(whole.matrices[layer], by_hand, atol=1e-6, rtol=1e-6)


def test_what_does_not_go_together_is_not_merged() -> None:
    one = ne.JacobianLens({0: torch.eye(4)}, 2)
    for other in (
        ne.JacobianLens({1: torch.eye(4)}, 2),
        ne.JacobianLens({0: torch.eye(5)}, 2),
        ne.JacobianLens({0: torch.eye(4)}, 2, target_layer=3),
    ):
        with pytest.raises(MisconfiguredError, match="Lens 1 has"):
            ne.merge_jacobian_lenses([one, other])
    with pytest.raises(MisconfiguredError, match="different models"):
        ne.merge_jacobian_lenses([ne.JacobianLens(one.matrices, 2, None, name) for name in ("a", "b")])
    nothing: Any
    for nothing in ([], "lens.pt"):
        with pytest.raises(InvalidRequestError):
            ne.merge_jacobian_lenses(nothing)


def test_a_fit_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = small_context("gpt2"), tmp_path / "lens.safetensors"
    whole = _fit(model, TEXTS, tmp_path / "whole.safetensors")
    done: list[int] = []

    def interrupted(*arguments: Any) -> Any:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return jacobians_of_prompt(*arguments)

    monkeypatch.setattr(fitting, "jacobians_of_prompt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _fit(model, TEXTS, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lens.safetensors.state", "whole.safetensors"]
    with pytest.raises(MisconfiguredError, match="skip_first is 2 there, and 1 now"):
        ne.fit_jacobian_lens(model, TEXTS, out, skip_first=1)
    for others in (TEXTS[::-1], TEXTS[:1]):
        with pytest.raises(MisconfiguredError, match="2 prompts"):
            _fit(model, others, out)
    done.clear()
    again = _fit(model, iter(TEXTS), out)
    assert len(done) == 2  # the two that were left
    for layer in whole.layers:
        assert torch.equal(again.matrices[layer], whole.matrices[layer])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lens.safetensors", "whole.safetensors"]


KILLED = """
import sys
sys.path[:0] = {path!r}
from neuron_explainer.experiments.lenses.jacobian import fitting
from benchmarks.small_models import small_context
import neuron_explainer as ne
fitting._SECONDS_BETWEEN_SAVES = 0.0
texts = [[(7 * text + 3 * place) % 61 for place in range(8)] for text in range(100_000)]
ne.fit_jacobian_lens(small_context("gpt2"), texts, {out!r}, skip_first=2, dim_batch=16, progress=False)
"""


def test_a_fit_that_was_killed_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "lens.safetensors"
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(path=sys.path, out=str(out))])
    state, began = fit_state.state_path(out), time.monotonic()
    while not state.exists() and time.monotonic() - began < 100:
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    model = small_context("gpt2")
    texts = [[(7 * text + 3 * place) % 61 for place in range(8)] for text in range(2000)]
    settings = fitting._settings(model, None, None, 128, 2)
    n_done = fit_state.read_fit_state(out, settings).n_done
    assert 0 < n_done < 2000
    resumed = _fit(model, texts, out, n_prompts=n_done + 2)
    whole = _fit(model, texts[: n_done + 2], tmp_path / "whole.safetensors")
    assert resumed.n_prompts == n_done + 2
    for layer in whole.layers:
        assert torch.equal(resumed.matrices[layer], whole.matrices[layer])


def test_a_fit_says_how_long_it_will_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from neuron_explainer.experiments.lenses.jacobian import fit_time

    monkeypatch.setattr(fit_time, "_LEAST_SAID", 0.0)
    ne.fit_jacobian_lens(small_context("gpt2"), TEXTS, tmp_path / "a.pt", skip_first=2, dim_batch=8, progress=True)
    said = capsys.readouterr()
    assert (said.out + said.err).count("Fitting on 4 prompts of this length will take about") == 1
    ne.fit_jacobian_lens(small_context("gpt2"), TEXTS, tmp_path / "b.pt", skip_first=2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_layers_and_targets_are_chosen(tmp_path: Path) -> None:
    model = small_context("llama")
    lens = _fit(model, TEXTS[:1], tmp_path / "lens.pt", layers=0, target_layer=1)
    expected = brute_force(model, TEXTS[0], 0, 1, range(2, 5), [4])
    torch.testing.assert_close(lens.matrices[0][[4]], expected, atol=1e-5, rtol=1e-5)
    again = ne.load_jacobian_lens(tmp_path / "lens.pt")
    assert (again.layers, again.target_layer) == ((0,), 1)


@pytest.mark.parametrize(
    ("texts", "arguments", "error", "says"),
    [
        ([[1, 2, 3]], {}, PromptError, "at least 4 tokens"),
        ([[1, 2, 3, 99]], {}, PromptError, "99"),
        ("a text", {}, InvalidRequestError, "list of texts"),
        (TEXTS, {"layers": 3}, IndexOutOfRangeError, "no layer 3"),
        (TEXTS, {"target_layer": 3}, IndexOutOfRangeError, "no layer 3"),
        (TEXTS, {"layers": 2, "target_layer": 1}, InvalidRequestError, "layer 1"),
        (TEXTS, {"target_layer": 0}, InvalidRequestError, "layer 0"),
        (TEXTS, {"max_tokens": 3}, InvalidRequestError, "it must be 4"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    tmp_path: Path, texts: Any, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        _fit(small_context("llama"), texts, tmp_path / "lens.pt", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_lens_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "lens.pt").touch()
    with pytest.raises(InvalidRequestError, match="exists"):
        _fit(small_context("llama"), TEXTS, tmp_path / "lens.pt")
    with pytest.raises(InvalidRequestError, match="safetensors"):
        _fit(small_context("llama"), TEXTS, tmp_path / "lens.bin")


def test_the_public_form_is_read_and_written(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = {layer: torch.randn(6, 6, generator=generator).half() for layer in (0, 2)}
    public = {"J": matrices, "n_prompts": 12, "source_layers": [0, 2], "d_model": 6}
    torch.save(public, tmp_path / "theirs.pt")
    lens = ne.load_jacobian_lens(tmp_path / "theirs.pt")
    assert (lens.layers, lens.n_prompts, lens.d_model, lens.target_layer) == ((0, 2), 12, 6, None)
    lens.save(tmp_path / "ours.pt")
    ours = torch.load(tmp_path / "ours.pt", weights_only=True)
    assert list(ours) == list(public)
    assert (ours["n_prompts"], ours["source_layers"], ours["d_model"]) == (12, [0, 2], 6)
    for layer, matrix in matrices.items():
        assert torch.equal(ours["J"][layer], matrix)
        assert ours["J"][layer].dtype == torch.float16
        assert torch.equal(lens.matrices[layer], matrix.float())
    with pytest.raises(InvalidRequestError, match="too large for float16"):
        ne.JacobianLens({0: torch.full((2, 2), 1e5)}, 1).save(tmp_path / "large.pt")
    ne.JacobianLens({0: torch.full((2, 2), 1e5)}, 1).save(tmp_path / "large.pt", dtype="float32")
    assert ne.load_jacobian_lens(tmp_path / "large.pt").matrices[0][0, 0] == 1e5
    with pytest.raises(UnknownNameError):
        lens.save(tmp_path / "odd.pt", dtype="int8")  # type: ignore[arg-type]


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"J": _Runs(), "n_prompts": 1}, UnsupportedCheckpointError),
        ({"n_prompts": 1}, MalformedCheckpointError),
        ([1, 2], MalformedCheckpointError),
        ({"J": {}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {0: torch.eye(3)}}, MalformedCheckpointError),
        ({"J": {0: torch.eye(3)}, "n_prompts": 0}, MalformedCheckpointError),
        ({"J": {0: torch.eye(3)}, "n_prompts": True}, MalformedCheckpointError),
        ({"J": {-1: torch.eye(3)}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {"x": torch.eye(3)}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {0: torch.ones(3, 4)}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {0: torch.tensor(1.0)}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {0: torch.eye(3), 1: torch.eye(4)}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {0: torch.eye(3).int()}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {0: "a"}, "n_prompts": 1}, MalformedCheckpointError),
        ({"J": {0: torch.eye(3)}, "n_prompts": 1, "d_model": 4}, MalformedCheckpointError),
        ({"J": {0: torch.eye(3)}, "n_prompts": 1, "source_layers": [1]}, MalformedCheckpointError),
        ({"J": {0: torch.full((3, 3), torch.nan)}, "n_prompts": 1}, NonFiniteTensorError),
        ({"J": {0: torch.eye(3).to_sparse()}, "n_prompts": 1}, UnsupportedCheckpointError),
    ],
)
def test_hostile_public_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, error: type[Exception]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "lens.pt")
    with pytest.raises(error, match=r"lens\.pt"):
        ne.load_jacobian_lens("lens.pt")
    assert not Path("ran").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    ne.JacobianLens({0: torch.eye(3)}, 2, None, "a\u202eb").save(tmp_path / "lens.safetensors")
    whole = (tmp_path / "lens.safetensors").read_bytes()
    assert ne.load_jacobian_lens(tmp_path / "lens.safetensors").model_name == "a\\u202eb"
    for number, damaged in enumerate(
        (
            whole[:-4],
            whole[:5],
            b"",
            whole.replace(b"jacobian_lens", b"jacobian_lins"),
            whole.replace(b'"J.0"', b'"K.0"'),
            whole.replace(b'"n_prompts":"2"', b'"n_prompts":"-"'),
            whole.replace(b"[3,3]", b"[9,1]"),
            pickle.dumps({"J": {}}),
        )
    ):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(MalformedCheckpointError):
            ne.load_jacobian_lens(path)
    (tmp_path / "text.pt").write_bytes(b"not a lens")
    with pytest.raises((MalformedCheckpointError, UnsupportedCheckpointError)):
        ne.load_jacobian_lens(tmp_path / "text.pt")
    with pytest.raises(MissingFileError):
        ne.load_jacobian_lens(tmp_path / "none.pt")
    (tmp_path / "l.pt.state").write_bytes(whole)
    with pytest.raises(MalformedCheckpointError, match="begin anew"):
        _fit(small_context("llama"), TEXTS, tmp_path / "l.pt")


def test_the_embedded_lens_is_of_the_embedded_model() -> None:
    model = ne.load_model("tiny", device="cpu")
    lens = ne.load_jacobian_lens(EMBEDDED_LENS)
    assert (lens.layers, lens.n_prompts, lens.d_model) == ((0, 1, 2), 100, 128)
    text = "And the LORD spake unto Moses, saying, Speak unto the children of Israel, and bring them out of the land"
    token_ids = (model.encode(text) * 3)[:60]
    one = jacobians_of_prompt(model.get_or_create_model(), token_ids, lens.layers, 3, range(16, 59), 64)
    for layer, least in zip(lens.layers, (0.7, 0.8, 0.9), strict=True):
        similarity = torch.cosine_similarity(one[layer].flatten(), lens.matrices[layer].flatten(), dim=0)
        assert float(similarity) > least
    reading = ne.lens(model, text, kind="jacobian")
    assert reading.lens is not None
    assert torch.equal(reading.lens.matrices[1], lens.matrices[1])


def test_a_fit_within_inference_mode(tmp_path: Path) -> None:
    model = small_context("gpt2")
    plain = _fit(model, TEXTS, tmp_path / "plain.safetensors")
    with torch.inference_mode():
        within = _fit(model, TEXTS, tmp_path / "within.safetensors")
    for layer, matrix in plain.matrices.items():
        assert torch.equal(within.matrices[layer], matrix)
        assert not within.matrices[layer].is_inference()


def test_a_stopped_fit_goes_on_with_the_same_weights_alone(tmp_path: Path) -> None:
    model, out = small_context("gpt2"), tmp_path / "lens.safetensors"
    settings = fitting._settings(model, None, None, 128, 2)
    state = fit_state.FitState(settings)
    state.add({layer: torch.eye(32) for layer in settings.layers}, TEXTS[0])
    state.write(out)
    with pytest.raises(MisconfiguredError, match=r"weights is float32 [0-9a-f]+ there, and bfloat16"):
        _fit(small_context("gpt2", dtype=torch.bfloat16), TEXTS, out)
    with torch.no_grad():
        model.get_or_create_model().embedding.mul_(1.5)
    with pytest.raises(MisconfiguredError, match="weights is"):
        _fit(model, TEXTS, out)


def test_metadata_that_are_not_text_are_refused(tmp_path: Path) -> None:
    ne.JacobianLens({0: torch.eye(3)}, 2, None, "name").save(tmp_path / "lens.safetensors")
    content = (tmp_path / "lens.safetensors").read_bytes()
    (tmp_path / "lens.safetensors").write_bytes(content.replace(b'"name"', b'"na\xffe"'))
    with pytest.raises(MalformedCheckpointError, match="metadata"):
        ne.load_jacobian_lens(tmp_path / "lens.safetensors")
