"""Arguments and options that commands share: a dataset, and which of its components."""

from typing import Annotated

import typer

from neuron_explainer.command_line.settings_options import with_default

DatasetArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="A registered name, the dataset's folder, or cache:NAME for a folder in the user's cache.",
    ),
]
NodesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--node", metavar="NAME", help=with_default("A component, as L5N131; may be given several times.", "all")
    ),
]
LayersOption = Annotated[
    list[int] | None,
    typer.Option("--layer", metavar="N", help=with_default("A layer; may be given several times.", "all")),
]
DstOption = Annotated[
    str | None, typer.Option(metavar="DST", help=with_default("Derived scalar type.", "the dataset's"))
]
