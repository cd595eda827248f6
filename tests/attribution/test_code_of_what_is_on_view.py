"""The code of what is on view runs as pasted, and gives the numbers that are on view."""

import ast
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.derived_scalars import PROMPT, TARGET, autoencoders, context
from helpers.paths import PACKAGE
from neuron_explainer.attribution.comparison import Comparison
from neuron_explainer.attribution.exploring.code import code_of
from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.attribution.exploring.explorer import Explorer
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

TEXT = "And the LORD said unto"
ASKED = Exploration(TEXT, (" Moses",), (" her",), "And the king said unto")
CHAT = ({"role": "user", "content": TEXT},)
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.fixture(scope="module")
def tiny() -> Explorer:
    return Explorer(ne.load_model("tiny"))


def run(code: str, **names: Any) -> Any:
    """What the last line gives, in a notebook that has these names."""
    namespace = dict(names)
    tree = ast.parse(code)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr)
    exec(compile(tree, "<pasted>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<pasted>", "eval"), namespace)


def check_same(explorer: Explorer, asked: Exploration, **names: Any) -> str:
    """Check that the code gives what the explorer answers; gives the code."""
    code = code_of(asked, explorer)
    result, found = run(code, **names), explorer.answer(asked)
    if asked.is_compared:
        assert isinstance(result, Comparison)
        assert found.comparison is not None
        assert result.difference == pytest.approx(found.comparison.difference, abs=1e-6)
        assert result.nodes(20)["name"].tolist() == found.comparison.nodes(20)["name"].tolist()
        result = result.first
    assert result.value == pytest.approx(found.why.value, abs=1e-6)
    assert result.inquiry.request == found.why.inquiry.request
    assert result.ablated == found.why.ablated
    assert result.nodes(20)["name"].tolist() == found.why.nodes(20)["name"].tolist()
    return code


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Gives the notebook some names; returns them."""

    def having(**names: Any) -> dict[str, Any]:
        main = ModuleType("__main__")
        vars(main).update(names)
        monkeypatch.setitem(sys.modules, "__main__", main)
        return names

    having()
    return having


STEPS: dict[str, tuple[Exploration, str]] = {
    "a question": (ASKED, "why = ne.attribute(model, 'And the LORD said unto', ' Moses', ' her')"),
    "a target": (Exploration(TEXT, (" Moses",)), "ne.attribute(model, 'And the LORD said unto', ' Moses')"),
    "its own choice": (Exploration(TEXT), "ne.attribute(model, 'And the LORD said unto')"),
    "alternatives": (
        Exploration(TEXT, (" Moses", " David"), (" her", (416,))),
        "[' Moses', ' David'], [' her', [416]])",
    ),
    "one of ids": (Exploration((52, 72, 69), ((95,),), (" her",)), "ne.attribute(model, [52, 72, 69], [[95]], ' her')"),
    "several tokens": (Exploration(TEXT, (" Moses, Speak",)), "' Moses, Speak')"),
    "a metric": (Exploration(TEXT, (" Moses",), metric="probs"), "metric='probs')"),
    "a position": (Exploration(TEXT, (" Moses",), positions=(3,)), "positions=3)"),
    "positions": (Exploration(TEXT, (" Moses",), positions=(1, -1)), "positions=[1, -1])"),
    "a beginning": (Exploration(TEXT, (" Moses",), prepend_bos=True), "prepend_bos=True)"),
    "a change": (ASKED.with_change("L3H0"), "why = why.ablate('L3H0')\n"),
    "a number": (ASKED.with_change("L1N3@2", -0.5), "why.ablate('L1N3@2', value=-0.5)"),
    "a mean": (ASKED.with_change("L1N3", "mean"), "why.ablate('L1N3', value='mean')"),
    "the other prompt's": (
        ASKED.with_change("L3H0", "other"),
        "other_prompt = 'And the king said unto'\n"
        "why = ne.attribute(model, 'And the LORD said unto', ' Moses', ' her')\n"
        "why = why.ablate('L3H0', value=other_prompt)\n",
    ),
    "two changes, one of them off": (
        ASKED.with_change("L3H0").with_change("L2H1").switched(0),
        "why.ablate('L2H1')\nwhy",
    ),
    "a trace": (ASKED.traced("L2H3"), "why = why.trace('L2H3')\nwhy"),
    "a trace through q": (
        ASKED.with_change("L3H0").traced("L2H3", "q").traced("L1N3@2"),
        "through='q')\nwhy = why.trace('L1N3@2')",
    ),
    "a trace through v": (
        ASKED.traced("L1H3@5", "v", "L2N3@5"),
        "why.trace('L1H3@5', through='v', downstream='L2N3@5')",
    ),
    "two prompts": (ASKED.compared(), "both = why.compare(other_prompt)\nboth"),
    "two prompts with changes": (ASKED.with_change("L3H0").with_change("L2H2", "other").compared(), "both"),
    "two traces": (ASKED.compared().traced("L2H3", "k").traced("L1N3"), "other = why.compare(other_prompt).second"),
    "two traces through v": (
        ASKED.compared().traced("L1H3@5", "v", "L2N3@5"),
        "downstream=why.inquiry.request['downstream']",
    ),
    "hostile text": (Exploration('a\'b"""\\\n\r\u2028{x}\0 #\n<script>', (" Moses",)), "\\u2028"),
}


@pytest.mark.parametrize("case", list(STEPS))
def test_every_step(tiny: Explorer, notebook: Any, case: str) -> None:
    asked, part = STEPS[case]
    code = check_same(tiny, asked)
    assert part in code
    assert code.startswith("import neuron_explainer as ne\n\nmodel = ne.load_model('tiny')\n")
    assert len(code.splitlines()) <= 12


def test_what_cannot_be_asked_has_no_code(tiny: Explorer) -> None:
    for asked in (Exploration(TEXT).compared(), Exploration(TEXT).with_change("L3H0", "other")):
        with pytest.raises(InvalidRequestError, match="second prompt"):
            code_of(asked, tiny)


def test_a_folder_with_options(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'it\'s "tiny"'
    folder.mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(PACKAGE / "data" / "tiny" / file, folder)
    monkeypatch.chdir(tmp_path)
    model = ne.load_model(
        folder.name, dtype="bf16", name="mine", chat_template=TEMPLATE, offload="disk", check_memory=False, pickled=True
    )
    code = check_same(Explorer(model), Exploration(CHAT, (" Moses",)).with_change("L3H0"))
    options = "dtype='bfloat16', chat_template={!r}, name='mine', offload='disk', check_memory=False, pickled=True)"
    assert f"model = ne.load_model({str(folder)!r}, {options.format(TEMPLATE)}" in code
    assert run(code).model.model_name == "mine"
    plain = code_of(ASKED, Explorer(ne.load_model(folder)))
    assert f"model = ne.load_model({str(folder)!r})\n" in plain


def test_options_that_are_not_the_default(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ne.load_model("tiny", device="cpu", config={**TINY_CONFIG, "layer_norm_epsilon": 1e-3})
    monkeypatch.setattr("neuron_explainer.attribution.exploring.code_of_model.get_default_device", lambda: "cuda:0")
    code = check_same(Explorer(model), ASKED)
    assert "device='cpu'" in code
    assert "'layer_norm_epsilon': 0.001" in code


TINY_CONFIG: dict[str, Any] = ast.literal_eval(
    (PACKAGE / "data" / "tiny" / "config.json")
    .read_text()
    .replace("null", "None")
    .replace("true", "True")
    .replace("false", "False")
)


def test_a_model_in_memory_goes_by_its_name(notebook: Any) -> None:
    explorer = Explorer(context("gpt2"))
    asked = Exploration(tuple(PROMPT), ((TARGET,),)).with_change("L1H0")
    names = notebook(_5=context("gpt2"), why=context("gpt2"), small=context("gpt2"))
    code = check_same(explorer, asked, **names)
    assert "ne.attribute(small, [5, 17, 3, 44, 17, 20], [[7]])" in code
    assert "load_model" not in code
    notebook()
    code = code_of(asked, explorer)
    assert code.splitlines()[2].startswith("# model = …  # give your own: StandardModelContext('gpt2'")
    assert "ne.attribute(model, " in code
    assert run(code, model=context("gpt2")).value == explorer.answer(asked).why.value


def test_a_model_whose_weights_were_changed_is_not_loaded(notebook: Any) -> None:
    model = ne.load_model("tiny")
    model.get_or_create_model().embedding.mul_(2)
    assert "# model = …" in code_of(ASKED, Explorer(model))


def test_a_name_of_a_model_stays_in_its_comment(notebook: Any) -> None:
    model = ne.StandardModelContext("a\nimport os\u2028os.abort()", context("gpt2").get_or_create_model())
    code = code_of(Exploration((5, 17)), Explorer(model))
    assert [line.split(" ")[0] for line in code.splitlines()] == ["import", "", "#", "why", "why"]
    assert len(ast.parse(code).body) == 3


def files_of_autoencoders(folder: Path) -> dict[int, str]:
    """Autoencoders of the MLPs of the tiny model's layers 1 and 2, in OpenAI's form."""
    paths = {}
    for layer in (1, 2):
        generator = torch.Generator().manual_seed(layer)
        shapes = {"encoder.weight": (6, 128), "decoder.weight": (128, 6), "pre_bias": (128,), "latent_bias": (6,)}
        weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        paths[layer] = str(folder / f"{layer}.pt")
        torch.save(weights, paths[layer])
    return paths


@pytest.mark.filterwarnings("ignore::neuron_explainer.notices.UnchangedByInterventionWarning")
def test_autoencoders_are_loaded_as_they_were(notebook: Any, tmp_path: Path) -> None:
    model = ne.load_model("tiny")
    files_of_autoencoders(tmp_path)
    latents = ne.load_autoencoders(
        tmp_path, "resid_delta_mlp", model=model, layers=[1], dtype="float64", base_model_name="tiny"
    )
    asked = ASKED.with_change("L1A3")
    code = check_same(Explorer(model, latents), asked)
    assert (
        f"autoencoders = ne.load_autoencoders({{1: '{tmp_path}/1.pt'}}, 'resid_delta_mlp', model=model, "
        "dtype='float64', base_model_name='tiny')\n"
    ) in code
    assert "' her', autoencoders=autoencoders)" in code
    config = ne.AutoencoderConfig("resid_delta_mlp", files_of_autoencoders(tmp_path), input_scaling="none")
    code = check_same(Explorer(ne.DstConfig(model_context=model, autoencoder_config=config)), asked)
    assert "input_scaling='none')" in code
    several = [latents, autoencoders_in_memory(model)]
    names = notebook(of_attention=several[1])
    code = check_same(Explorer(model, several), ASKED.with_change("L1A3/attn"), **names)
    assert ", of_attention]\n" in code


def autoencoders_in_memory(model: Any) -> ne.AutoencoderContext:
    from benchmarks.small_models import random_autoencoders

    return random_autoencoders(model, D.RESID_DELTA_ATTN)


def test_published_autoencoders_go_by_their_name(notebook: Any) -> None:
    from neuron_explainer.attribution.exploring.code_of_model import autoencoders_code

    model = ne.StandardModelContext("gpt2-small", context("gpt2").get_or_create_model())
    latents = ne.load_autoencoders("ae-resid-delta-mlp-v4", layers=[1, 2], device="cpu")
    config = ne.DstConfig(autoencoder_context=latents)
    object.__setattr__(config, "model_context", model)  # its sizes are not those of GPT-2
    name, lines = autoencoders_code(config, "model")
    assert name == "autoencoders"
    assert lines == ["autoencoders = ne.load_autoencoders('ae-resid-delta-mlp-v4', layers=[1, 2], model=model)"]


def test_autoencoders_in_memory_go_by_their_name(notebook: Any) -> None:
    latents = autoencoders("gpt2", D.RESID_DELTA_MLP)
    explorer = Explorer(context("gpt2"), latents)
    asked = Exploration(tuple(PROMPT), ((TARGET,),)).with_change("L1A3")
    names = notebook(small=context("gpt2"), latents=latents)
    assert "autoencoders=latents)" in check_same(explorer, asked, **names)
    notebook(small=context("gpt2"))
    assert "# autoencoders = …  # give your own: [<AutoencoderContext: resid_delta_mlp" in code_of(asked, explorer)


def test_ablations_that_stay_in_place(notebook: Any) -> None:
    model = ne.load_model("tiny")
    index = ne.ActivationIndex("mlp.post_act", 1, ("All", 5))
    spec = ne.AblationSpec(index, 0.25, tokens=(1, 2))
    explorer = Explorer.of(ne.attribute(model, TEXT, " Moses", " her", ablations=spec))
    code = check_same(explorer, ASKED.with_change("L3H0"))
    assert "ablations=ne.AblationSpec(ne.ActivationIndex('mlp.post_act', 1, ('All', 5)), 0.25, (1, 2)))" in code
    tensor = ne.TensorAblation(index, torch.tensor(0.5))
    explorer = Explorer.of(ne.attribute(model, TEXT, " Moses", " her", ablations=[tensor, spec]))
    names = notebook(patch=tensor)
    assert "ablations=[patch, ne.AblationSpec(" in check_same(explorer, ASKED, **names)
    notebook()
    assert "# ablations = …  # give your own: L1N5 = given numbers; L1N5 at @1, @2 = 0.25" in code_of(ASKED, explorer)


def test_a_metric_that_is_a_function_goes_by_its_name(notebook: Any) -> None:
    explorer = Explorer.of(ne.attribute(ne.load_model("tiny"), TEXT, metric=spread))
    assert explorer.first is not None
    names = notebook(my_spread=spread)
    assert "metric=my_spread)" in check_same(explorer, explorer.first.with_change("L3H0"), **names)
    notebook()
    code = code_of(explorer.first, explorer)
    assert "# metric = …  # give your own: the function spread\n" in code
    assert "metric=metric)" in code


def spread(logits: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(logits[-1], dim=-1)


def test_addresses_keep_their_secrets(notebook: Any) -> None:
    from neuron_explainer.attribution.exploring.code_of_model import _public

    assert _public("https://me:password@host/model?key=1") == "https://host/model"
