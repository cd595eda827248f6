"""`neuron-explainer site`."""

from typing import Annotated

import typer

from neuron_explainer.command_line.dataset_options import DatasetArgument, DstOption, LayersOption, NodesOption
from neuron_explainer.command_line.folders import named_dataset
from neuron_explainer.command_line.settings_options import with_default


def site(
    dataset: DatasetArgument,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder to write, new or with this site.")],
    *,
    layer: LayersOption = None,
    node: NodesOption = None,
    dst: DstOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=with_default("For what components write and read: a name, a folder, a GGUF file or a hub id.", "none"),
        ),
    ] = None,
    explanations: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help=with_default("Published explanations.", "those of the dataset")),
    ] = None,
    examples: Annotated[int, typer.Option(metavar="N", help="How many top examples a page shows.")] = 6,
    title: Annotated[
        str | None, typer.Option(metavar="TITLE", help=with_default("The site's title.", "the dataset's name"))
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove another site in the folder.")] = False,
) -> None:
    """Write a static site: a page for each component, an index with a search, and lists.

    Prints the first page. A stopped export goes on when it is called again.
    """
    from neuron_explainer.views.site.export import export_site

    made = export_site(
        named_dataset(dataset),
        folder,
        layer or None,
        node or None,
        dst=dst,
        model=model,
        explanations=explanations,
        examples=examples,
        title=title,
        overwrite=overwrite,
    )
    typer.echo(made.path / "index.html")
