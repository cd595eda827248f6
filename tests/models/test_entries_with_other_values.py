"""Each entry of each family's config class, with another value: the model is right, or the entry is refused by name."""

import copy
import warnings
from typing import Any

import pytest
import torch
import transformers

from benchmarks.small_models import SMALL_CONFIGS
from helpers.installed_transformers import IS_OLD, hf_config_of, model_of
from helpers.other_values import other_harmless_values, other_values
from helpers.tiny_models import ONE_OF_EACH_FAMILY, random_tokens
from neuron_explainer.errors import CheckpointError
from neuron_explainer.models.families.class_entries import ClassEntries, class_entries
from neuron_explainer.models.families.harmless_entries import HARMLESS, OTHER_SPELLINGS, REFUSED_IN_ALL
from neuron_explainer.models.families.registry import FAMILY_BY_MODEL_TYPE, family_and_config
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.notices import UnknownConfigEntryWarning

WITHOUT_NEW_SETTINGS = ("gemma3_text", "olmo3", "cohere2", "ministral", "smollm3", "qwen2", "gemma2", "phi3")
"""Families whose old configs leave out `rope_parameters` and `layer_types`."""

VARIANTS: dict[str, dict[str, Any]] = {
    **SMALL_CONFIGS,
    "qwen3_with_windows": {**SMALL_CONFIGS["qwen3"], "sliding_window": 5, "max_window_layers": 1},
    "smollm3_by_default": {key: value for key, value in SMALL_CONFIGS["smollm3"].items() if key != "layer_types"},
}

OTHER_WORDS = ("must be even", "rope type", "word_embed_proj_dim")
"""Of refusals that do not name the entry that was changed, but what it contradicts."""

Entries = dict[str, Any]


def table_of(name: str) -> ClassEntries:
    model_type = "gemma3_text" if name == "gemma3" else VARIANTS[name]["model_type"]
    table = class_entries(model_type)
    assert table is not None
    return table


def with_entry(base: Entries, name: str, value: Any) -> Entries:
    entries = copy.deepcopy(base)
    part = entries.get("text_config", entries)
    table = class_entries(part["model_type"])
    for alias in () if table is None else [alias for alias, of in table.aliases.items() if of == name]:
        part.pop(alias, None)  # which would win
    part[name] = value
    return entries


def hf_model_of(entries: Entries) -> transformers.PreTrainedModel | None:
    """A model of transformers; None if it cannot have these entries."""
    torch.manual_seed(0)
    try:
        model = model_of(hf_config_of(entries))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
            model(random_tokens(1, 2), use_cache=False)
    except Exception:  # it raises all kinds
        return None
    return model


def check_right_or_refused(entries: Entries, named: str) -> str:
    """What becomes of a config, as a file has it and as a model in memory has it."""
    theirs = hf_model_of(entries)
    if theirs is None:
        return "impossible"
    tokens = random_tokens(1, 24)
    with torch.no_grad():
        expected = theirs(tokens, use_cache=False).logits
    outcome = "right"
    for hf_config in (entries, theirs.config.to_dict()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnknownConfigEntryWarning)
                ours = Transformer.from_hf_config_and_tensors(hf_config, theirs.state_dict())
        except CheckpointError as error:
            if not any(words in str(error) for words in (named, *OTHER_WORDS)):
                raise
            outcome = "refused"
            continue
        with torch.no_grad():
            torch.testing.assert_close(ours(tokens), expected, rtol=0, atol=1e-4 * max(1, float(expected.abs().max())))
    return outcome


def own_entries(name: str) -> list[str]:
    read = {"rope_theta", "rope_scaling", "rope_local_base_freq", "sliding_window_pattern", "head_dim", "is_causal"}
    return sorted({*(entry for entry in table_of(name).entries if entry not in HARMLESS), *read})


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_no_entry_of_the_class_is_passed_over_in_silence(name: str) -> None:
    variants = [each for each in VARIANTS.values() if each["model_type"] == SMALL_CONFIGS[name]["model_type"]]
    family = FAMILY_BY_MODEL_TYPE[variants[0]["model_type"]]
    for entry, default in table_of(name).entries.items():
        values = [True, False] if isinstance(default, bool) else other_values(entry, default)
        if values and entry not in HARMLESS | family.harmless_entries:
            changes = (does_something(variant, entry, value) for variant in variants for value in values)
            assert any(changes), f"{entry} changes nothing and is not refused"


def does_something(base: Entries, entry: str, value: Any) -> bool:
    """Whether a value changes our config, or is refused."""
    try:
        return family_and_config(with_entry(base, entry, value)) != family_and_config(base)
    except CheckpointError:
        return True


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_entries_that_should_change_nothing_change_nothing(name: str) -> None:
    base = SMALL_CONFIGS[name]
    changed = copy.deepcopy(base)
    changed.get("text_config", changed).update(other_harmless_values(table_of(name)))
    first, second = hf_model_of(base), hf_model_of(changed)
    assert first is not None
    assert second is not None
    second.load_state_dict(first.state_dict())
    tokens = random_tokens(1, 24)
    with torch.no_grad():
        torch.testing.assert_close(second(tokens).logits, first(tokens).logits, rtol=0, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", VARIANTS)
def test_each_entry_of_the_class_with_every_other_value(name: str) -> None:
    for entry in own_entries(name):
        for value in other_values(entry, table_of(name).entries.get(entry)):
            check_right_or_refused(with_entry(VARIANTS[name], entry, value), entry)


@pytest.mark.long
@pytest.mark.parametrize("name", WITHOUT_NEW_SETTINGS)
@pytest.mark.parametrize("entry", ["rope_theta", "rope_scaling", "rope_local_base_freq", "sliding_window_pattern"])
def test_old_entries_with_other_values(name: str, entry: str) -> None:
    base = {key: value for key, value in SMALL_CONFIGS[name].items() if key not in ("rope_parameters", "layer_types")}
    for value in other_values(entry, None):
        check_right_or_refused(with_entry(base, entry, value), entry)


@pytest.mark.long
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_entries_of_other_families(name: str) -> None:
    tables = [table for family in FAMILY_BY_MODEL_TYPE if (table := class_entries(family)) is not None]
    defaults = {key: value for table in tables for key, value in table.entries.items()}
    foreign = {*defaults, *(key for table in tables for key in table.aliases), *OTHER_SPELLINGS, *REFUSED_IN_ALL}
    for entry in sorted(foreign - {*table_of(name).entries} - HARMLESS):
        for value in other_values(entry, defaults.get(entry)):
            check_right_or_refused(with_entry(SMALL_CONFIGS[name], entry, value), entry)


@pytest.mark.parametrize(
    ("name", "entry", "value"),
    [
        ("mistral", "layer_types", ["full_attention"] * 3),
        ("phi3", "layer_types", ["full_attention", "sliding_attention", "full_attention"]),
        ("starcoder2", "layer_types", ["full_attention"] * 3),
        ("olmo3", "rope_theta", 50.0),
        ("olmo3", "rope_parameters", {"rope_type": "default", "rope_theta": 50.0}),
        ("gemma3_text", "rope_parameters", {"rope_type": "default", "rope_theta": 50.0}),
        ("gemma3_text", "rope_scaling", {"rope_type": "linear", "factor": 2.0}),
        ("gemma3", "final_logit_softcapping", 1.5),
        ("gpt2", "is_causal", False),
        ("llama", "per_layer_config", {0: {"intermediate_size": 24}}),
        ("gpt_neox", "num_key_value_heads", 2),
        ("gpt_neox", "head_dim", 16),
        ("phi", "head_dim", 16),
        ("cohere2", "use_qk_norm", True),
        ("falcon", "alibi", True),
        ("opt", "do_layer_norm_before", False),
        ("opt", "word_embed_proj_dim", 16),
    ],
)
def test_values_that_are_refused_by_name(name: str, entry: str, value: Any) -> None:
    base = copy.deepcopy(SMALL_CONFIGS[name])
    if entry == "rope_theta":
        del base["rope_parameters"]
    entries = with_entry(base, entry, value)
    with pytest.raises(CheckpointError, match=rf"{entry} (= |is )"):
        family_and_config(entries)


@pytest.mark.parametrize(
    ("name", "entry", "of", "value"),
    [("gpt2", "hidden_size", "n_embd", 32), ("gpt_neo", "num_hidden_layers", "num_layers", 3),
     ("falcon", "n_embed", "hidden_size", 32)],
)  # fmt: skip
def test_other_names_of_entries_are_taken_as_by_transformers(name: str, entry: str, of: str, value: Any) -> None:
    for base in ({**SMALL_CONFIGS[name]}, {key: each for key, each in SMALL_CONFIGS[name].items() if key != of}):
        outcome = check_right_or_refused({**base, entry: value}, entry)
        assert outcome == "right" or (IS_OLD and outcome == "impossible")
