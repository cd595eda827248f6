"""Members of the vocabulary are found by name, value or words; what is wrong is answered with what is right."""

import copy
import pickle
from enum import StrEnum

import pytest

from neuron_explainer.activations.derived_scalars.loss import LossFnName
from neuron_explainer.activations.derived_scalars.trace_config import AttentionTraceType, PreOrPostAct
from neuron_explainer.errors import UnknownNameError
from neuron_explainer.models.inference_engine_type_registry import InferenceEngineType
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import NamedMembers, member_of
from neuron_explainer.vocabulary.nodes import AttnSubNode, LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.vocabulary.weights import WeightLocationType

ENUMS = [
    ActivationLocationType,
    AttentionTraceType,
    AttnSubNode,
    DerivedScalarType,
    Dimension,
    InferenceEngineType,
    LocationWithinLayer,
    LossFnName,
    NodeType,
    PassType,
    PreOrPostAct,
    WeightLocationType,
]


@pytest.mark.parametrize("enum", ENUMS)
def test_every_way_to_write_a_member_finds_that_member(enum: type[StrEnum]) -> None:
    assert issubclass(enum, NamedMembers)
    for member in enum:
        spellings = {member.name, member.value, member.name.lower(), str(getattr(member, "label", member.value))}
        spellings |= {member.name.replace("_", " ").title(), member.value.replace("_", "-")}
        for spelling in spellings:
            assert member_of(enum, spelling, "member") is enum(spelling) is enum[spelling] is member
        assert pickle.loads(pickle.dumps(member)) is copy.deepcopy(member) is member


@pytest.mark.parametrize("enum", ENUMS)
def test_what_is_not_a_member_is_refused(enum: type[StrEnum]) -> None:
    for wrong in ("no such member", 5, None, []):
        with pytest.raises(UnknownNameError):
            member_of(enum, wrong, "member")
        with pytest.raises(ValueError, match=enum.__name__):
            enum(wrong)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        enum["no such member"]
    assert not hasattr(enum, "NO_SUCH_MEMBER")
    assert not hasattr(enum, "_no_such_member")


def test_the_nearest_names_are_told() -> None:
    with pytest.raises(AttributeError, match=r"has no 'MLP_WRITENORM'\. Did you mean: MLP_WRITE_NORM"):
        DerivedScalarType.__getattr__("MLP_WRITENORM")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Did you mean: mlp_write_norm"):
        DerivedScalarType("mlp_writenorm")
    with pytest.raises(UnknownNameError, match=r"^5 is of type int\. Give the name of a derived scalar type\.$"):
        member_of(DerivedScalarType, 5, "derived scalar type")
