"""What `ne.patch` takes and refuses, many pairs in one call, and what is left behind when it is stopped."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders, small_context
from neuron_explainer.errors import (
    InvalidRequestError,
    MisconfiguredError,
    MissingSettingError,
    PromptError,
    StoppedError,
    UnknownNameError,
)
from neuron_explainer.experiments.patching import patch as module_of_patch
from neuron_explainer.models.watching import watched_passes
from neuron_explainer.notices import ManyPassesWarning
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

CLEAN, CORRUPTED = [5, 9, 12, 7], [5, 9, 41, 7]
OTHERS = [6, 9, 12, 8], [6, 9, 33, 8]
LONGER = [5, 9, 12, 7, 9], [5, 9, 41, 7, 9]
ANSWERS = (11, 23)


@dataclass
class Pair:
    clean: Any
    corrupted: Any
    target: Any = 11
    distractor: Any = 23


@pytest.fixture(scope="module")
def model() -> ne.StandardModelContext:
    return small_context("gpt2")


def test_means_of_several_pairs(model: ne.ModelContext) -> None:
    singles = [ne.patch(model, *pair, ANSWERS, at="mlp") for pair in ((CLEAN, CORRUPTED), OTHERS)]
    found = ne.patch(model, [Pair(CLEAN, CORRUPTED), Pair(*OTHERS)], at="mlp")
    scores = np.stack([single.scores for single in singles])
    assert np.allclose(found.scores, scores.mean(0), atol=1e-6)
    assert found.score_std is not None
    assert np.allclose(found.score_std, np.sqrt(((scores - scores.mean(0)) ** 2).sum(0)), atol=1e-6)  # of n - 1 = 1
    assert found.clean_value == pytest.approx(np.mean([single.clean_value for single in singles]))
    frame = found.to_dataframe()
    assert frame.columns.tolist() == ["layer", "position", "name", "value", "score", "score_std", "n"]
    assert set(frame["n"]) == {2}
    assert np.allclose(frame["value"], np.mean([single.values for single in singles], axis=0))
    assert [np.allclose(pair.scores, single.scores) for pair, single in zip(found.pairs, singles, strict=True)] == [
        True
    ] * 2
    assert "of 2 pairs" in repr(found)
    as_lists = ne.patch(model, [CLEAN, OTHERS[0]], [CORRUPTED, OTHERS[1]], [ANSWERS, ANSWERS], at="mlp")
    assert as_lists.scores.tolist() == found.scores.tolist()
    by_iterator = ne.patch(model, iter([Pair(CLEAN, CORRUPTED), Pair(*OTHERS)]), at="mlp", metric=(11, 23))
    assert by_iterator.scores.tolist() == found.scores.tolist()
    assert np.isnan(ne.patch(model, [Pair(CLEAN, CORRUPTED)], at="mlp").score_std).all()  # type: ignore[arg-type]


def test_estimates_of_several_pairs_are_checked_in_all_of_them(model: ne.ModelContext) -> None:
    pairs = [Pair(CLEAN, CORRUPTED), Pair(*OTHERS), Pair(*LONGER)]
    exact = ne.patch(model, pairs, at="heads")
    found = ne.patch(model, pairs, at="heads", method="gradient", check=4)
    assert found.checked is not None
    for name, estimate, measured in found.checked[["name", "estimate", "measured"]].itertuples(index=False):
        number = exact.names.index(name)
        assert measured == pytest.approx(exact.values[number] - exact.corrupted_value, abs=1e-5)
        assert estimate == pytest.approx(found.values[number] - found.corrupted_value, abs=1e-6)


def test_pairs_of_one_form_are_patched_by_position() -> None:
    model = ne.load_model("tiny", device="cpu")
    pairs = ne.prompt_pairs("gender", 3, model=model, same_positions=True)
    found = ne.patch(model, pairs)
    singles = [ne.patch(model, [pair]) for pair in pairs]
    assert found.request.by == ("layer", "position")
    np.testing.assert_allclose(found.scores, np.mean([single.scores for single in singles], axis=0), atol=1e-9)
    tokens = [
        {pair.clean.token_strings[position] for pair in found.pairs} for position in range(len(found.clean.token_ids))
    ]
    assert [found.varies_at(position) for position in range(len(tokens))] == [len(each) > 1 for each in tokens]
    assert not found.varies_at(len(tokens) - 1)
    varied = [position for position in range(len(tokens)) if found.varies_at(position)]
    assert found._repr_html_().count(" …</th>") == len(varied) > 0
    labels = found.figure().layout.xaxis.ticktext
    assert [position for position, label in enumerate(labels) if label.endswith(" …")] == varied


def test_pairs_that_do_not_go_together(model: ne.ModelContext) -> None:
    pairs = [Pair(CLEAN, CORRUPTED), Pair(*LONGER)]
    with pytest.raises(PromptError, match="Pair 0 has 4 tokens and pair 1 has 5"):
        ne.patch(model, pairs)
    assert len(ne.patch(model, pairs, by="layer").pairs) == 2
    with pytest.raises(InvalidRequestError, match="Give at least one"):
        ne.patch(model, [])
    with pytest.raises(InvalidRequestError, match="2 clean prompts and 1 of corrupted are given"):
        ne.patch(model, [CLEAN, OTHERS[0]], [CORRUPTED], ANSWERS)
    with pytest.raises(InvalidRequestError, match="2 clean prompts and 3 of metric are given"):
        ne.patch(model, pairs, metric=[ANSWERS] * 3, by="layer")
    with pytest.raises(InvalidRequestError, match="Leave corrupted out"):
        ne.patch(model, pairs, CORRUPTED)
    with pytest.raises(PromptError, match="Pair 1: The clean prompt has 5 tokens, and the corrupted one 4"):
        ne.patch(model, [Pair(CLEAN, CORRUPTED), Pair(LONGER[0], CORRUPTED)])
    with pytest.raises(InvalidRequestError, match="has no target and distractor"):
        ne.patch(model, [Pair(CLEAN, CORRUPTED, None)])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"at": "residual"}, UnknownNameError, "resid"),
        ({"at": "heads", "by": ("layer", "neuron")}, UnknownNameError, "head"),
        ({"by": ()}, InvalidRequestError, "Give each axis once"),
        ({"by": 3}, InvalidRequestError, "Give names of axes"),
        ({"by": ("layer", "layer")}, InvalidRequestError, "Give each axis once"),
        ({"by": "position"}, InvalidRequestError, "Each patch is in one layer"),
        ({"at": "logits", "by": "layer"}, UnknownNameError, "position"),
        ({"method": "guess"}, UnknownNameError, "exact"),
        ({"direction": "up"}, UnknownNameError, "noise"),
        ({"check": -1}, InvalidRequestError, "check"),
        ({"steps": 0}, InvalidRequestError, "steps"),
        ({"at": "latents"}, MissingSettingError, "load_autoencoders"),
        ({"corrupted": None}, InvalidRequestError, "corrupted is missing"),
        ({"metric": None}, InvalidRequestError, "metric is missing"),
        ({"corrupted": LONGER[1]}, PromptError, "compared token by token"),
        ({"metric": lambda logits: logits.sum() * 0 + 3.0}, InvalidRequestError, "not told apart"),
    ],
    ids=lambda value: "" if isinstance(value, type | str) else "-".join(value),
)
def test_mistakes(model: ne.ModelContext, options: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"clean": CLEAN, "corrupted": CORRUPTED, "metric": ANSWERS, **options}
    with pytest.raises(error, match=message):
        ne.patch(model, **given)


def test_autoencoders_are_chosen_by_place(model: ne.ModelContext) -> None:
    both = [
        random_autoencoders(model, dst)
        for dst in (DerivedScalarType.RESID_DELTA_MLP, DerivedScalarType.RESID_DELTA_ATTN)
    ]
    with pytest.raises(MisconfiguredError, match="online_attention_autoencoder_latent"):
        ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="latents", autoencoders=both)
    place = "online_attention_autoencoder_latent"
    found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=place, autoencoders=both)
    alone = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="latents", autoencoders=both[1])
    assert found.values.tolist() == pytest.approx(alone.values.tolist(), abs=1e-5)
    error = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="online_residual_mlp_autoencoder_error", autoencoders=both[0])
    assert error.names[0] == "L0ERR/mlp@0"
    with pytest.raises(MisconfiguredError, match="Choose online_residual_mlp_autoencoder_error"):
        ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="online_mlp_autoencoder_error", autoencoders=both[0])


def test_very_many_patches_are_warned_of(model: ne.ModelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_of_patch, "_MANY", 11)
    with pytest.warns(ManyPassesWarning, match='12 patches run one by one.*method="gradient"'):
        ne.patch(model, CLEAN, CORRUPTED, ANSWERS)
    ne.patch(model, CLEAN, CORRUPTED, ANSWERS, method="gradient")  # pytest makes an error of a warning


@pytest.mark.parametrize("method", ["exact", "gradient", "integrated"])
def test_stopping_leaves_nothing_behind(model: ne.ModelContext, method: str) -> None:
    transformer = model.get_or_create_model()
    plain = transformer(torch.tensor([CLEAN]))
    told: list[float] = []
    with watched_passes(told.append):
        ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="heads", method=method, check=2)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    for n_told in range(1, len(told), 5):
        stop, n_left = threading.Event(), [n_told]

        def tell(fraction: float, stop: threading.Event = stop, n_left: list[int] = n_left) -> None:
            n_left[0] -= 1
            if n_left[0] == 0:
                stop.set()

        with pytest.raises(StoppedError), watched_passes(tell, stop):
            ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="heads", method=method, check=2)
        assert not transformer.active_interventions
    assert torch.equal(transformer(torch.tensor([CLEAN])), plain)


def test_threads_do_not_meet(model: ne.ModelContext) -> None:
    asked = [("heads", "denoise"), ("mlp", "noise"), ("resid", "denoise"), ("q", "noise")]
    alone = [ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, direction=way).values for at, way in asked]
    together: dict[int, Any] = {}

    def work(number: int) -> None:
        at, way = asked[number]
        together[number] = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at=at, direction=way).values

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, values in enumerate(alone):
        assert together[number].tolist() == values.tolist()


def test_interventions_of_the_caller_take_part(model: ne.ModelContext) -> None:
    transformer = model.get_or_create_model()
    with transformer.intervene("mlp_post_act", 0, torch.zeros_like):
        found = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="attn")
        logits = transformer(torch.tensor([CLEAN]))
    assert logits is not None
    assert found.clean_value == pytest.approx(float(logits[0, -1, 11] - logits[0, -1, 23]), abs=1e-5)
    assert not np.allclose(found.values, ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="attn").values)


def test_a_bar_where_one_is_asked_for(model: ne.ModelContext, capsys: pytest.CaptureFixture[str]) -> None:
    ne.patch(model, CLEAN, CORRUPTED, ANSWERS, progress=True)
    assert "patching" in capsys.readouterr().err
    ne.patch(model, CLEAN, CORRUPTED, ANSWERS)
    assert not capsys.readouterr().err


def _difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[-1, 11] - logits[-1, 23]


def _in_place(logits: torch.Tensor) -> torch.Tensor:
    logits.mul_(2)
    return _difference(logits) / 2


def _wiped(logits: torch.Tensor) -> torch.Tensor:
    result = _difference(logits)
    with torch.no_grad():
        logits.zero_()
    return result


@pytest.mark.parametrize("method", ["exact", "gradient", "integrated"])
@pytest.mark.parametrize("metric", [_in_place, _wiped])
def test_a_metric_may_change_its_logits_in_place(model: ne.ModelContext, metric: Any, method: str) -> None:
    options: Any = {"at": "heads", "method": method, "steps": 2, "check": 2}
    expected = ne.patch(model, CLEAN, CORRUPTED, _difference, **options).values
    assert np.allclose(ne.patch(model, CLEAN, CORRUPTED, metric, **options).values, expected, atol=1e-6)


def test_a_metric_is_a_real_number(model: ne.ModelContext) -> None:
    def metric(logits: torch.Tensor) -> torch.Tensor:
        return _difference(logits).to(torch.complex64)

    for method in ("exact", "gradient"):
        with pytest.raises(InvalidRequestError, match="not a complex one"):
            ne.patch(model, CLEAN, CORRUPTED, metric, at="heads", method=method)
    with pytest.raises(InvalidRequestError, match="not a complex one"):
        ne.path_patch(model, CLEAN, CORRUPTED, metric)


def test_within_a_recording_of_gradients(model: ne.ModelContext) -> None:
    """There every pass has a graph, which nobody differentiates; a metric without gradients counts, too."""

    def counted(logits: torch.Tensor) -> torch.Tensor:
        return (logits[-1] > logits[-1, 11]).sum().float()

    def heads(metric: Any) -> Any:
        return ne.patch(model, CLEAN, CORRUPTED, metric, at="heads")

    def resid(metric: Any) -> Any:
        return ne.patch(model, CLEAN, CORRUPTED, metric)

    def paths(metric: Any) -> Any:
        return ne.path_patch(model, CLEAN, CORRUPTED, metric)

    metrics: list[Any] = [ANSWERS, counted]
    calls = [heads, resid, paths]
    expected = [call(metric).values for call in calls for metric in metrics]
    estimated = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="heads", method="gradient").values
    with model.get_or_create_model().record([("resid_post_mlp", 0)], gradients=True):
        found = [call(metric).values for call in calls for metric in metrics]
        estimated_within = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, at="heads", method="gradient").values
    for one, other in zip([*found, estimated_within], [*expected, estimated], strict=True):
        assert np.allclose(one, other, atol=1e-5)
