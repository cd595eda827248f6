"""From what a person writes (a member, its name or its value) to a member of the vocabulary."""

from neuron_explainer.errors import UnknownNameError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_members import member_of as member_of


def derived_scalar_type_of(asked: DerivedScalarType | str) -> DerivedScalarType:
    """The derived scalar type that `asked` names.

    Raises:
        UnknownNameError: no type has this name or value; the error names the nearest ones.

    >>> derived_scalar_type_of("MLP_POST_ACT")
    <DerivedScalarType.MLP_POST_ACT: 'mlp_post_act'>
    """
    return member_of(DerivedScalarType, asked, "derived scalar type")


def type_named(value: object) -> DerivedScalarType | None:
    """The derived scalar type that a file names; None if it names none that this version knows."""
    try:
        return derived_scalar_type_of(value) if isinstance(value, str) else None
    except UnknownNameError:
        return None
