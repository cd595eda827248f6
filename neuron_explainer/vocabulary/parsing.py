"""From what a person writes (a member, its name or its value, in any case) to a member of the vocabulary."""

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from neuron_explainer.errors import UnknownNameError

if TYPE_CHECKING:
    from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

EnumT = TypeVar("EnumT", bound=StrEnum)


def member_of(enum: type[EnumT], asked: object, kind: str) -> EnumT:
    """The member that `asked` names, in upper or lower case.

    Args:
        enum: the members to choose from.
        asked: a member, a name such as "MLP_POST_ACT", or a value such as "mlp_post_act".
        kind: what an error calls a member, such as "derived scalar type".

    Raises:
        UnknownNameError: no member has this name or value; the error names the nearest ones.

    >>> from neuron_explainer.vocabulary.nodes import PassType
    >>> member_of(PassType, "FORWARD", "pass type")
    <PassType.FORWARD: 'forward'>
    """
    if isinstance(asked, enum):
        return asked
    if isinstance(asked, str):
        wanted = asked.lower()
        for member in enum:
            if wanted in (member.name.lower(), member.value.lower()):
                return member
    raise UnknownNameError(kind, str(asked), [member.value for member in enum])


def derived_scalar_type_of(asked: "DerivedScalarType | str") -> "DerivedScalarType":
    """The derived scalar type that `asked` names.

    Raises:
        UnknownNameError: no type has this name or value; the error names the nearest ones.

    >>> derived_scalar_type_of("MLP_POST_ACT")
    <DerivedScalarType.MLP_POST_ACT: 'mlp_post_act'>
    """
    from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType  # its methods use `member_of`

    return member_of(DerivedScalarType, asked, "derived scalar type")
