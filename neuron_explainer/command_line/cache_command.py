"""`neuron-explainer cache`: the folder of downloads."""

from typing import Annotated

import typer

from neuron_explainer.command_line.folders import CACHE_PREFIX, cached_datasets_folder
from neuron_explainer.storage.cache_size import SIZE_VARIABLE, bytes_of, cache_limit
from neuron_explainer.storage.disk_cache import CACHE_VARIABLE, default_cache
from neuron_explainer.storage.local import folder_size
from neuron_explainer.wording import in_units


def cache(
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all downloads. Datasets are kept.")] = False,
    shrink_to: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove the downloads used least recently until SIZE is left, such as 5GB."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
) -> None:
    """Show the disk cache, its size and its limit; or shrink or clear it."""
    found = default_cache()
    if found is None:
        typer.echo(f"The cache is off: {CACHE_VARIABLE}=off.")
        return
    downloads = in_units(found.n_bytes())
    if clear:
        if not yes:
            typer.confirm(f"Remove {downloads} of downloads from {found.folder}?", abort=True)
        typer.echo(f"Removed {in_units(found.clear())}.")
        return
    if shrink_to is not None:
        freed = found.trim(bytes_of(shrink_to, "--shrink-to"))
        typer.echo(f"Removed {in_units(freed)}. {in_units(found.n_bytes())} are left.")
        return
    typer.echo(f"folder:    {found.folder}")
    typer.echo(f"downloads: {downloads} of at most {in_units(cache_limit())} ({SIZE_VARIABLE})")
    folder = cached_datasets_folder()
    if folder is not None and folder.is_dir():
        typer.echo(f"datasets:  {in_units(folder_size(folder))} ({CACHE_PREFIX}NAME, in {folder})")
