"""Make the neuron datasets of the embedded model from the embedded text sample.

Usage: python tools/build_embedded_dataset.py [--model FOLDER] [--output FOLDER]

Reads neuron_explainer/data/tiny (config.json, model.safetensors, tokenizer.json, sample.jsonl.gz) and writes
mlp_post_act/ (all MLP neurons) and attn_write_norm/ (all attention heads, by token pair) beside them. The texts, the
model and the settings are all in the package, so that anyone can compute every number again. It takes a minute or two.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import neuron_explainer as ne
from neuron_explainer.models.model_context import ModelContext

DATA = Path(__file__).resolve().parents[1] / "neuron_explainer" / "data"
MAX_BYTES = 8_200_000
"""The limit for all files of neuron_explainer/data."""

TOKENS_PER_CORPUS = 24_000
CORPUS_NAME = (
    "Held-out text of the four corpora that the model was trained on, in equal parts: Jane Austen, King James Bible, "
    "Python documentation, WordNet glosses"
)
COMMON: dict[str, Any] = {
    "top_k": 20,
    "random_k": 15,
    "quantiles": 3,
    "examples_per_quantile": 1,
    "histogram_bins": 16,
    "activation_dtype": "float16",
    "corpus_name": CORPUS_NAME,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "mlp_post_act": COMMON | {"context_length": 64, "example_tokens": 32, "random_example_tokens": 10},
    "attn_write_norm": COMMON | {"context_length": 24},
}


def balanced_texts(sample: Path, model: ModelContext, tokens_per_corpus: int = TOKENS_PER_CORPUS) -> list[str]:
    """The sample's documents, in order: `tokens_per_corpus` tokens of each corpus; its last document is cut there."""
    left: dict[str, int] = {}
    texts = []
    with gzip.open(sample, "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            budget = left.setdefault(document["corpus"], tokens_per_corpus)
            tokens = model.encode(document["text"])[:budget]
            left[document["corpus"]] -= len(tokens)
            if tokens:
                texts.append(model.decode(tokens))
    return texts


def build(source: Path, output: Path) -> None:
    """Make and verify both datasets."""
    model = ne.load_model(source, name="tiny")
    texts = balanced_texts(source / "sample.jsonl.gz", model)
    for dst, settings in SETTINGS.items():
        made = output / f"{dst}.new"
        ne.collate(model, texts, made, dst=dst, registered_as="tiny-new", overwrite=True, **settings)
        print(ne.verify(made, n=40, model=model))
        described = json.loads((made / "dataset.json").read_text())
        described["short_name"] = "tiny"
        (made / "dataset.json").write_text(json.dumps(described, indent=1) + "\n")
        shutil.rmtree(output / dst, ignore_errors=True)
        made.rename(output / dst)
        print(f"{dst}: {folder_bytes(output / dst):,} bytes, {described['provenance']['corpus']['n_tokens']:,} tokens")


def folder_bytes(folder: Path) -> int:
    """The size of all files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Build, and fail if the result exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=DATA / "tiny", help="the model's folder, with the text sample")
    parser.add_argument("--output", type=Path, default=DATA / "tiny", help="the folder to write the datasets into")
    arguments = parser.parse_args()
    build(arguments.model, arguments.output)
    total = folder_bytes(DATA)
    print(f"{DATA.name}: {total:,} bytes of at most {MAX_BYTES:,}")
    if total > MAX_BYTES:
        sys.exit(f"That exceeds the limit of {MAX_BYTES:,} bytes. Keep fewer examples or tokens.")


if __name__ == "__main__":
    main()
