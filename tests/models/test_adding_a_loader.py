"""The examples in docs/adding_a_loader.md work, and the lists of formats behave as the document says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import neuron_explainer as ne
from helpers.derived_scalars import annotations_unchecked
from helpers.paths import REPOSITORY
from neuron_explainer.errors import (
    AutoencoderFormatError,
    AutoencoderMismatchError,
    CheckpointNotFoundError,
    InvalidRequestError,
    MalformedCheckpointError,
    MissingTensorError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.autoencoders import formats as autoencoder_formats
from neuron_explainer.models.checkpoints import formats as checkpoint_formats
from neuron_explainer.models.checkpoints.checkpoint_format import CheckpointFormat

DOCUMENT = REPOSITORY / "docs/adding_a_loader.md"
TINY = REPOSITORY / "neuron_explainer/data/tiny"


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The document's examples, run; the lists of formats are as before afterwards."""
    lists: list[list[Any]] = [checkpoint_formats.CHECKPOINT_FORMATS, autoencoder_formats.AUTOENCODER_FORMATS]
    before = [list(formats) for formats in lists]
    names: dict[str, Any] = {"__name__": "example"}
    try:
        for example in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
            exec(compile(example, str(DOCUMENT), "exec"), names)
        yield names
    finally:
        for formats, old in zip(lists, before, strict=True):
            formats[:] = old


@pytest.fixture
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    from safetensors.numpy import load_file

    return {
        "config": np.array((TINY / "config.json").read_text()),
        **{name: array for file in sorted(TINY.glob("*.safetensors")) for name, array in load_file(file).items()},
    }


def test_the_documented_checkpoint_format_loads_the_same_model(
    documented: dict[str, Any], arrays: dict[str, Any], tmp_path: Path
) -> None:
    np.savez(tmp_path / "model.npz", **arrays)
    (tmp_path / "tokenizer.json").write_bytes((TINY / "tokenizer.json").read_bytes())
    ours, tiny = ne.load_model(tmp_path / "model.npz", device="cpu"), ne.load_model("tiny", device="cpu")
    tokens = tiny.to_tokens("Once upon a time")
    torch.testing.assert_close(ours.get_or_create_model()(tokens), tiny.get_or_create_model()(tokens))
    assert ours.generate("Once") == tiny.generate("Once")
    assert ours.model_name == "model"


# NumPy does not close a file that it finds damaged.
@pytest.mark.filterwarnings("ignore:unclosed file .*model.npz:ResourceWarning")
def test_the_documented_checkpoint_format_refuses_what_does_not_fit(
    documented: dict[str, Any], arrays: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.npz"
    (tmp_path / "tokenizer.json").write_bytes((TINY / "tokenizer.json").read_bytes())
    lost = next(name for name in arrays if name != "config")
    np.savez(path, **{name: array for name, array in arrays.items() if name != lost})
    with pytest.raises(MissingTensorError, match=r"model\.npz"):
        ne.load_model(path, device="cpu")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(MalformedCheckpointError, match="damaged"):
        ne.load_model(path, device="cpu")
    with pytest.raises(InvalidRequestError, match=r"NumPy file \(\.npz\), which has no revisions"):
        ne.load_model(path, revision="main")


def test_the_documented_autoencoder_format_describes_and_loads(documented: dict[str, Any], tmp_path: Path) -> None:
    model = ne.load_model("tiny", device="cpu")
    n_inputs, n_latents = model.d_model, 7
    weights = {
        "encoder_weight": torch.randn(n_latents, n_inputs),
        "decoder_weight": torch.randn(n_inputs, n_latents),
        "pre_bias": torch.randn(n_inputs),
        "latent_bias": torch.randn(n_latents),
    }
    path = tmp_path / "layer_1.safetensors"
    metadata = {"dst": "RESID_DELTA_MLP", "layer": "1", "model": "tiny"}
    save_file(weights, path, metadata=metadata)
    one, _ = ne.load_autoencoder(path, device="cpu", dtype="float64")
    torch.testing.assert_close(one.encoder_weight, weights["encoder_weight"].double())
    context = ne.load_autoencoders(path, model=model)
    assert context.dst is ne.DerivedScalarType.RESID_DELTA_MLP
    assert context.layer_indices == (1,)
    torch.testing.assert_close(context.get_autoencoder(1).pre_bias, weights["pre_bias"])
    save_file(weights, path, metadata=metadata | {"model": "gpt2-small"})
    with pytest.raises(AutoencoderMismatchError, match="trained on gpt2-small"):
        ne.load_autoencoders(path, model=model)
    with pytest.raises(AutoencoderMismatchError, match="is of layer 1"):
        ne.load_autoencoders({2: path}, "resid_delta_mlp", model=model, base_model_name="tiny")
    del weights["latent_bias"]
    save_file(weights, path, metadata=metadata)
    with pytest.raises(AutoencoderFormatError, match="latent_bias"):
        ne.load_autoencoder(path)


def test_a_format_that_exists_is_replaced_only_if_asked(documented: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="replace=True"):
        checkpoint_formats.register_checkpoint_format(documented["NumpyFile"]())
    newer = documented["NumpyFile"]()
    checkpoint_formats.register_checkpoint_format(newer, replace=True)
    assert [each for each in checkpoint_formats.CHECKPOINT_FORMATS if each.name == newer.name] == [newer]


def test_only_an_instance_of_a_format_can_be_registered(documented: dict[str, Any]) -> None:
    registers: list[Any] = [
        checkpoint_formats.register_checkpoint_format,
        autoencoder_formats.register_autoencoder_format,
    ]
    for register, name in zip(registers, ("NumpyFile", "SafetensorsAutoencoder"), strict=True):
        with annotations_unchecked():
            with pytest.raises(InvalidRequestError, match=rf"is the class {name}\. Give an instance"):
                register(documented[name], replace=True)
            with pytest.raises(InvalidRequestError, match="Format, not str"):
                register(name)


def test_each_format_is_asked_once_and_none_after_the_first_that_matches(
    documented: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Counted(CheckpointFormat):
        def __init__(self, inner: CheckpointFormat) -> None:
            self.inner, self.name, self.has_revisions = inner, inner.name, inner.has_revisions

        def matches(self, source: Any, options: Any) -> bool:
            asked.append(self.name)
            return self.inner.matches(source, options)

        def open(self, source: Any, options: Any) -> Any:
            return self.inner.open(source, options)

    counted = [Counted(each) for each in checkpoint_formats.CHECKPOINT_FORMATS]
    monkeypatch.setattr(checkpoint_formats, "CHECKPOINT_FORMATS", counted)
    ne.load_model("tiny", device="cpu")
    names = [each.name for each in counted]
    assert asked == names[: names.index("Hugging Face folder") + 1]


def test_errors_list_the_formats(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(UnsupportedCheckpointError, match=r"GGUF file, .*Hugging Face folder, .*pass the folder"):
        ne.load_model(tmp_path / "model.bin")
    with pytest.raises(CheckpointNotFoundError, match=r"does not exist\..*GGUF file"):
        ne.load_model(tmp_path / "nothing")
    with pytest.raises(AutoencoderFormatError, match=r"SAELens folder, .*OpenAI"):
        ne.load_autoencoder(tmp_path)


def test_a_config_of_another_format_does_not_hide_a_malformed_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(["not", "an", "object"]))
    with pytest.raises(MalformedCheckpointError, match="not a JSON object"):
        ne.load_model(tmp_path)
