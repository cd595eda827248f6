"""The embedded dataset says what the embedded model does: its records computed again from what the package ships."""

import importlib.util
import json
from types import ModuleType

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.paths import REPOSITORY
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.collation import verify
from neuron_explainer.collation.corpus.windows import windows_of
from neuron_explainer.collation.runs.provenance import model_identity
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.models.model_context import StandardModelContext

DATA = REPOSITORY / "neuron_explainer" / "data"
LAYER, NEURONS = 1, [7, 200, 355]


@pytest.fixture(scope="module")
def tiny() -> StandardModelContext:
    torch.set_num_threads(1)
    return ne.load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "build_embedded_dataset", REPOSITORY / "tools" / "build_embedded_dataset.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dst", ["mlp_post_act", "attn_write_norm"])
def test_its_sequences_give_its_activations(tiny: StandardModelContext, dst: str) -> None:
    report = verify(DATA / "tiny" / dst, n=16, model=tiny)
    assert report.n_records == 16
    assert report.n_examples == 16 * (20 + 15 + 3)
    # Activations are kept as float16, which has 11 binary digits.
    assert report.largest_difference <= report.largest_activation * 2**-11


def test_its_statistics_are_those_of_the_embedded_text(tiny: StandardModelContext, builder: ModuleType) -> None:
    info = PackedDataset.open(DATA / "tiny" / "mlp_post_act").info
    texts = builder.balanced_texts(DATA / "tiny" / "sample.jsonl.gz", tiny)
    asked = CollateSettings(context_length=info.context_length)
    sequences = [window for text in texts for window in windows_of(tiny.encode(text), asked)]
    assert sum(map(len, sequences)) == info.provenance["corpus"]["n_tokens"]
    model, place = tiny.get_or_create_model(), ne.ActivationLocationType.MLP_POST_ACT
    values: list[np.ndarray] = []
    for begin in range(0, len(sequences), 64):
        part = sequences[begin : begin + 64]
        lengths = torch.tensor([len(sequence) for sequence in part])
        tokens = torch.zeros(len(part), int(lengths.max()), dtype=torch.int64)
        for row, sequence in enumerate(part):
            tokens[row, : len(sequence)] = torch.tensor(sequence)
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        with model.record([(place, LAYER)]) as recording:
            model(tokens, attention_mask=mask, logits_at=None)
        for row, length in enumerate(lengths.tolist()):
            values.append(recording[place, LAYER][row, :length, NEURONS].double().numpy())
    for column, neuron in enumerate(NEURONS):
        record = ne.load_neuron("tiny", LAYER, neuron)
        everywhere = np.concatenate([each[:, column] for each in values])
        deviation = everywhere - everywhere.mean()
        variance = (deviation**2).mean()
        assert record.mean == pytest.approx(everywhere.mean(), rel=1e-4)
        assert record.variance == pytest.approx(variance, rel=1e-4)
        assert record.skewness == pytest.approx((deviation**3).mean() / variance**1.5, rel=1e-4)
        assert record.kurtosis == pytest.approx((deviation**4).mean() / variance**2, rel=1e-4)
        assert record.activation_frequency == pytest.approx((everywhere > 0).mean(), rel=1e-3)
        peaks = np.sort([each[:, column].max() for each in values])[::-1]
        shown = [example.max_activation for example in record.most_positive_activation_records]
        assert shown == pytest.approx(peaks[:20], rel=2**-11)
        assert record.quantile_boundaries is not None
        assert record.quantile_boundaries[-1] == pytest.approx(peaks[0], rel=1e-5)


def test_it_is_what_its_tool_makes_now(builder: ModuleType, tiny: StandardModelContext) -> None:
    for dst, settings in builder.SETTINGS.items():
        made_with = json.loads((DATA / "tiny" / dst / "dataset.json").read_text())["provenance"]
        for name, value in settings.items():
            assert name not in made_with["settings"] or made_with["settings"][name] == value
        assert made_with["model"] == model_identity(tiny)


def test_everything_embedded_is_light(builder: ModuleType) -> None:
    assert builder.folder_bytes(DATA) <= builder.MAX_BYTES
