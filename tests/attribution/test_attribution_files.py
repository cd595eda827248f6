"""Answers on disk: what is read is what was saved, with the model and without it."""

import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from pandas.testing import assert_frame_equal, assert_series_equal
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import neuron_explainer as ne
from helpers.collation_models import begun_context
from helpers.derived_scalars import PROMPT, annotations_unchecked, autoencoders, context
from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.errors import MalformedStoreError, MisconfiguredError, MissingFileError
from neuron_explainer.models.autoencoder_context import MultiAutoencoderContext
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

TEXT = "And the LORD said unto"
INDEX = ne.ActivationIndex("mlp.post_act", 1, ("All", 3))


@functools.cache
def tiny() -> StandardModelContext:
    return ne.load_model("tiny", device="cpu")


@functools.cache
def chatty() -> StandardModelContext:
    return ne.load_model("tiny", device="cpu", chat_template="{{ messages[0].content }}")


def norm_of_logits(logits: torch.Tensor) -> torch.Tensor:
    return logits[-1].norm()


def two_kinds() -> MultiAutoencoderContext:
    of = [autoencoders("gpt2", dst) for dst in (D.MLP_POST_ACT, D.ATTN_WEIGHTED_SUM_OF_VALUES)]
    return MultiAutoencoderContext.from_context_list(of)


@functools.cache
def answer(case: str) -> Attribution:
    return CASES[case]()


CASES: dict[str, Callable[[], Attribution]] = {
    "two tokens": lambda: ne.attribute(tiny(), TEXT, " Moses", " her"),
    "alternatives as ids": lambda: ne.attribute(tiny(), TEXT, [[300], " the"], metric="probs", positions=[-2, -1]),
    "its own choice": lambda: ne.attribute(tiny(), TEXT, prepend_bos=False),
    "several tokens": lambda: ne.attribute(tiny(), TEXT, [" Moses and", " him"], " her", positions=-2),
    "token ids": lambda: ne.attribute(tiny(), [5, 17, 3], 9, 11),
    "a chat": lambda: ne.attribute(chatty(), [{"role": "user", "content": TEXT}], " Moses"),
    "with a beginning": lambda: ne.attribute(begun_context(), "w1 w2 w3", " w4"),
    "without its beginning": lambda: ne.attribute(begun_context(), "w1 w2 w3", " w4", prepend_bos=False),
    "a function": lambda: ne.attribute(tiny(), TEXT, metric=norm_of_logits),
    "experts": lambda: ne.attribute(context("mixtral"), PROMPT, 7, 11),
    "latents of MLPs": lambda: ne.attribute(
        context("gemma2"), PROMPT, 7, autoencoders=autoencoders("gemma2", D.MLP_POST_ACT)
    ),
    "latents of two kinds": lambda: ne.attribute(context("gpt2"), PROMPT, 7, 11, autoencoders=two_kinds()),
    "latents of the residual stream": lambda: ne.attribute(
        context("gpt2"), PROMPT, 7, autoencoders=autoencoders("gpt2", D.RESID_POST_MLP)
    ),
    "numbers": lambda: ne.attribute(tiny(), TEXT, " Moses", ablations=ne.AblationSpec(INDEX, 2.5, tokens=[1, 3])),
    "a tensor": lambda: ne.attribute(
        tiny(), TEXT, " Moses", ablations=[ne.TensorAblation(INDEX, torch.arange(6.0), n_tokens=6)]
    ),
    "ablated": lambda: answer("two tokens").ablate("L3H1", "L2MLP@3").ablate("L1N3", value="And the king said unto"),
    "ablated with several tokens": lambda: answer("several tokens").ablate("L3H1"),
    "ablated with latents": lambda: answer("latents of MLPs").ablate("L1A3").ablate("L0H1"),
    "trace of a head": lambda: answer("two tokens").ablate("L0H0").trace("L3H1"),
    "trace of a value": lambda: answer("two tokens").trace("L3H1@-1", "v"),
    "trace of an expert's neuron": lambda: answer("experts").trace(answer("experts").neurons(1).index[0]),
    "trace of a latent": lambda: answer("latents of MLPs").trace("L1A3@2"),
}


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with annotations_unchecked():
        yield


@pytest.fixture(params=list(CASES))
def why(request: pytest.FixtureRequest) -> Attribution:
    return answer(request.param)


def tables(why: Attribution) -> Iterator[tuple[str, pandas.DataFrame]]:
    yield "parts", why.parts()
    for by in ("activation", "direct_effect", "total_effect"):
        yield f"nodes by {by}", why.nodes(12, by)
    yield "embeddings", why.nodes(3, kinds="embedding")
    yield "heads", why.heads()
    yield "neurons", why.neurons(5)
    yield "tokens", why.tokens()
    if any("LATENT" in group.node_type.name for group in why.groups[0]):
        yield "latents", why.latents(5)
    if why.effects[0].logits is not None:
        yield "next tokens", why.next_tokens(20)
        yield "answers", why.answers()
    for number, step in enumerate(why.history):
        yield f"parts of step {number}", step.parts
        yield f"nodes of step {number}", step.nodes


def check_same(again: Attribution, why: Attribution, has_model: bool) -> None:
    assert repr(again) == repr(why)
    for name in ("value", "capped_value", "residue", "hints", "ablated"):
        assert getattr(again, name) == getattr(why, name), name
    for name in ("request", "title", "is_linear", "asked_tokens", "answers", "passes"):
        assert getattr(again.inquiry, name) == getattr(why.inquiry, name), name
    assert [(step.request, step.title, step.value) for step in again.history] == [
        (step.request, step.title, step.value) for step in why.history
    ]
    assert [repr(store) for store in again.stores] == [repr(store) for store in why.stores]
    for (name, actual), (_, expected) in zip(tables(again), tables(why), strict=True):
        assert type(actual) is type(expected)
        if "write_norm" in expected and not has_model and "step" not in name:
            is_known = pandas.Series(["EMB" in node for node in expected["name"]], index=expected.index)
            expected = expected.assign(write_norm=expected["write_norm"].where(is_known))
        if "write_norm" in expected:  # computed anew from weights; where arrays lie in memory decides its last digit
            assert_series_equal(actual["write_norm"], expected["write_norm"], rtol=1e-12, atol=0, obj=f"{name}, norms")
            actual, expected = (each.drop(columns="write_norm") for each in (actual, expected))
        assert_frame_equal(actual, expected, check_exact=True, obj=name)
        assert actual.index.tolist() == expected.index.tolist()


def with_model(path: Path, why: Attribution) -> Attribution:
    assert why.setting is not None
    config = why.setting.config
    given = config.autoencoder_context or config.multi_autoencoder_context
    return ne.load_attribution(path, config.get_model_context(), autoencoders=given)


def test_what_is_read_is_what_was_saved(why: Attribution, tmp_path: Path) -> None:
    path = tmp_path / "why.safetensors"
    why.save(path)
    check_same(ne.load_attribution(path), why, has_model=False)
    check_same(with_model(path, why), why, has_model=True)


def test_an_answer_without_its_model_is_saved_as_it_was(why: Attribution, tmp_path: Path) -> None:
    why.save(tmp_path / "first")
    ne.load_attribution(tmp_path / "first").save(tmp_path / "second")
    first, second = (safe_open(tmp_path / name, framework="pt") for name in ("first", "second"))
    assert first.metadata() == second.metadata()
    tensors = [load_file(tmp_path / name) for name in ("first", "second")]
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())
    assert tensors[0].keys() == tensors[1].keys()


@pytest.mark.parametrize(
    "case", ["two tokens", "alternatives as ids", "its own choice", "several tokens", "experts", "latents of MLPs"]
)
def test_with_its_model_it_is_asked_again(case: str, tmp_path: Path) -> None:
    why = answer(case)
    why.save(tmp_path / "why")
    again = with_model(tmp_path / "why", why)
    head = str(why.heads(1)["name"].iloc[0])
    check_same(again.ablate(head), why.ablate(head), has_model=True)
    check_same(again.trace(head), why.trace(head), has_model=True)
    assert_frame_equal(again.verify(4), why.verify(4), check_exact=True)
    if len(why.effects) == 1:
        assert_frame_equal(again.verify(4, "direct"), why.verify(4, "direct"), check_exact=True)
        other = [1, 2, 3, 4, 5, 6] if case != "latents of MLPs" else PROMPT[::-1]
        assert_frame_equal(again.compare(other).nodes(5), why.compare(other).nodes(5), check_exact=True)


@pytest.mark.parametrize("case", ["numbers", "a tensor", "ablated"])
def test_what_was_overwritten_stays_overwritten(case: str, tmp_path: Path) -> None:
    why = answer(case)
    why.save(tmp_path / "why")
    again = with_model(tmp_path / "why", why)
    check_same(again.ablate("L0H2"), why.ablate("L0H2"), has_model=True)
    assert again.ablate("L0H2").ablated == (*why.ablated, "L0H2 = 0")
    check_same(again.trace("L2H1"), why.trace("L2H1"), has_model=True)


def test_two_saved_answers_are_compared_without_a_model(tmp_path: Path) -> None:
    both = [ne.attribute(tiny(), text, " Moses", " her") for text in (TEXT, "And the king said unto")]
    for number, why in enumerate(both):
        why.save(tmp_path / str(number))
    one, other = (ne.load_attribution(tmp_path / str(number)) for number in (0, 1))
    assert_frame_equal(one.compare(other).parts(), both[0].compare(both[1]).parts(), check_exact=True)
    assert (
        one.compare(other).nodes(5)["difference"].tolist() == both[0].compare(both[1]).nodes(5)["difference"].tolist()
    )


def saved(case: str, tmp_path: Path) -> Path:
    answer(case).save(tmp_path / "why")
    return tmp_path / "why"


def test_without_the_model_norms_of_writes_are_missing(tmp_path: Path) -> None:
    why = ne.load_attribution(saved("two tokens", tmp_path))
    nodes = why.nodes(30)
    is_embedding = nodes["name"].str.startswith("EMB")
    assert nodes["write_norm"].notna().tolist() == is_embedding.tolist()
    assert is_embedding.any()
    assert not is_embedding.all()
    with pytest.raises(MisconfiguredError, match=r"Norms of writes need the model.*load_attribution\(path, model\)"):
        why.nodes(by="write_norm")
    assert why.nodes(2, "write_norm", kinds="embedding")["write_norm"].notna().all()


@pytest.mark.parametrize(
    "experiment",
    [
        lambda why: why.ablate("L0H1"),
        lambda why: why.trace("L0H1"),
        lambda why: why.verify(2),
        lambda why: why.verify(2, "direct"),
        lambda why: why.compare("And the king said unto"),
    ],
)
def test_without_the_model_experiments_say_what_they_need(
    experiment: Callable[[Attribution], object], tmp_path: Path
) -> None:
    with pytest.raises(MisconfiguredError, match=r"needs the model.*load_attribution\(path, model\)"):
        experiment(ne.load_attribution(saved("two tokens", tmp_path)))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("trace of a head", r"Trace again: why\.trace\('L3H1@5<-"),
        ("a function", r"metric of this answer was a function.*Ask again with ne\.attribute"),
    ],
)
def test_what_a_file_cannot_hold_is_asked_again_by_hand(case: str, message: str, tmp_path: Path) -> None:
    why = ne.load_attribution(saved(case, tmp_path), tiny())
    for experiment in (
        lambda: why.ablate("L0H1"),
        lambda: why.verify(2),
        lambda: why.verify(2, "direct"),
        lambda: why.compare("And the king said unto"),
    ):
        with pytest.raises(MisconfiguredError, match=message):
            experiment()
    assert why.trace("L1H1").value == answer(case).trace("L1H1").value  # upstream of a node nothing is missing


def other_tokens() -> StandardModelContext:
    """tiny with a tokenizer of other texts."""
    return StandardModelContext("tiny", tiny().get_or_create_model(), None)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: context("gpt2"), "was about 'tiny', but the model is 'gpt2'.*name="),
        (lambda: StandardModelContext("tiny", context("gpt2").get_or_create_model()), "with 4 layers, but tiny has 3"),
        (other_tokens, "The tokens of tiny have other texts"),
    ],
)
def test_another_model_is_refused(model: Callable[[], StandardModelContext], message: str, tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match=message):
        ne.load_attribution(saved("two tokens", tmp_path), model())


def test_other_autoencoders_are_refused(tmp_path: Path) -> None:
    path, of_mlp = saved("latents of MLPs", tmp_path), autoencoders("gemma2", D.MLP_POST_ACT)
    with pytest.raises(MisconfiguredError, match=r"24 of layer 0.*the autoencoders given have: none"):
        ne.load_attribution(path, context("gemma2"))
    with pytest.raises(MisconfiguredError, match="Give both, or neither"):
        ne.load_attribution(path, autoencoders=of_mlp)
    ne.attribute(context("gemma2"), PROMPT, 7).save(path)
    with pytest.raises(MisconfiguredError, match="latents: none; the autoencoders given have: 24 of layer 0"):
        ne.load_attribution(path, context("gemma2"), autoencoders=of_mlp)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "why"
    with pytest.raises(MissingFileError, match="why"):
        ne.load_attribution(path)
    path.write_bytes(b"{}")
    with pytest.raises(MalformedStoreError, match="is not a valid saved attribution"):
        ne.load_attribution(path)
    answer("two tokens").store.save(path)
    with pytest.raises(MalformedStoreError, match="its format is 'neuron_explainer derived scalars 1'"):
        ne.load_attribution(path)
    answer("two tokens").save(path)
    with pytest.raises(MalformedStoreError, match="its format is 'neuron_explainer attribution 1'"):
        ne.DerivedScalarStore.load(path)


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]) -> None:
    """Change a file's metadata and tensors."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    metadata, tensors = json.loads(header["metadata"]), load_file(path)
    change(metadata, tensors)
    header["metadata"] = json.dumps(metadata)
    header["order"] = json.dumps([name for name in json.loads(header["order"]) if name in tensors])
    save_file(tensors, path, header)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved, tensors: tensors.pop("0|directions"), "its tensors are not those of an answer"),
        (lambda saved, tensors: tensors.pop("0|mlp|1|bias"), "it has neurons, layer_as_set of MlpParts 1"),
        (lambda saved, tensors: tensors.pop("0|store|attn_value|forward|0"), "not of the layers of the others"),
        (lambda saved, tensors: tensors.update({"0|logits": torch.zeros(2, 8)}), r"logits has the shape \(2, 8\)"),
        (lambda saved, tensors: tensors.update({"0|logits": torch.zeros(1, 8)}), "beyond the vocabulary of 8"),
        (lambda saved, tensors: saved.update(passes=[]), "length >= 1"),
        (lambda saved, tensors: saved["passes"][0].update(rows=[6]), "not positions of 6 tokens"),
        (lambda saved, tensors: saved["passes"][0].update(tokens=["a"]), "6 tokens have 1 texts|for 6 tokens|shape"),
        (lambda saved, tensors: saved["passes"][0]["token_ids"].__setitem__(0, -1), ">= 0"),
        (lambda saved, tensors: saved.update(passes=saved["passes"] * 2), "directions|derived"),
        (lambda saved, tensors: saved.update(ablations=[{"spec": {}, "note": ""}]), "AblationSpec|index"),
        (lambda saved, tensors: saved.update(title=3), "Expected `str`"),
        (lambda saved, tensors: saved.update(more=3), "unknown field"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(
    change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object], message: str, tmp_path: Path
) -> None:
    path = saved("two tokens", tmp_path)
    changed(path, change)
    with pytest.raises(MalformedStoreError, match=message):
        ne.load_attribution(path)


def test_texts_from_a_file_do_not_steer_the_terminal(tmp_path: Path) -> None:
    path = saved("ablated", tmp_path)

    def steer(metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        metadata.update(title="a\x1b[2Jb", hints=["\u202e"])
        metadata["ablations"][0]["note"] = "\x1b[2J"
        metadata["history"][0]["title"] = "\x1b[2J"

    changed(path, steer)
    why = ne.load_attribution(path)
    shown = f"{why!r} {why.hints} {why.ablated} {why.history}"
    assert not {"\x1b", "\u202e"} & set(shown)
    assert r"\x1b" in shown


def test_saving_and_reading_takes_a_moment(tmp_path: Path) -> None:
    why, path = answer("two tokens"), tmp_path / "why"
    model, taken = tiny(), []
    for _ in range(3):
        begin = time.process_time()
        why.save(path)
        ne.load_attribution(path, model)
        taken.append(time.process_time() - begin)
    assert min(taken) < 0.1
