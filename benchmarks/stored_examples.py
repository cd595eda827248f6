"""A packed dataset of the size of SmolLM2's, of random numbers, to measure search and statistics on."""

from pathlib import Path

import numpy as np

from neuron_explainer.activations.packed.layout import DatasetInfo, PackedExamples, PackedLayer
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer

N_LAYERS, N_NEURONS, N_TOKENS = 30, 1536, 49_152
N_SEQUENCES, CONTEXT, WINDOW, N_EXAMPLES = 8192, 128, 64, 20


def write_dataset_like_smollm2(folder: Path) -> Path:
    """46,080 neurons with 20 top and 20 random examples of 64 tokens each, in 8,192 texts; tokens are as rare as words.

    Args:
        folder: where it is written; about 270 MB.
    """
    numbers = np.random.default_rng(0)
    folder.mkdir(parents=True)
    info = DatasetInfo(
        model="smollm2-135m",
        derived_scalar_type="mlp_post_act",
        short_name="random",
        user_visible_name="Random numbers",
        n_layers=N_LAYERS,
        layer_indices=list(range(N_LAYERS)),
        n_components=N_NEURONS,
        context_length=CONTEXT,
    )
    write_packed_dataset_info(folder, info, [f" w{number}" for number in range(N_TOKENS)])
    ranks = np.minimum(numbers.zipf(1.2, (N_SEQUENCES, CONTEXT)), N_TOKENS) - 1
    for layer in range(N_LAYERS):
        groups = []
        for _ in ("top", "random"):
            peaks = -np.sort(-numbers.gamma(2.0, 1.0, (N_NEURONS, N_EXAMPLES)), axis=1)
            values = numbers.random((N_NEURONS, N_EXAMPLES, WINDOW), np.float32) ** 6 * peaks[..., None]
            groups.append(
                PackedExamples(
                    numbers.integers(0, N_SEQUENCES, (N_NEURONS, N_EXAMPLES), np.int32),
                    numbers.integers(0, CONTEXT - WINDOW + 1, (N_NEURONS, N_EXAMPLES), np.int32),
                    np.full((N_NEURONS, N_EXAMPLES), WINDOW, np.int32),
                    values.astype(np.float16),
                )
            )
        moments = np.column_stack([numbers.random(N_NEURONS), 1 + numbers.random(N_NEURONS), *np.ones((2, N_NEURONS))])
        write_packed_layer(
            folder,
            layer,
            PackedLayer(
                sequences=ranks.astype(np.int32),
                sequence_lengths=np.full(N_SEQUENCES, CONTEXT, np.int32),
                top=groups[0],
                random=groups[1],
                moments=moments,
                activation_frequency=numbers.random(N_NEURONS),
            ),
        )
    return folder
