"""Metadata from outside in every architecture: each entry with nasty values is read, or refused by a typed error."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.gguf_families import random_model, write_family
from helpers.gguf_files import NASTY
from helpers.installed_transformers import IS_OLD
from neuron_explainer.errors import CheckpointError
from neuron_explainer.models.checkpoints.gguf import GgufReader
from neuron_explainer.models.checkpoints.gguf_config import config_from_gguf
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.tensor_files.gguf_file import GgufFile

pytestmark = pytest.mark.skipif(IS_OLD, reason="the files are written from configs as transformers 5 spells them")

MORE = (
    "attention.scale", "attention.sliding_window_pattern", "attention.value_length", "rope.scaling.finetuned",
    "rope.dimension_count", "expert_count", "rope.scaling.attn_factor", "rope.scaling.yarn_log_multiplier",
    "rope.scaling.yarn_ext_factor", "rope.scaling.factor", "rope.scale_linear",
    "expert_weights_norm", "expert_weights_scale", "expert_gating_func", "leading_dense_block_count",
)  # fmt: skip
"""Entries that the converter writes for some models only."""


@pytest.mark.parametrize("name", ["gemma3", "ministral3", "phi3", "granite", "gpt_oss"])
def test_every_entry_with_every_nasty_value(name: str, tmp_path: Path) -> None:
    whole = GgufFile.open(write_family(tmp_path / "x.gguf", random_model(name)))
    architecture = whole.metadata["general.architecture"]
    keys = [key for key in whole.metadata if key.startswith(f"{architecture}.")]
    outcomes = set()
    keys += [f"{architecture}.{key}" for key in MORE if f"{architecture}.{key}" not in keys]
    for place, key in enumerate([*keys, "split.count"]):
        for value in NASTY[place % 3 :: 3]:  # a third of the pairs, each value for some keys
            file = replace(whole, metadata={**whole.metadata, key: value})
            try:
                with warnings.catch_warnings(action="ignore"):
                    hf_config = config_from_gguf(file, warns=True)
                _, config = family_and_config(hf_config)
                reader = GgufReader(file, hf_config)
                for tensor in reader.names():
                    reader.shape(tensor)
                assert config.n_layers <= 4096
                outcomes.add("read")
            except CheckpointError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}
