"""Base classes for the pydantic models of this package."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

ModelT = TypeVar("ModelT", bound=BaseModel)


class CamelCaseBaseModel(BaseModel):
    """A model whose JSON keys are camelCase. Its constructor accepts both spellings.

    >>> class Node(CamelCaseBaseModel):
    ...     layer_index: int
    >>> Node(layer_index=3).model_dump_json(by_alias=True)
    '{"layerIndex":3}'
    """

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
    """A model that is hashed by its type and its fields' values, including lists and dicts.

    Equal models have equal hashes. Do not change a model that is a key of a dict; `immutable` prevents it.
    """

    def __hash__(self) -> int:
        return hash((type(self), *((name, _hashable(getattr(self, name))) for name in type(self).model_fields)))


def immutable(cls: type[ModelT]) -> type[ModelT]:
    """Class decorator that makes instances immutable: assigning to a field raises `pydantic.ValidationError`."""
    cls.model_config["frozen"] = True
    cls.model_rebuild(force=True)
    return cls
