"""The fields of CollateSettings as command-line options."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

import typer

from neuron_explainer.collation.settings import CollateSettings, SettingsChanges, default_of, meaning_of
from neuron_explainer.errors import choices_sentence, nearest_first

_SWITCHES = [name for name, kind in get_type_hints(CollateSettings).items() if kind == bool | None]
"""Settings that are on, off, or left to the model."""


def setting_help(name: str) -> str:
    """A setting's meaning and default."""
    return with_default(meaning_of(name), default_of(name))


def with_default(meaning: str, default: object) -> str:
    """An option's help with its default."""
    return f"{meaning} [default: {default}]"


def one_of(choices: Any) -> Callable[[str | None], str | None]:
    """A check that an option's value is one of a Literal's.

    Raises:
        BadParameter: it is not.
    """

    def checked(value: str | None) -> str | None:
        names = list(get_args(choices))
        if value is not None and value not in names:
            raise typer.BadParameter(f"{value!r} is unknown. {choices_sentence(nearest_first(value, names))}")
        return value

    return checked


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add one option for each keyword setting of `collate` to a command, which gets them as its `**` argument.

    An option that is not given is None, or False for a flag.
    """
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    added = [_option(name) for name in SettingsChanges.__annotations__]
    command.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
    return command


def _option(name: str) -> inspect.Parameter:
    field = {each.name: each for each in dataclasses.fields(CollateSettings)}[name]
    flag = f"--{name.replace('_', '-')}"
    annotation: Any
    if name in _SWITCHES:
        switch = typer.Option(f"{flag}/--no-{flag[2:]}", help=setting_help(name), show_default=False)
        annotation = Annotated[bool | None, switch]
    elif field.default is False:
        annotation = Annotated[bool, typer.Option(flag, help=meaning_of(name), show_default=False)]
    else:
        kind = str if get_type_hints(CollateSettings)[name] is str else int
        least, metavar = field.metadata["at_least"], "NAME" if kind is str else "N"
        option = typer.Option(flag, help=setting_help(name), show_default=False, min=least, metavar=metavar)
        annotation = Annotated[kind | None, option]
    default = False if field.default is False else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
