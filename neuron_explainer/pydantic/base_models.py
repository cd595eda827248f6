"""The three pieces that the project's wire models are built from."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

ModelT = TypeVar("ModelT", bound=BaseModel)


class CamelCaseBaseModel(BaseModel):
    """A model whose JSON keys are camelCase; it is constructed with either spelling."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def _hashable(value: object) -> object:
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, set):
        return frozenset(_hashable(item) for item in value)
    return value


class HashableBaseModel(BaseModel):
    """A model that hashes by its type and its fields' values, lists and dicts among them.

    Equal models have equal hashes. Change no field of one that is a key of a dict: `immutable` sees to that.
    """

    def __hash__(self) -> int:
        return hash((type(self), *((name, _hashable(getattr(self, name))) for name in type(self).model_fields)))


def immutable(cls: type[ModelT]) -> type[ModelT]:
    """Class decorator: assigning to a field of an instance raises `pydantic.ValidationError`."""
    cls.model_config["frozen"] = True
    cls.model_rebuild(force=True)
    return cls
