"""`python -m neuron_explainer.collation --model … --texts … --out …`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError

_CACHE = "cache"


def parser() -> argparse.ArgumentParser:
    """The command's arguments; those left out have the defaults of `neuron_explainer.collation`."""
    made = argparse.ArgumentParser(
        prog="python -m neuron_explainer.collation",
        description="Make a neuron dataset: top activations, random samples and statistics of every component of a "
        "model over texts. Stopped, it goes on where it was when the same command is given again.",
        argument_default=argparse.SUPPRESS,
    )
    made.add_argument("--model", required=True, help="a registered name, a folder, a GGUF file or a hub id")
    made.add_argument(
        "--texts", required=True, nargs="+", help="files or folders of .txt, .jsonl (both perhaps .gz) or .parquet"
    )
    made.add_argument(
        "--out", required=True, help=f"the folder to make; {_CACHE}:NAME is a folder of that name in the user's cache"
    )
    made.add_argument("--dst", help="the derived scalar (default: mlp_post_act)")
    made.add_argument("--layers", type=int, nargs="+", help="default: all")
    for name, words in {
        "context-length": "tokens a sequence (default: 128)",
        "stride": "tokens from one sequence's start to the next (default: the context length)",
        "top-k": "top examples a component (default: 20)",
        "random-k": "random examples a component (default: 10)",
        "quantiles": "groups by peak (default: 4; 0: none)",
        "examples-per-quantile": "examples a group (default: 5)",
        "example-tokens": "tokens around its peak that an example shows (default: 64)",
        "random-example-tokens": "the same for random examples (default: as many)",
        "histogram-bins": "cells a histogram (default: 50)",
        "seed": "of the random samples (default: 0)",
        "batch-tokens": "tokens run at a time (default: 4096)",
        "max-tokens": "tokens used of the texts (default: all)",
        "n-workers": "Ray workers (default: one a CPU or GPU)",
    }.items():
        made.add_argument(f"--{name}", type=int, metavar="N", help=words)
    made.add_argument("--prepend-bos", action="store_true", help="begin every sequence with the beginning token")
    made.add_argument("--text-field", help="the field that holds the text (default: text)")
    made.add_argument("--device", help="cpu, cuda, … (default: a GPU if there is one)")
    made.add_argument("--dtype", help="the type the model runs in: float32 (default), bfloat16, float16, float64")
    made.add_argument("--layout", choices=["packed", "json"], help="default: packed")
    made.add_argument("--activation-dtype", choices=["auto", "float16", "float32"], help="of the examples")
    made.add_argument("--registered-as", help="the dataset's short name (default: the folder's name)")
    made.add_argument("--corpus-name", help="a line about the texts")
    made.add_argument("--checkpoint-seconds", type=float, metavar="N", help="how often to save (default: 300)")
    made.add_argument("--overwrite", action="store_true", help="replace what is there, and any unfinished run")
    made.add_argument("--engine", choices=["local", "ray"], help="default: local")
    made.add_argument("--ray-address", help="a Ray cluster to join (default: one on this machine)")
    made.add_argument("--quiet", action="store_true", help="no progress")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options: dict[str, Any] = vars(parser().parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    from neuron_explainer.collation.api import collate

    if options.pop("quiet", False):
        options["progress"] = False
    texts = [Path(path) for path in options.pop("texts")]
    try:
        out = folder_meant(options.pop("out"))
        made = collate(options.pop("model"), texts[0] if len(texts) == 1 else texts, out, **options)
    except NeuronExplainerError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  (this is a command)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last checkpoint.", file=sys.stderr)  # noqa: T201
        return 130
    print(made)  # noqa: T201
    return 0


def folder_meant(out: str) -> Path:
    """The folder that `--out` names: itself, or one in the user's cache."""
    kind, _, name = out.partition(":")
    if kind != _CACHE or not name:
        return Path(out)
    return cached_dataset_folder(name)


def cached_dataset_folder(name: str) -> Path:
    """Where a dataset of one's own is kept that is in no particular place: a folder in the user's cache.

    Raises:
        InvalidRequestError: the cache is switched off.
    """
    from neuron_explainer.storage.disk_cache import CACHE_VARIABLE, cache_folder

    folder = cache_folder()
    if folder is None:
        raise InvalidRequestError(
            f"There is no cache to put {name!r} in: {CACHE_VARIABLE} switches it off. Name a folder."
        )
    return folder / "datasets" / name


if __name__ == "__main__":
    sys.exit(main())
