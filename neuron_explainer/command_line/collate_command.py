"""`neuron-explainer collate`: make a neuron dataset."""

import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from neuron_explainer.collation.settings import (
    DEFAULT_ACTIVATION_DTYPE,
    DEFAULT_ENGINE,
    DEFAULT_LAYOUT,
    DEFAULT_SAVE_EVERY_SECONDS,
    ActivationDtype,
    Engine,
    Layout,
)
from neuron_explainer.command_line.folders import dataset_folder
from neuron_explainer.command_line.settings_options import one_of, setting_help, takes_settings, with_default
from neuron_explainer.errors import CollateStopped
from neuron_explainer.models.offload.choices import Offload


def text_path(given: str) -> Path:
    """A path of texts. An empty one, as of an unset variable of the shell, would mean the working directory.

    Raises:
        BadParameter: it is empty.
    """
    if not given:
        raise typer.BadParameter("it is empty. Give a file or a folder.")
    return Path(given)


@takes_settings
def collate(
    model: Annotated[str, typer.Option(metavar="MODEL", help="A registered name, a folder, a GGUF file or a hub id.")],
    texts: Annotated[
        list[Path],
        typer.Option(
            parser=text_path,
            metavar="PATH",
            help="A .txt, .jsonl (also .gz) or .parquet file, or a folder of them. Can be repeated.",
        ),
    ],
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="The folder to make, or cache:NAME for a folder in the user's cache.")
    ],
    *,
    dst: Annotated[str | None, typer.Option(metavar="DST", help=setting_help("dst"))] = None,
    layers: Annotated[
        list[str] | None, typer.Option(metavar="N,N", help=setting_help("layers") + " Can be repeated.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help=with_default("The device: cpu, cuda, cuda:1, mps.", "a GPU if there is one")
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE", help=with_default("The model's dtype: float64, float32, float16, bfloat16.", "float32")
        ),
    ] = None,
    offload: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            callback=one_of(Offload),
            help=with_default("disk: leave the weights in their files, and read a layer at a time.", "in memory"),
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            callback=one_of(Layout),
            help=with_default("packed, or json for one file per component.", DEFAULT_LAYOUT),
        ),
    ] = None,
    activation_dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE",
            callback=one_of(ActivationDtype),
            help=with_default("Dtype of the examples: auto, float16 or float32.", DEFAULT_ACTIVATION_DTYPE),
        ),
    ] = None,
    registered_as: Annotated[
        str | None, typer.Option(metavar="NAME", help=with_default("The dataset's short name.", "the folder's name"))
    ] = None,
    corpus_name: Annotated[str | None, typer.Option(metavar="TEXT", help="One line about the texts.")] = None,
    save_every_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help=with_default("Seconds from one save of the work to the next.", DEFAULT_SAVE_EVERY_SECONDS),
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="ENGINE", callback=one_of(Engine), help=with_default("local or ray.", DEFAULT_ENGINE)),
    ] = None,
    n_workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=with_default("Ray workers.", "one for each CPU or GPU"))
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help=with_default("The Ray cluster to join.", "one on this machine")),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the dataset and an unfinished run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    **settings: Any,
) -> None:
    """Make a neuron dataset from a model and texts.

    The dataset has the top examples, random examples and statistics of every component. A run that was stopped goes on
    when the same command is given again. Prints the dataset's folder.
    """
    options = {
        "dst": dst,
        "layers": None if layers is None else layer_indices(layers),
        "device": device,
        "dtype": dtype,
        "offload": offload,
        "layout": layout,
        "activation_dtype": activation_dtype,
        "registered_as": registered_as,
        "corpus_name": corpus_name,
        "save_every_seconds": save_every_seconds,
        "engine": engine,
        "n_workers": n_workers,
        "ray_address": ray_address,
        "progress": False if quiet else None,
    }
    given = {name: value for name, value in (options | settings).items() if value is not None}
    folder = dataset_folder(out)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    _end_as_by_interrupt()
    from neuron_explainer.collation import api

    try:
        made = api.collate(model, texts[0] if len(texts) == 1 else texts, folder, overwrite=overwrite, **given)
    except CollateStopped as stop:
        saved = "Stopped. The work is saved: run the same command again to go on."
        typer.echo(saved if stop.folder is not None else str(stop), err=True)
        raise typer.Exit(130) from None
    typer.echo(made)


def _end_as_by_interrupt() -> None:
    """Let the work be saved when the system ends this process (a scheduler, a closed terminal), as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        return  # only it may set handlers
    for ending in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(ending) is signal.SIG_DFL:  # not so under nohup
            signal.signal(ending, interrupt)


def layer_indices(given: list[str]) -> list[int]:
    """The layers of one or several comma-separated lists.

    Raises:
        BadParameter: a part is not a whole number.

    >>> layer_indices(["0,2", "5"])
    [0, 2, 5]
    """
    parts = [part.strip() for each in given for part in each.split(",")]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise typer.BadParameter(f"{wrong[0]!r} is not a layer. Give numbers such as 0,2.", param_hint="--layers")
    return [int(part) for part in parts]
