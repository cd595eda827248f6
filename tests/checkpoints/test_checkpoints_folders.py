"""Folders in Hugging Face's layout: the same logits, and every defect named with its file and tensor."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import neuron_explainer as ne
from helpers.checkpoints import byte_level_tokenizer, logits_of, save_folder, small_gpt2, small_llama, some_tokens
from helpers.property_tests import property_settings
from helpers.tiny_models import HF_CONFIGS, ONE_OF_EACH_FAMILY, hf_model, random_tokens
from neuron_explainer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MissingTensorError,
    NonFiniteTensorError,
    TensorShapeError,
    TokenizerError,
    TokenizerMismatchError,
    UnexpectedTensorError,
    UnknownNameError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader, read_header

CPU = torch.device("cpu")
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(small_gpt2(), tmp_path_factory.mktemp("small-gpt2"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of a saved GPT-2 that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "small-gpt2"))


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    change(tensors)
    safetensors.torch.save_file(tensors, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_every_family_reads_what_transformers_saves(name: str, tmp_path: Path) -> None:
    theirs = hf_model(name)
    theirs.save_pretrained(tmp_path)
    tokenizer = Tokenizer(WordLevel({str(number): number for number in range(61)}, unk_token="0"))
    context = ne.load_model(tmp_path, device="cpu", tokenizer=tokenizer)
    tokens = random_tokens(2, 9)
    torch.testing.assert_close(context.get_or_create_model()(tokens), logits_of(theirs, tokens), atol=1e-4, rtol=1e-4)


def test_the_folder_says_everything(saved: Path) -> None:
    for asked in (saved, str(saved)):
        context = ne.load_model(asked, device="cpu")
        tokens = some_tokens()
        torch.testing.assert_close(
            context.get_or_create_model()(tokens), logits_of(small_gpt2(), tokens), atol=1e-4, rtol=1e-4
        )
        assert context.encode(" Mary") == byte_level_tokenizer().encode(" Mary").ids
        assert context.model_name == saved.name


def test_shards(tmp_path: Path) -> None:
    theirs = small_llama()
    save_folder(theirs, tmp_path, shard_size="60KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    tokens = some_tokens()
    ours = ne.load_model(tmp_path, device="cpu").get_or_create_model()
    torch.testing.assert_close(ours(tokens), logits_of(theirs, tokens), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_the_dtype_that_is_asked_for(saved: Path, dtype: str) -> None:
    model = ne.load_model(saved, device="cpu", dtype=dtype).get_or_create_model()
    wanted = getattr(torch, dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {wanted}
    stored = safetensors.torch.load_file(saved / WEIGHTS)["transformer.wte.weight"]
    assert torch.equal(model.embedding, stored.to(wanted))
    assert ne.load_model(saved, device="cpu", dtype=wanted).get_or_create_model().dtype == wanted
    with pytest.raises(UnknownNameError, match=r"int8.*bfloat16"):
        ne.load_model(saved, device="cpu", dtype="int8")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_device_that_is_asked_for(saved: Path, dtype: torch.dtype) -> None:
    context = ne.load_model(saved, device="cuda", dtype=dtype)
    there, here = context.get_or_create_model(), ne.load_model(saved, device="cpu", dtype=dtype).get_or_create_model()
    assert context.device == there.device == torch.device("cuda", torch.cuda.current_device())
    for name, parameter in here.named_parameters():
        assert torch.equal(there.get_parameter(name).cpu(), parameter)
    context.free()


@pytest.mark.parametrize("stored_dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_that_is_stored(folder: Path, stored_dtype: torch.dtype) -> None:
    def cast(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(stored_dtype)

    model = ne.load_model(changed(folder, cast), device="cpu").get_or_create_model()
    stored = safetensors.torch.load_file(folder / WEIGHTS)["transformer.wte.weight"]
    assert torch.equal(model.embedding, stored.float())


def test_a_missing_tensor(folder: Path) -> None:
    changed(folder, lambda tensors: tensors.pop("transformer.h.1.mlp.c_fc.bias"))
    with pytest.raises(MissingTensorError, match=r"model\.safetensors.*transformer\.h\.1\.mlp\.c_fc\.bias") as missing:
        ne.load_model(folder, device="cpu")
    assert missing.value.tensor == "transformer.h.1.mlp.c_fc.bias"
    assert missing.value.file == str(folder / WEIGHTS)


def test_an_unexpected_tensor(folder: Path) -> None:
    changed(folder, lambda tensors: tensors.update({"transformer.h.2.ln_1.bias": torch.zeros(24)}))
    with pytest.raises(UnexpectedTensorError, match=r"model\.safetensors.*transformer\.h\.2\.ln_1\.bias"):
        ne.load_model(folder, device="cpu")


def test_masks_of_old_checkpoints_are_no_tensors_of_the_model(folder: Path) -> None:
    changed(folder, lambda tensors: tensors.update({"transformer.h.1.attn.bias": torch.ones(1, 1, 32, 32).bool()}))
    assert ne.load_model(folder, device="cpu").n_layers == 2


def test_names_without_the_prefix_of_the_whole_model(folder: Path) -> None:
    def shorten(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)

    tokens = some_tokens()
    model = ne.load_model(changed(folder, shorten), device="cpu").get_or_create_model()
    torch.testing.assert_close(model(tokens), logits_of(small_gpt2(), tokens), atol=1e-4, rtol=1e-4)


def test_a_misshapen_tensor(folder: Path) -> None:
    changed(folder, lambda tensors: tensors.update({"transformer.wpe.weight": torch.zeros(31, 24)}))
    with pytest.raises(TensorShapeError, match=r"model\.safetensors.*transformer\.wpe\.weight.*\(31, 24\).*\(32, 24\)"):
        ne.load_model(folder, device="cpu")


@pytest.mark.parametrize("shape", [(), (24 * 72,), (24, 72, 1), (1, 24, 72)])
def test_a_matrix_with_another_number_of_axes(folder: Path, shape: tuple[int, ...]) -> None:
    changed(folder, lambda tensors: tensors.update({"transformer.h.0.attn.c_attn.weight": torch.zeros(shape)}))
    with pytest.raises(TensorShapeError, match=r"c_attn\.weight"):
        ne.load_model(folder, device="cpu")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite(folder: Path, bad: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["transformer.h.0.mlp.c_proj.weight"][95, 7] = bad

    message = rf"model\.safetensors: tensor 'transformer\.h\.0\.mlp\.c_proj\.weight' is {bad} at \[95, 7\]"
    with pytest.raises(NonFiniteTensorError, match=message):
        ne.load_model(changed(folder, spoil), device="cpu")


def test_a_number_too_large_for_the_dtype(folder: Path) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors["transformer.ln_f.weight"][3] = 1e6

    assert ne.load_model(changed(folder, enlarge), device="cpu", dtype="bfloat16").n_layers == 2
    with pytest.raises(NonFiniteTensorError, match=r"ln_f\.weight' is inf at \[3\] in torch\.float16.*wider"):
        ne.load_model(folder, device="cpu", dtype="float16")


def test_large_numbers_whose_sum_overflows_are_finite(folder: Path) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors["transformer.ln_f.weight"].fill_(3e38)

    assert ne.load_model(changed(folder, enlarge), device="cpu").n_layers == 2


def test_whole_numbers_are_no_weights(folder: Path) -> None:
    changed(folder, lambda tensors: tensors.update({"transformer.wpe.weight": torch.zeros(32, 24, dtype=torch.int8)}))
    with pytest.raises(UnsupportedCheckpointError, match=r"model\.safetensors.*transformer\.wpe\.weight.*I8"):
        ne.load_model(folder, device="cpu")


def test_a_file_that_is_cut_off_anywhere(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    header_length = 8 + int.from_bytes(content[:8], "little")
    for length in [*range(0, header_length, 211), *range(header_length, len(content), 10_007), len(content) - 1]:
        (folder / WEIGHTS).write_bytes(content[:length])
        with pytest.raises(MalformedCheckpointError, match=r"model\.safetensors"):
            ne.load_model(folder, device="cpu")


@property_settings(150)
@given(position=st.integers(0, 5000), byte=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_read_and_nothing_else(saved: Path, position: int, byte: int) -> None:
    content = bytearray((saved / WEIGHTS).read_bytes())
    content[position % (8 + int.from_bytes(content[:8], "little"))] = byte
    file = saved / "damaged.safetensors"
    file.write_bytes(content)
    try:
        read_header(file)
        refused_file = str(file)
    except CheckpointError as error:
        refused_file = str(error.file)
    assert refused_file == str(file)


def test_headers_are_read_as_the_safetensors_package_reads_them(tmp_path: Path) -> None:
    tensors = {
        "matrix": torch.randn(70, 900),  # more numbers than are read at a time
        "half": torch.randn(5).half(),
        "brain": torch.randn(3, 1, 2).bfloat16(),
        "double": torch.randn(2, 2).double(),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
    }
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    reader = SafetensorsReader([tmp_path / "x.safetensors"])
    assert set(reader.names()) == set(tensors)
    for name, tensor in tensors.items():
        assert reader.shape(name) == tuple(tensor.shape)
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            assert torch.equal(reader.read(name, dtype=dtype, device=CPU), tensor.to(dtype))


def test_shards_that_contradict_each_other(tmp_path: Path) -> None:
    save_folder(small_llama(), tmp_path, shard_size="60KB")
    index_file = tmp_path / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    first, second = sorted(set(index["weight_map"].values()))[:2]
    tensor = next(name for name, shard in index["weight_map"].items() if shard == first)

    def write(weight_map: object) -> None:
        index_file.write_text(json.dumps({**index, "weight_map": weight_map}))

    write(index["weight_map"] | {tensor: second})
    with pytest.raises(MissingTensorError, match=f"{second}.*{tensor}"):
        ne.load_model(tmp_path, device="cpu")
    for outside in ("../model.safetensors", "weights.bin", 3):
        write(index["weight_map"] | {tensor: outside})
        with pytest.raises(MalformedCheckpointError, match="not a safetensors file beside the index"):
            ne.load_model(tmp_path, device="cpu")
    write({})
    with pytest.raises(MalformedCheckpointError, match="no weight_map"):
        ne.load_model(tmp_path, device="cpu")
    write(index["weight_map"])
    (tmp_path / second).write_bytes((tmp_path / first).read_bytes())
    with pytest.raises((MissingTensorError, MalformedCheckpointError), match=second):
        ne.load_model(tmp_path, device="cpu")
    (tmp_path / second).unlink()
    with pytest.raises(CheckpointNotFoundError, match=second):
        ne.load_model(tmp_path, device="cpu")


def test_folders_that_hold_no_model(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointNotFoundError, match=r"contains: .*pytorch_model\.bin.*\.bin\) are not read unless"):
        ne.load_model(folder, device="cpu")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointNotFoundError, match=r"has no config\.json"):
        ne.load_model(folder, device="cpu")
    for text in ("{", "[]"):
        (folder / "config.json").write_text(text)
        with pytest.raises(MalformedCheckpointError, match=r"config\.json is not (a )?JSON"):
            ne.load_model(folder, device="cpu")
    (folder / "config.json").write_text('{"model_type": "bloom"}')
    with pytest.raises(UnsupportedCheckpointError, match=r"config\.json.*'bloom'.*gpt2"):
        ne.load_model(folder, device="cpu")
    with pytest.raises(UnsupportedCheckpointError, match="pass the folder"):
        ne.load_model(folder / "pytorch_model.bin")


def test_the_wrong_tokenizer(folder: Path) -> None:
    byte_level_tokenizer(321).save(str(folder / "tokenizer.json"))
    with pytest.raises(TokenizerMismatchError, match=r"tokenizer\.json\) has 321 tokens and small-gpt2 has 320"):
        ne.load_model(folder, device="cpu")
    context = ne.load_model(folder, device="cpu", tokenizer=byte_level_tokenizer())  # the folder's is not looked at
    assert context.decode(context.encode("naïve")) == "naïve"
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json.*tokenizer="):
        ne.load_model(folder, device="cpu")


def test_a_config_in_place_of_the_folders(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    tokens = some_tokens()
    plain = ne.load_model(folder, device="cpu", config=config).get_or_create_model()(tokens)
    torch.testing.assert_close(plain, logits_of(small_gpt2(), tokens), atol=1e-4, rtol=1e-4)
    as_object = ne.load_model(folder, device="cpu", config=small_gpt2().config).get_or_create_model()(tokens)
    assert torch.equal(as_object, plain)
    scaled = config | {"scale_attn_by_inverse_layer_idx": True}
    assert not torch.allclose(ne.load_model(folder, device="cpu", config=scaled).get_or_create_model()(tokens), plain)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
@pytest.mark.parametrize(
    ("entries", "error", "says"),
    [
        ({"n_head": 0, "num_attention_heads": 0}, MalformedCheckpointError, "a .* model cannot have"),
        ({"n_layer": "two", "num_hidden_layers": "two"}, MalformedCheckpointError, "a .* model cannot have"),
        (
            dict.fromkeys(("activation_function", "hidden_act", "hidden_activation", "activation"), "sin"),
            UnsupportedCheckpointError,
            "'sin' is not supported. Choose one of: .*relu",
        ),
    ],
)
def test_entries_of_the_config_that_cannot_be(
    name: str, entries: dict[str, object], error: type[CheckpointError], says: str, tmp_path: Path
) -> None:
    config = {**hf_model(name).config.to_dict(), **entries}
    if "text_config" in config:
        config["text_config"] |= entries
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(error, match=says) as caught:
        ne.load_model(tmp_path, device="cpu")
    assert "config.json" in str(caught.value)
