"""Collating on a GPU: the same neuron dataset as on the CPU."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import neuron_explainer as ne
from benchmarks.gpu.checks import Check
from benchmarks.small_models import VOCABULARY_SIZE, small_context
from neuron_explainer.activations.packed.dataset import PackedDataset

LARGEST_ERROR = 1e-4
"""Relative to the largest activation of a component."""

DSTS = (ne.DerivedScalarType.MLP_POST_ACT, ne.DerivedScalarType.ATTN_WRITE_NORM)


def texts(n_texts: int) -> list[str]:
    """Random texts of 30 tokens."""
    numbers = torch.randint(0, VOCABULARY_SIZE, (n_texts, 30), generator=torch.Generator().manual_seed(0))
    return [" ".join(f"t{number}" for number in text) for text in numbers.tolist()]


def collated(family: str, device: torch.device, dst: ne.DerivedScalarType, out: Path, n_texts: int) -> PackedDataset:
    """A dataset of all layers, in float32."""
    settings: dict[str, Any] = {"context_length": 16, "top_k": 5, "random_k": 5, "batch_tokens": 256}
    ne.collate(
        small_context(family, device),
        texts(n_texts),
        out,
        dst=dst,
        activation_dtype="float32",
        registered_as=f"checked {out.name}",
        progress=False,
        **settings,
    )
    return PackedDataset.open(out)


def check_collating(families: Sequence[str], device: torch.device, n_texts: int = 40) -> Iterator[Check]:
    """Collate neurons and heads: the same random examples, peaks and statistics."""
    for family in families:
        for dst in DSTS:
            with tempfile.TemporaryDirectory() as folder:
                expected = collated(family, torch.device("cpu"), dst, Path(folder) / f"{family} cpu", n_texts)
                found = collated(family, device, dst, Path(folder) / f"{family} device", n_texts)
                worst, wrong, n_components = _differences(expected, found)
            detail = f"{n_components} components; largest error {worst:.1e}, at most {LARGEST_ERROR:.0e}"
            if wrong:
                detail += f"; other random examples for {', '.join(wrong[:5])}"
            yield Check(f"collating, {family}, {dst.value}", worst <= LARGEST_ERROR and not wrong, detail)


def _differences(expected: PackedDataset, found: PackedDataset) -> tuple[float, list[str], int]:
    """The largest error of peaks, means and variances; components with other random examples; how many there are."""
    worst, wrong, n_components = 0.0, [], 0
    for layer in expected.info.layer_indices:
        for component in range(expected.n_components(layer)):
            n_components += 1
            theirs, ours = expected.record(layer, component), found.record(layer, component)
            if [example.tokens for example in theirs.random_sample] != [
                example.tokens for example in ours.random_sample
            ]:
                wrong.append(f"{component} of layer {layer}")
            scale = max(abs(theirs.max_activation or 0.0), 1e-3)
            pairs = [
                *zip(_peaks(theirs), _peaks(ours), strict=True),
                (theirs.mean, ours.mean),
                (theirs.variance, ours.variance),
            ]
            worst = max(worst, *(abs(float(a or 0) - float(b or 0)) / max(scale, scale**2) for a, b in pairs))
    return worst, wrong, n_components


def _peaks(record: ne.NeuronRecord) -> list[float | None]:
    return [example.max_activation for example in record.most_positive_activation_records]
