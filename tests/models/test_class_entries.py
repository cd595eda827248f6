"""The written-down entries of config classes are those of the installed transformers, and of its older releases."""

import pytest
import transformers

from helpers.installed_transformers import IS_OLD, or_skipped
from neuron_explainer.models.families.class_entries import class_entries
from neuron_explainer.models.families.harmless_entries import HARMLESS, HARMLESS_VALUES, OTHER_SPELLINGS, REFUSED_IN_ALL
from neuron_explainer.models.families.registry import FAMILY_BY_MODEL_TYPE, family_and_config
from neuron_explainer.models.families.unsupported_types import REASON_BY_MODEL_TYPE

REMEDY = "Run tools/make_class_entries.py. What no family reads is then refused, unless it is harmless."


@pytest.mark.parametrize("model_type", or_skipped(sorted(FAMILY_BY_MODEL_TYPE)))
def test_every_entry_of_the_installed_class_is_known(model_type: str) -> None:
    table = class_entries(model_type)
    assert table is not None, REMEDY
    kind = transformers.CONFIG_MAPPING[model_type]
    harmless = FAMILY_BY_MODEL_TYPE[model_type].harmless_entries | HARMLESS | {*HARMLESS_VALUES}
    known = {*table.entries, *table.aliases, *OTHER_SPELLINGS, *REFUSED_IN_ALL} | harmless
    assert not set(kind().to_dict()) - known, REMEDY
    assert kind.attribute_map.items() <= table.aliases.items(), REMEDY


@pytest.mark.skipif(IS_OLD, reason="old config classes do not say their defaults outside of their functions")
@pytest.mark.parametrize("model_type", or_skipped(sorted(FAMILY_BY_MODEL_TYPE)))
def test_the_defaults_are_those_of_the_installed_class(model_type: str) -> None:
    table = class_entries(model_type)
    assert table is not None
    kind = transformers.CONFIG_MAPPING[model_type]
    checked = {name: value for name, value in table.entries.items() if value is not None and name not in HARMLESS}
    assert {name: getattr(kind, name) for name in checked if hasattr(kind, name)} == checked, REMEDY


@pytest.mark.parametrize("model_type", sorted(REASON_BY_MODEL_TYPE))
def test_a_type_that_is_not_supported_is_refused_with_the_reason(model_type: str) -> None:
    assert model_type not in FAMILY_BY_MODEL_TYPE
    with pytest.raises(ValueError, match=f"'{model_type}' is not supported: .*Choose one of: "):
        family_and_config({"model_type": model_type})
