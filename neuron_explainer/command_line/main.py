"""The command `neuron-explainer`: its subcommands, and how it reports errors."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from neuron_explainer._version import __version__
from neuron_explainer.command_line.cache_command import cache
from neuron_explainer.command_line.collate_command import collate
from neuron_explainer.command_line.dataset_commands import convert, datasets, verify
from neuron_explainer.command_line.explain_command import explain
from neuron_explainer.command_line.site_command import site
from neuron_explainer.errors import NeuronExplainerError, choices_sentence, nearest_first

NAME = "neuron-explainer"

_ENDINGS = (typer.Exit, typer.Abort)


class CommandGroup(TyperGroup):
    """Suggests the commands nearest to an unknown one. An error is one line on standard error, with exit status 2."""

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run the command, and exit unless `standalone_mode` is off."""
        options["standalone_mode"] = False
        if not standalone_mode:
            return super().main(*args, **options)
        try:
            status = super().main(*args, **options)
        except typer.Abort:
            typer.echo("Nothing was done.", err=True)
            sys.exit(1)
        except OSError as error:  # of the help, and of other output outside of a subcommand
            typer.echo(f"{NAME}: {error}", err=True)
            sys.exit(2)
        except Exception as error:
            if not hasattr(error, "format_message"):  # errors of the command-line library have it
                raise
            _report_usage_error(error)
            sys.exit(2)
        sys.exit(status if isinstance(status, int) else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The subcommand that the first argument names."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            choices = nearest_first(args[0], self.list_commands(ctx))
            ctx.fail(f"Unknown command {args[0]!r}. {choices_sentence(choices)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader closed the pipe, and wants no more
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (Python flushes it at the end)
            raise typer.Exit(141) from None
        except Exception as error:
            if ctx.params.get("traceback") or hasattr(error, "format_message") or isinstance(error, _ENDINGS):
                raise  # errors and endings of the command-line library are not failures of the command
            own = isinstance(error, NeuronExplainerError | OSError)
            said = " ".join(str(error).split()) or "it says nothing more"
            what = said if own else f"{type(error).__name__}: {said} (the option --traceback shows where)"
            typer.echo(f"{NAME}: {what}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(130) from None


def _report_usage_error(error: Any) -> None:
    """One line for a call that is wrong; the whole help for a call without arguments."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else NAME
    message = " ".join(error.format_message().split())
    typer.echo(f"{path}: {message} See `{path} --help`.", err=True)


app = typer.Typer(
    name=NAME,
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (collate, verify, convert, datasets, explain, site, cache):
    app.command()(command)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def options(
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show an error with the lines of code that led to it.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Look inside language models: make, check and convert neuron datasets."""


def main() -> None:
    """Run the command with the process's arguments, and exit."""
    sys.exit(app(prog_name=NAME))
