"""Every derived scalar against the numbers of an independent reference, where a folder with them is given.

NEURON_EXPLAINER_GOLDEN names a folder that holds one or more model folders (a small GPT-2 in the Hugging Face layout,
its autoencoders, cases.json and expected.safetensors).
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.index_fields import JsonForm
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex, NodeIndex, TraceConfig
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig
from neuron_explainer.models.autoencoder_context import (
    AutoencoderConfig,
    AutoencoderContext,
    MultiAutoencoderContext,
)
from neuron_explainer.models.checkpoints.load_model import load_model
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType

FOLDER = os.environ.get("NEURON_EXPLAINER_GOLDEN")
MODEL_FOLDERS = sorted(path.parent for path in Path(FOLDER).glob("*/cases.json")) if FOLDER else []


def cases(folder):
    return json.loads((folder / "cases.json").read_text())["cases"]


@pytest.fixture(scope="module")
def golden():
    """For each model folder: the model, its autoencoders by place, and the expected numbers."""
    if not FOLDER:
        pytest.skip("NEURON_EXPLAINER_GOLDEN names no folder of golden numbers")
    loaded = {}
    for folder in MODEL_FOLDERS:
        model_context = load_model(str(folder), device="cpu")
        autoencoders = {}
        for place in sorted((folder / "autoencoders").iterdir()):
            paths = {int(path.stem): str(path) for path in place.glob("*.pt")}
            autoencoders[place.name] = AutoencoderContext(
                AutoencoderConfig(DerivedScalarType(place.name), paths), device="cpu"
            )
        loaded[folder] = model_context, autoencoders, load_file(folder / "expected.safetensors")
    return loaded


def config_of(case, model_context, autoencoders):
    fields = dict(case.get("config", {}))
    parsers: dict[str, type[JsonForm]] = {
        "trace_config": TraceConfig,
        "node_index_for_attribution": NodeIndex,
        "activation_index_for_fake_grad": ActivationIndex,
    }
    for name, parser in parsers.items():
        if fields.get(name) is not None:
            fields[name] = parser.from_json(fields[name])
    contexts = [autoencoders[name] for name in case.get("autoencoders", [])]
    if len(contexts) == 1:
        fields["autoencoder_context"] = contexts[0]
    elif contexts:
        fields["multi_autoencoder_context"] = MultiAutoencoderContext.from_context_list(contexts)
    return DstConfig(model_context=model_context, **fields)


def close(actual, expected):
    return torch.allclose(actual.float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not FOLDER, reason="NEURON_EXPLAINER_GOLDEN names no folder of golden numbers")
def test_every_case_agrees_with_the_reference(golden, capsys):
    assert MODEL_FOLDERS, f"{FOLDER} holds no folder with a cases.json: golden numbers that are asked for must be there"
    n_compared, wrong = 0, []
    derived_types = set()
    for folder, (model_context, autoencoders, expected) in golden.items():
        keys_by_case: dict[str, list[str]] = {}
        for key in expected:
            keys_by_case.setdefault(key.split("|")[0], []).append(key)
        for case in cases(folder):
            config = config_of(case, model_context, autoencoders)
            loss = LossFnConfig.from_json(case["loss"]) if case.get("loss") else None
            ablations = [AblationSpec.from_json(ablation) for ablation in case.get("ablations", [])]
            dsts = [DerivedScalarType(value) for value in case["dsts"]]
            derived_types.update(dsts)
            store = derive(case["prompt"], dsts, config, loss=loss, ablations=ablations)
            assert store.token_ids == case["tokens"]
            for attribute, name in (
                ("loss", "loss_value"),
                ("traced_activation", "activation_value_for_backward_pass"),
            ):
                if case.get(name) is not None:
                    actual = getattr(store, attribute)
                    if actual is None or actual != pytest.approx(case[name], rel=1e-4, abs=1e-5):
                        wrong.append(f"{case['name']}: {attribute} is {actual}, not {case[name]}")
            for key in sorted(keys_by_case[case["name"]]):
                _, dst, pass_type, layer = key.split("|")
                by_layer = store.activations(DerivedScalarType(dst), PassType(pass_type))
                n_compared += 1
                if layer == "layers":
                    layers = [-1 if index is None else index for index in by_layer]
                    if layers != expected[key].tolist():
                        wrong.append(f"{key}: {layers}, not {expected[key].tolist()}")
                    continue
                actual = by_layer[None if layer == "none" else int(layer)]
                if actual.shape != expected[key].shape:
                    wrong.append(f"{key}: shape {tuple(actual.shape)}, not {tuple(expected[key].shape)}")
                elif not close(actual, expected[key]):
                    difference = (actual - expected[key]).abs().nan_to_num().max().item()
                    wrong.append(f"{key}: off by up to {difference:.3g}")
    with capsys.disabled():  # seen in every run of the tests
        print(f"\ngolden numbers: {n_compared} (case, type, pass, layer) results compared, {len(wrong)} differ")  # noqa: T201
    assert not wrong, "\n".join(wrong)
    assert derived_types == set(DerivedScalarType)


@pytest.mark.skipif(not FOLDER, reason="NEURON_EXPLAINER_GOLDEN names no folder of golden numbers")
def test_the_frozen_cases_agree_when_the_scale_is_frozen_by_the_argument(golden):
    n_compared = 0
    for folder, (model_context, autoencoders, expected) in golden.items():
        for case in cases(folder):
            if not case["name"].endswith("ln_f_scale_frozen"):
                continue
            config = config_of(case, model_context, autoencoders)
            loss = LossFnConfig.from_json(case["loss"])
            store = derive(case["prompt"], case["dsts"], config, loss=loss, freeze_final_norm=True)
            for key in (key for key in expected if key.startswith(f"{case['name']}|")):
                _, dst, pass_type, layer = key.split("|")
                place_of_the_scale = dst == "resid_final_layer_norm_scale" and pass_type == "backward"
                if layer != "layers" and not place_of_the_scale:
                    tensor = store.activations(dst, pass_type)[None if layer == "none" else int(layer)]
                    assert close(tensor, expected[key]), key
                    n_compared += 1
    assert n_compared > 20
