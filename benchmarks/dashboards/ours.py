"""`ne.collate` of the same latents: as many examples, groups and tokens as SAEDashboard's defaults have, on disk."""

import json
import tempfile
from pathlib import Path

import torch

import neuron_explainer as ne
from benchmarks.dashboards.weights import CONTEXT, LAYER, N_LATENTS
from neuron_explainer.collation.runs.scalar_source import ScalarSource
from neuron_explainer.collation.settings import DEFAULT_ACTIVATION_DTYPE, ActivationDtype, CollateSettings

DST = ne.DerivedScalarType.ONLINE_AUTOENCODER_LATENT
EXAMPLES = {
    "context_length": CONTEXT, "prepend_bos": False,
    "top_k": 20, "random_k": 0, "quantiles": 10, "examples_per_quantile": 5,
}  # fmt: skip
"""As SAEDashboard: 20 top examples, and 5 in each of 10 groups."""
EXAMPLE_TOKENS = 11
"""Its examples have 5 tokens before the peak and 5 after it."""


class Side:
    """The model, the autoencoder, and the tokens as texts, which collating takes."""

    def __init__(self, folder: Path) -> None:
        self.context = ne.load_model(folder / "gpt2", device="cpu")
        autoencoders = ne.load_autoencoders(folder / "autoencoder", model=self.context)
        self.config = ne.DstConfig(model_context=self.context, autoencoder_context=autoencoders)
        self.tokens = torch.tensor(json.loads((folder / "tokens.json").read_text()))
        self.texts = [" ".join(f"t{token}" for token in row) for row in self.tokens.tolist()]

    def collated(self, folder: Path, whole_sequences: bool, dtype: ActivationDtype = DEFAULT_ACTIVATION_DTYPE) -> Path:
        """The dataset in a folder, with the tokens of the texts encoded anew."""
        return ne.collate(
            self.context,
            self.texts,
            folder / "made",
            DST,
            config=self.config,
            settings=EXAMPLES | {"example_tokens": CONTEXT if whole_sequences else EXAMPLE_TOKENS},
            activation_dtype=dtype,
            progress=False,
        )

    def run(self, whole_sequences: bool) -> None:
        """The dataset, written and taken away."""
        with tempfile.TemporaryDirectory() as folder:
            self.collated(Path(folder), whole_sequences)

    def passes(self) -> None:
        """The model and the latents alone, in the batches of a run: nothing is counted, kept or written."""
        source = ScalarSource(self.context, DST, [LAYER], self.config)
        for batch in self.tokens.split(CollateSettings().batch_tokens // CONTEXT):
            source(batch, torch.ones_like(batch, dtype=torch.bool))

    def maxima(self) -> list[float]:
        """The largest activation of each latent, out of the dataset."""
        with tempfile.TemporaryDirectory() as folder:
            made = self.collated(Path(folder), False, "float32")
            records = (ne.load_neuron(made, LAYER, latent) for latent in range(N_LATENTS))
            return [
                max(max(each.activations) for each in record.most_positive_activation_records) for record in records
            ]
