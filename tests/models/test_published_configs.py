"""The configs of published models are read without a word; transformers reads the same model from them."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import neuron_explainer as ne
from helpers.checkpoints import save_folder, small_gpt2
from helpers.published_configs import PUBLISHED
from neuron_explainer.models.families import FAMILY_BY_MODEL_TYPE, register_family
from neuron_explainer.models.families.llama import LlamaFamily
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.notices import NeuronExplainerWarning, UnknownConfigEntryWarning

MOST_CHARACTERS = 500


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_are_read_without_a_warning(name: str) -> None:
    config = family_and_config(PUBLISHED[name])[1]
    if PUBLISHED[name]["model_type"] in transformers.CONFIG_MAPPING:
        theirs = transformers.AutoConfig.for_model(**copy.deepcopy(PUBLISHED[name]))
        assert family_and_config(theirs.to_dict())[1] == config


def test_an_entry_that_nobody_knows_is_one_warning_for_a_load(tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    file = folder / "config.json"
    entries = json.loads(file.read_text())
    file.write_text(json.dumps({**entries, "attention_sharpness": 3.0, "nothing": None}))
    with pytest.warns(UnknownConfigEntryWarning, match=r"in a gpt2 model: attention_sharpness\. They") as caught:
        ne.load_model(folder, device="cpu").get_or_create_model()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UnknownConfigEntryWarning) as caught:
        Transformer.from_hf_config_and_tensors(
            {**small_gpt2().config.to_dict(), "frequency": 0}, small_gpt2().state_dict()
        )
    assert len(caught) == 1


def test_many_unknown_entries_are_named_up_to_five() -> None:
    entries = {**PUBLISHED["EleutherAI/pythia-70m"], **{f"odd_{number}" * 100: 1 for number in range(9)}}
    with pytest.warns(UnknownConfigEntryWarning, match=r"odd_0.* and 4 more\. They are not used") as caught:
        family_and_config(entries)
    assert len(str(caught[0].message)) < 2 * MOST_CHARACTERS


@pytest.mark.parametrize(
    "settings", [{"rope_scaling": {"rope_type": "default", "twist": 2}}, {"rope_parameters": {"twist": 2}}]
)
def test_a_setting_of_the_positions_that_nobody_knows(settings: dict[str, Any]) -> None:
    entries = {**PUBLISHED["mistralai/Mistral-7B-v0.1"], **settings}
    with pytest.warns(UnknownConfigEntryWarning, match=rf"{next(iter(settings))}\.twist"):
        family_and_config(entries)


def test_entries_of_a_part_are_named_with_the_part() -> None:
    entries = copy.deepcopy(PUBLISHED["google/gemma-3-4b-pt"])
    entries["text_config"]["tone"] = "warm"
    with pytest.warns(UnknownConfigEntryWarning, match=r"in a gemma3 model: text_config\.tone\."):
        family_and_config(entries)


def test_what_a_registered_family_has_read_is_known_and_what_it_declares_is_refused() -> None:
    class Mine(LlamaFamily):
        model_type = "mine"
        unsupported_entries = {"twisted": False}  # noqa: RUF012
        harmless_entries = frozenset({"colour"})

        def differences(self, hf_config: Any) -> dict[str, Any]:
            return {"logits_scale": hf_config.get("loudness", 1.0)}

    entries = {**PUBLISHED["HuggingFaceTB/SmolLM2-135M"], "model_type": "mine", "loudness": 2.0, "colour": "red"}
    before = dict(FAMILY_BY_MODEL_TYPE)
    try:
        register_family(Mine())
        assert family_and_config({**entries, "twisted": False})[1].logits_scale == 2.0
        with pytest.raises(ne.errors.UnsupportedCheckpointError, match=r"twisted = True\. Supported: False"):
            family_and_config({**entries, "twisted": True})
        with pytest.warns(UnknownConfigEntryWarning, match="in a mine model: quiet"):
            family_and_config({**entries, "quiet": True})
    finally:
        FAMILY_BY_MODEL_TYPE.clear()
        FAMILY_BY_MODEL_TYPE.update(before)


def test_the_warning_can_be_made_an_error_and_is_the_library_s() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NeuronExplainerWarning)
        with pytest.raises(UnknownConfigEntryWarning):
            family_and_config({**PUBLISHED["openai-community/gpt2"], "odd": 1})


def test_weights_are_not_looked_at_to_refuse_a_config() -> None:
    with pytest.raises(ne.errors.UnsupportedCheckpointError, match="is_causal = False"):
        Transformer.from_hf_config_and_tensors(
            {**PUBLISHED["openai-community/gpt2"], "is_causal": False}, {"a": torch.ones(1)}
        )
