"""What directions are made from, and the files that they are written to."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, random_autoencoders, small_context
from neuron_explainer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    InvalidIndexError,
    InvalidRequestError,
    MalformedCheckpointError,
    NodeNameError,
    NonFiniteTensorError,
    TensorShapeError,
)

PAIRS = [([5, 6, 7], [8, 9]), ([3, 4, 5, 6], [2, 9, 11])]


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_pairs_give_the_mean_difference_at_the_last_token(name: str) -> None:
    context = small_context(name)
    transformer = context.get_or_create_model()
    direction = ne.steering_direction(context, PAIRS)
    for layer in range(context.n_layers):
        total = torch.zeros(context.d_model)
        for pair in PAIRS:
            for sign, prompt in zip((1, -1), pair, strict=True):
                with transformer.record([("resid_post_mlp", layer)]) as recording:
                    transformer(torch.tensor([prompt]))
                total += sign * recording["resid_post_mlp", layer][0, -1]
        torch.testing.assert_close(direction.at(layer), total / 2, rtol=1e-4, atol=1e-4)
    assert direction.usual_layers == (1,)
    words = [tuple(" ".join(f"t{token}" for token in prompt) for prompt in pair) for pair in PAIRS]
    torch.testing.assert_close(ne.steering_direction(context, words, layers=[0, 2]).at(2), direction.at(2))


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "granite", "mixtral"])
def test_a_neuron_writes_its_row_and_a_latent_its_decoders(name: str) -> None:
    context = small_context(name)
    block = context.get_or_create_model().blocks[2]
    direction = ne.steering_direction(context, "L2N5")
    written = block.mlp.write_direction(5).clone()
    if block.mlp_post_norm is not None:
        written = written * block.mlp_post_norm.effective_gain
    torch.testing.assert_close(direction.at(2), written * block.residual_multiplier)
    assert direction.usual_layers == (2,)
    torch.testing.assert_close(direction.at(0), direction.at(2))
    autoencoders = random_autoencoders(context, ne.DerivedScalarType.RESID_POST_MLP, dtype=torch.float32)
    latent = ne.steering_direction(context, "L1A3", autoencoders=autoencoders)
    torch.testing.assert_close(latent.at(1), autoencoders.get_autoencoder(1).write_rows[3])
    logits = ne.steer(context, "L1A3", autoencoders=autoencoders).logits([4, 5], strengths=3)
    given = ne.steer(context, latent.at(1), layers=1).logits([4, 5], strengths=3)
    torch.testing.assert_close(logits, given)


def test_a_token_is_its_row_of_the_unembedding() -> None:
    context = small_context("gpt2_scaled_by_layer")
    rows = context.get_or_create_model().unembedding_weight
    torch.testing.assert_close(ne.steering_direction(context, token="t7").at(1), rows[7])
    torch.testing.assert_close(ne.steering_direction(context, token=9).at(0), rows[9])


def test_vectors_of_any_layer_or_of_some() -> None:
    context = small_context("gpt2")
    array = np.arange(32, dtype=np.float32)
    anywhere = ne.steering_direction(context, array)
    assert anywhere.at(2).tolist() == array.tolist()
    assert float(anywhere.with_unit_length().at(0).norm()) == pytest.approx(1)
    some = ne.steering_direction(context, {2: torch.ones(32), 1: torch.zeros(32)})
    assert some.usual_layers == (1, 2)
    with pytest.raises(InvalidRequestError, match="of layers 1–2, not of layer 0"):
        some.at(0)
    with pytest.raises(InvalidRequestError, match="not of layer 0"):
        ne.steer(context, some, layers=0)
    with pytest.raises(InvalidRequestError, match="is 0 in layer 1"):
        ne.steer(context, some)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ([], InvalidRequestError),
        (["a", "b"], InvalidRequestError),
        ([1, 2], InvalidRequestError),
        ([([1, 2], [3], [4])], InvalidRequestError),
        (torch.ones(31), InvalidRequestError),
        (torch.ones(32, dtype=torch.int64), InvalidRequestError),
        (torch.full((32,), float("nan")), NonFiniteTensorError),
        ({}, InvalidRequestError),
        ({3: torch.ones(32)}, InvalidRequestError),
        ({1: [1.0] * 32}, InvalidRequestError),
        ("L1H2", InvalidRequestError),
        ("L1N128", InvalidRequestError),
        ("L3N1", InvalidRequestError),
        ("L1A2", InvalidRequestError),
        ("happiness", NodeNameError),
        (None, InvalidRequestError),
    ],
)
def test_what_is_no_direction(source: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        ne.steering_direction(small_context("gpt2"), source)


def test_a_file_round_trip_and_the_gguf_packages_reading(tmp_path: Path) -> None:
    context = small_context("llama")
    direction = ne.steering_direction(context, PAIRS, layers=[1, 2])
    path = tmp_path / "vectors.gguf"
    direction.save(path, model_hint="llama")
    read = ne.steering_direction(context, path)
    assert read.usual_layers == (1, 2)
    assert all(torch.equal(read.at(layer), direction.at(layer)) for layer in (1, 2))
    reader = gguf.GGUFReader(path)
    assert reader.get_field("general.architecture").contents() == "controlvector"  # type: ignore[union-attr]
    assert reader.get_field("controlvector.model_hint").contents() == "llama"  # type: ignore[union-attr]
    by_name = {tensor.name: tensor.data for tensor in reader.tensors}
    assert sorted(by_name) == ["direction.1", "direction.2"]
    assert by_name["direction.2"].tolist() == direction.at(2).tolist()
    torch.testing.assert_close(
        ne.steer(context, str(path)).logits([4, 5], strengths=2),
        ne.steer(context, direction).logits([4, 5], strengths=2),
    )
    with pytest.raises(InvalidRequestError, match="layer 0 cannot be written"):
        direction.save(tmp_path / "no.gguf", layers=[0, 1])
    assert not (tmp_path / "no.gguf").exists()


def written(path: Path, tensors: dict[str, np.ndarray], architecture: str = "controlvector") -> Path:
    """A file as the `gguf` package writes it."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    for name, numbers in tensors.items():
        writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_direction_l_acts_on_the_output_of_block_l_from_0(tmp_path: Path) -> None:
    """llama.cpp reads direction.1 for its block 1, the second one, and has none for block 0."""
    context = small_context("llama")
    numbers = np.arange(32, dtype=np.float32)
    path = written(tmp_path / "one.gguf", {"direction.1": numbers})
    transformer = context.get_or_create_model()
    with transformer.intervene("resid_post_mlp", 1, lambda resid: resid + torch.from_numpy(numbers)):
        expected = transformer(torch.tensor([[4, 5]]))
    assert expected is not None
    torch.testing.assert_close(ne.steer(context, path).logits([4, 5])[1], expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ({"direction.0": np.ones(32, np.float32)}, MalformedCheckpointError, "none for block 0"),
        ({"direction.3": np.ones(32, np.float32)}, InvalidRequestError, "has layers 0–2"),
        ({"direction.999999": np.ones(32, np.float32)}, InvalidRequestError, "has layers 0–2"),
        ({"direction.1": np.ones(31, np.float32)}, TensorShapeError, r"\(31,\)"),
        ({"direction.1": np.ones((1, 32), np.float32)}, TensorShapeError, r"\(1, 32\)"),
        ({"direction.-1": np.ones(32, np.float32)}, MalformedCheckpointError, "direction.-1"),
        ({"blk.1": np.ones(32, np.float32)}, MalformedCheckpointError, "blk.1"),
        ({"direction.1": np.full(32, np.inf, np.float32)}, NonFiniteTensorError, "direction.1"),
        ({}, MalformedCheckpointError, "no directions"),
    ],
)
def test_files_of_other_models_and_other_content_are_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], error: type[Exception], message: str
) -> None:
    context = small_context("llama")
    with pytest.raises(error, match=message):
        ne.steering_direction(context, written(tmp_path / "file.gguf", tensors))


def test_other_files_are_refused(tmp_path: Path) -> None:
    context = small_context("llama")
    with pytest.raises(MalformedCheckpointError, match="'llama'"):
        ne.steering_direction(context, written(tmp_path / "a.gguf", {}, "llama"))
    with pytest.raises(CheckpointNotFoundError):
        ne.steering_direction(context, tmp_path / "none.gguf")
    whole = written(tmp_path / "b.gguf", {"direction.1": np.ones(32, np.float32)}).read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.gguf").write_bytes(whole[:end])
        with pytest.raises(CheckpointError):
            ne.steering_direction(context, tmp_path / "cut.gguf")


def test_what_gives_no_direction_is_told_what_does() -> None:
    context = small_context("llama")
    pairs = ne.PromptPairs([ne.PromptPair("a", "b", " c", " d")])
    for given, error in (("happy", NodeNameError), (pairs, InvalidIndexError), (("happy", "sad"), InvalidRequestError)):
        with pytest.raises(error, match=r"The direction is .*Give pairs of prompts, .*or token="):
            ne.steering_direction(context, given)
    with pytest.raises(NodeNameError, match="L5Q3"):
        ne.steering_direction(context, "L5Q3")
    with pytest.raises(InvalidRequestError, match="The text is '', which has no tokens"):
        ne.steer(ne.load_model("tiny"), "L2N5").log_probability("Once", "")


@pytest.mark.parametrize("size", [1e25, 1e-30])
@pytest.mark.parametrize("mode", ["project_out", "clamp"])
def test_directions_of_any_length_are_the_same_direction(size: float, mode: str) -> None:
    """The squares of such numbers have no float."""
    context = small_context("gpt2")
    vector = torch.randn(32, generator=torch.Generator().manual_seed(2))
    own, scaled = (
        ne.steer(context, each, layers=1, mode=mode, strength=2.0).logits([5, 6, 7])  # type: ignore[arg-type]
        for each in (vector, vector * size)
    )
    torch.testing.assert_close(scaled, own, rtol=1e-4, atol=1e-4)
    assert not torch.equal(own[0], own[1])
    unit = ne.steering_direction(context, vector * size).with_unit_length().at(1)
    torch.testing.assert_close(torch.linalg.vector_norm(unit), torch.tensor(1.0))


def test_directions_beyond_the_models_numbers_are_refused(tmp_path: Path) -> None:
    context, large = small_context("gpt2"), torch.full((32,), 1e300, dtype=torch.float64)
    with pytest.raises(NonFiniteTensorError, match=r"too large for torch\.float32"):
        ne.steering_direction(context, large)
    double = ne.steering_direction(small_context("gpt2", dtype=torch.float64), large)
    with pytest.raises(NonFiniteTensorError, match=r"too large for torch\.float32"):
        ne.steer(context, double)
    with pytest.raises(InvalidRequestError, match="finite in float32"):
        double.save(tmp_path / "large.gguf")
    assert not list(tmp_path.iterdir())


def test_odd_arguments_of_directions_are_refused(tmp_path: Path) -> None:
    context = small_context("gpt2")
    direction, steering = ne.steering_direction(context, torch.ones(32)), ne.steer(context, torch.ones(32))
    odd: Any
    for odd in ([0], np.array([0, 1]), -1, "1", None, True, 1.0):
        with pytest.raises(InvalidRequestError, match="layer is"):
            direction.at(odd)
    for odd in (None, 3, b"llama", "\ud800"):
        with pytest.raises(InvalidRequestError, match="model_hint"):
            direction.save(tmp_path / "d.gguf", model_hint=odd)
    for odd in ([1, 2], range(2), b"x", np.array([1, 2])):
        with pytest.raises(InvalidRequestError, match="strength is"), steering.applied(strength=odd):
            pass
    for odd in (np.array(["add", "clamp"]), np.array([])):
        with pytest.raises(InvalidRequestError, match="mode is"):
            ne.steer(context, torch.ones(32), mode=odd)
    with pytest.raises(InvalidRequestError, match="n_prompt"), steering.applied(n_prompt=10**30):
        pass
    with pytest.raises(InvalidRequestError, match="positions is"):
        ne.steer(context, torch.ones(32), positions=[10**30])
    with pytest.raises(InvalidRequestError, match="strength is"):
        steering.log_probability([5, 6], [7], strengths=b"x")
    with pytest.raises(InvalidRequestError, match="progress is"):
        steering.generate([5, 6], max_new_tokens=1, progress=np.array([0, 1]))  # type: ignore[arg-type]
