"""The texts that come with the embedded model, for fits and measurements."""

import gzip
import json
from pathlib import Path

from neuron_explainer.models.model_registry import EMBEDDED_FOLDER


def texts_of_sample() -> list[str]:
    """The texts of the sample, of all its sources in turn."""
    with gzip.open(Path(EMBEDDED_FOLDER) / "sample.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    return [texts[number * 37 % len(texts)] for number in range(len(texts))]
