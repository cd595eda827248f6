"""Enums whose members are found by what a person writes: a member, its name, its value or its words."""

import re
from enum import EnumType, StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from neuron_explainer.errors import UnknownMemberError, UnknownNameError, choices_sentence, nearest_first

EnumT = TypeVar("EnumT", bound=StrEnum)


def member_of(enum: type[EnumT], asked: object, kind: str) -> EnumT:
    """The member that `asked` names, in upper or lower case, its words joined in any way.

    Args:
        enum: the members to choose from.
        asked: a member, a name such as "MLP_POST_ACT", a value such as "mlp_post_act", or its words, "mlp post act";
            for an axis also its label.
        kind: what an error calls a member, such as "derived scalar type".

    Raises:
        UnknownNameError: no member has this name or value; the error names the nearest ones.

    >>> from neuron_explainer.vocabulary.nodes import PassType
    >>> member_of(PassType, "FORWARD", "pass type")
    <PassType.FORWARD: 'forward'>
    """
    member = _found(enum, asked)
    if member is None:
        raise UnknownNameError(kind, asked, _values_and_labels(enum))
    return member


def _found(enum: type[EnumT], asked: object) -> EnumT | None:
    if isinstance(asked, enum):
        return asked
    if isinstance(asked, str):
        exact = enum._value2member_map_.get(asked)
        if isinstance(exact, enum):
            return exact
        by_words = _members_by_words(enum)
        words = _joined_words(asked)
        # "ActivationLocationType.MLP_POST_ACT" is how Python writes a member.
        return by_words.get(words) or by_words.get(words.removeprefix(f"{enum.__name__.lower()}_"))
    return None


@cache
def _members_by_words(enum: type[EnumT]) -> dict[str, EnumT]:
    """Each member by its name, value and label, their words joined. Where two share one, it is the earlier member's.

    A label may be in the singular: "head" is the axis of the heads.
    """
    names = (
        (member, name)
        for member in enum
        for name in (member.name, member.value, _label(member), getattr(member, "label", "").removesuffix("s"))
        if name
    )
    return {_joined_words(name): member for member, name in reversed(list(names))}


def _joined_words(text: str) -> str:
    return re.sub(r"[\s_.-]+", "_", text.strip().lower())


def _label(member: StrEnum) -> str:
    """What tables call an axis; other members are called by their values."""
    return str(getattr(member, "label", member.value))


def _values_and_labels(enum: type[StrEnum]) -> list[str]:
    return list(dict.fromkeys(text for member in enum for text in (_label(member), member.value)))


class _NamedMembersType(EnumType):
    """The class of enums whose members are found by name in any case; a wrong name is answered with the nearest."""

    def __getitem__(cls, name: Any) -> Any:
        return member_of(cast("type[StrEnum]", cls), name, cls.__name__)

    if not TYPE_CHECKING:  # a type checker would take every name for a member

        def __getattr__(cls, name: str) -> Any:
            members = {} if name.startswith("_") else cls.__dict__.get("_member_map_", {})
            if name in members:
                return members[name]
            advice = f" {choices_sentence(nearest_first(name, members))}" if members else ""
            raise AttributeError(f"{cls.__name__} has no {name!r}.{advice}")


class NamedMembers(StrEnum, metaclass=_NamedMembersType):
    """An enum of the vocabulary. `Enum("a name")` and `Enum["a name"]` take what `member_of` takes."""

    @classmethod
    def _missing_(cls, value: object) -> Self:
        member = _found(cls, value)
        if member is None:
            raise UnknownMemberError(cls.__name__, value, _values_and_labels(cls))
        return member
