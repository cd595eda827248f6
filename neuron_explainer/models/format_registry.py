"""Adding a format to a list of formats: of checkpoints, or of autoencoders."""

from typing import Protocol, TypeVar, runtime_checkable

from neuron_explainer.errors import InvalidRequestError


@runtime_checkable
class NamedFormat(Protocol):
    """All that the lists need of a format: its name."""

    name: str


FormatT = TypeVar("FormatT", bound=NamedFormat)


def add_format(formats: list[FormatT], added: FormatT, *, replace: bool) -> None:
    """Put a format at the front of a list, so that it is asked first.

    Raises:
        InvalidRequestError: a format of this name is in the list and `replace` is not set.
    """
    same_name = [known for known in formats if known.name == added.name]
    if same_name and not replace:
        raise InvalidRequestError(
            f"A format named {added.name!r} exists already. Choose another name, or pass replace=True."
        )
    formats[:] = [added, *(known for known in formats if known not in same_name)]
