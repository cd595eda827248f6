"""`neuron-explainer verify`, `convert` and `datasets`."""

import json
from typing import Annotated, Any

import typer

from neuron_explainer.collation.settings import (
    DEFAULT_CONVERTED_DTYPE,
    DEFAULT_VERIFIED_RECORDS,
    ConvertedDtype,
    Layout,
)
from neuron_explainer.command_line.dataset_options import DatasetArgument
from neuron_explainer.command_line.folders import dataset_folder, named_dataset
from neuron_explainer.command_line.settings_options import one_of, with_default
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

_DST = DerivedScalarType.MLP_POST_ACT.value


def verify(
    dataset: DatasetArgument,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=with_default("A registered name, a folder, a GGUF file or a hub id.", "the dataset's model"),
        ),
    ] = None,
    n: Annotated[
        int, typer.Option("--records", "-n", min=1, metavar="N", help="How many records to check.")
    ] = DEFAULT_VERIFIED_RECORDS,
    dst: Annotated[
        str, typer.Option(metavar="DST", help=with_default("Derived scalar type of a registered name.", _DST))
    ] = _DST,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random choice of records.")] = 0,
) -> None:
    """Check a packed dataset against its model.

    Computes some records again and prints the largest difference.
    """
    from neuron_explainer.collation import verification

    typer.echo(verification.verify(named_dataset(dataset), n, dst=dst, model=model, seed=seed))


def convert(
    dataset: DatasetArgument,
    out: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder to make, or cache:NAME.")],
    *,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            callback=one_of(Layout),
            help=with_default("packed or json.", "the layout that the dataset does not have"),
        ),
    ] = None,
    dst: Annotated[
        str | None,
        typer.Option(
            metavar="DST",
            help="Derived scalar type of JSON files, needed unless collate made them; or of a registered name.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Model of JSON files; needed for files that collate did not make."),
    ] = None,
    short_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=with_default("Short name of the packed dataset.", "its old one")),
    ] = None,
    activation_dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE",
            callback=one_of(ConvertedDtype),
            help=with_default("Dtype of activations: float32 or float16.", DEFAULT_CONVERTED_DTYPE),
        ),
    ] = None,
) -> None:
    """Convert between packed and JSON datasets.

    Prints the new folder.
    """
    options: dict[str, Any] = {
        "layout": layout,
        "dst": dst,
        "model": model,
        "short_name": short_name,
        "activation_dtype": activation_dtype,
    }
    given = {name: value for name, value in options.items() if value is not None}
    from neuron_explainer.collation import conversion

    typer.echo(conversion.convert(named_dataset(dataset), dataset_folder(out), **given))


def datasets(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list with one object per dataset.")] = False
) -> None:
    """List the registered neuron datasets."""
    from neuron_explainer.activation_server.neuron_datasets import datasets as registered

    table = registered()
    if as_json:
        typer.echo(json.dumps(json.loads(table.to_json(orient="records")), indent=2))
    else:
        typer.echo(table.to_string(index=False))
