"""A model whose weights stay on disk gives what the same model in memory gives, bit for bit."""

import copy
import json
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import pytest
import safetensors.torch
import torch

import neuron_explainer as ne
from benchmarks.gpu.scalars import scalars_of
from benchmarks.small_models import number_tokenizer
from helpers.checkpoints import byte_level_tokenizer, save_folder, save_tdb_pieces, small_gpt2, small_llama, some_tokens
from helpers.derived_scalars import annotations_unchecked
from helpers.gguf_files import KINDS, write_llama
from helpers.loopback_server import loopback_server, ok
from helpers.tiny_models import HF_CONFIGS, hf_model, random_tokens
from neuron_explainer.errors import (
    CheckpointNotFoundError,
    InvalidRequestError,
    MalformedCheckpointError,
    NonFiniteTensorError,
    UnknownNameError,
)
from neuron_explainer.models.autoencoders.latent_activations import ReLU
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader

PLACES = [
    "resid_post_embedding",
    "attn_query",
    "attn_qk_probs",
    "attn_input_layer_norm_scale",
    "mlp_post_act",
    "resid_post_mlp",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small model, in several files."""
    root = tmp_path_factory.mktemp("saved")

    def folder_of(name: str) -> Path:
        if not (root / name).exists():
            hf_model(name).save_pretrained(root / name, max_shard_size="40KB")
        return root / name

    return folder_of


def both(source: Path, **given: Any) -> tuple[StandardModelContext, StandardModelContext]:
    """A model in memory, and the same one on disk."""
    options: dict[str, Any] = {"device": "cpu", "tokenizer": number_tokenizer()} | given
    in_memory, on_disk = ne.load_model(source, **options), ne.load_model(source, offload="disk", **options)
    assert on_disk.get_or_create_model().is_offloaded
    assert not in_memory.get_or_create_model().is_offloaded
    return in_memory, on_disk


def recorded(context: StandardModelContext, tokens: torch.Tensor) -> list[torch.Tensor]:
    """The logits of a plain pass, what a pass with a graph records, and the gradients."""
    model = context.get_or_create_model()
    plain = model(tokens)
    with model.record(PLACES, gradients=True) as recording:
        recording.backward(model(tokens)[:, -1].float().square().sum())
    gradients = [recording.gradient(*key) for key in recording]
    return [plain, *recording.values(), *gradients]


def assert_same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_passes_and_gradients_of_every_family(saved: Callable[[str], Path], name: str) -> None:
    in_memory, on_disk = both(saved(name), dtype="bfloat16" if name.endswith("s") else "float32")
    assert_same(recorded(on_disk, random_tokens(2, 9)), recorded(in_memory, random_tokens(2, 9)))


@pytest.mark.parametrize("name", ["phi3", "gemma2"])
def test_every_scalar(saved: Callable[[str], Path], name: str) -> None:
    """Derivers use weights too, and passes from several layers."""
    in_memory, on_disk = (scalars_of(context, torch.float32, ReLU()) for context in both(saved(name)))
    assert on_disk.keys() == in_memory.keys()
    assert {dst for _, dst, _, _ in on_disk} == set(ne.DerivedScalarType)
    for key, tensor in in_memory.items():
        assert torch.equal(on_disk[key], tensor), key


def test_generation_and_interventions(saved: Callable[[str], Path]) -> None:
    in_memory, on_disk = both(saved("qwen3"))
    answers = []
    for context in (in_memory, on_disk):
        plain = context.generate("t5 t6 t7", max_new_tokens=8)
        with context.intervene("mlp_post_act", 1, lambda act: act * 3):
            answers.append((plain, context.generate("t5 t6 t7", max_new_tokens=8)))
        with context.record("mlp_post_act"), torch.inference_mode():
            context.get_or_create_model()(random_tokens(1, 4))
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


@pytest.mark.filterwarnings("ignore:check_parity is an older name")
def test_weights_parity_and_live_records(saved: Callable[[str], Path]) -> None:
    in_memory, on_disk = both(saved("gpt2"))
    for weight, layer in (("EMBEDDING", None), ("UNEMBEDDING", None), ("ATTN_TO_QUERY", 1), ("MLP_TO_RESIDUAL", 2)):
        assert torch.equal(on_disk.get_weight(weight, layer), in_memory.get_weight(weight, layer))
    table = ne.check_parity(on_disk, hf_model("gpt2"))
    assert table.equals(ne.check_parity(in_memory, hf_model("gpt2")))
    texts = ["t4 t5 t6", "t9 t8 t7"]
    assert ne.live_record(on_disk, 1, 3, texts) == ne.live_record(in_memory, 1, 3, texts)


def test_collating(saved: Callable[[str], Path], tmp_path: Path) -> None:
    texts = [" ".join(f"t{(seed * 7 + step * step) % 61}" for step in range(12)) for seed in range(9)]
    folders = []
    for number, context in enumerate(both(saved("gpt2"), name="small")):
        folder = tmp_path / str(number)
        ne.collate(
            context, texts, folder, context_length=8, top_k=2, random_k=1, quantiles=0, progress=False,
            registered_as="offload_test" if number else "memory_test",
        )  # fmt: skip
        folders.append(folder)
    for layer in range(3):
        one, other = (ne.load_neuron(folder, layer, 5) for folder in folders)
        assert one == other
    verified = ne.verify(folders[1], 4, model=both(saved("gpt2"), name="small")[1])
    assert verified.n_records == 4


def test_a_loaded_model_is_not_offloaded_by_collate(saved: Callable[[str], Path], tmp_path: Path) -> None:
    in_memory, on_disk = both(saved("gpt2"))
    with pytest.raises(InvalidRequestError, match="gpt2 is in memory already"):
        ne.collate(in_memory, ["t4"], tmp_path / "made", offload="disk")
    with pytest.raises(InvalidRequestError, match="Each Ray worker has the whole model"):
        ne.collate(on_disk, ["t4"], tmp_path / "made", engine="ray", offload="disk", context_length=8, progress=False)


def test_threads(saved: Callable[[str], Path]) -> None:
    in_memory, on_disk = both(saved("gemma2"))
    jobs = [random_tokens(1, 4 + number, seed=number) for number in range(6)]
    expected = [recorded(in_memory, tokens) for tokens in jobs]
    with ThreadPoolExecutor(4) as pool:
        for ours, theirs in zip(pool.map(lambda tokens: recorded(on_disk, tokens), jobs), expected, strict=True):
            assert_same(ours, theirs)


def test_a_backward_pass_in_another_thread_and_twice(saved: Callable[[str], Path]) -> None:
    results = []
    for context in both(saved("gpt2")):
        model = context.get_or_create_model()
        with model.record("resid_post_embedding", gradients=True) as recording:
            loss = model(random_tokens(1, 5))[0, -1].square().sum()
            recording.backward(loss, retain_graph=True)
            first = recording.gradient("resid_post_embedding")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(recording.backward, loss).result()
        results.append([first, recording.gradient("resid_post_embedding")])
    assert_same(*results)


def reads_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tensors that are read as a whole from now on."""
    names: list[str] = []
    read = SafetensorsReader.read

    def watched(reader: SafetensorsReader, name: str, **options: Any) -> torch.Tensor:
        names.append(name)
        return read(reader, name, **options)

    monkeypatch.setattr(SafetensorsReader, "read", watched)
    return names


def test_each_weight_is_read_once_a_pass_and_once_more_backwards(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """phi3 has several weights in one tensor; of the embedding only rows are read."""
    _, on_disk = both(saved("phi3"))
    names = reads_of(monkeypatch)
    model = on_disk.get_or_create_model()
    model(random_tokens(1, 5))
    stored = safetensors.torch.load_file(next(saved("phi3").glob("*-00001-*")))
    assert len(names) == len(set(names))
    assert "model.embed_tokens.weight" not in names
    assert "model.embed_tokens.weight" in stored
    layers = [int(name.split(".")[2]) for name in names if ".layers." in name]
    assert layers == sorted(layers)
    assert set(layers) == {0, 1, 2}
    names.clear()
    with model.record([("resid_post_mlp", 0)], gradients=True) as recording:
        loss = model(random_tokens(1, 5)).sum()
        names.clear()
        recording.backward(loss)
    assert len(names) == len(set(names))
    assert {int(name.split(".")[2]) for name in names if ".layers." in name} == {
        1,
        2,
    }  # the graph starts at layer 0's end
    assert names[0] == "lm_head.weight"


def test_numbers_of_other_dtypes(tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "half")
    file = folder / "model.safetensors"
    halved = {name: tensor.half() for name, tensor in safetensors.torch.load_file(file).items()}
    safetensors.torch.save_file(halved, file)
    for dtype in ("float32", "bfloat16", "float64"):
        in_memory, on_disk = both(folder, dtype=dtype, tokenizer=None)
        assert_same(recorded(on_disk, some_tokens()), recorded(in_memory, some_tokens()))


@pytest.mark.parametrize("kind", [KINDS.F32, KINDS.Q8_0, KINDS.F16])
def test_gguf_files(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    path = write_llama(tmp_path / "small.gguf", small_llama(), kind=kind)
    in_memory, on_disk = both(path, tokenizer=None)
    assert_same(recorded(on_disk, some_tokens()), recorded(in_memory, some_tokens()))


def test_pieces(tmp_path: Path) -> None:
    folder = save_tdb_pieces(small_gpt2(), tmp_path / "pieces")
    in_memory, on_disk = both(folder, tokenizer=byte_level_tokenizer())
    assert_same(recorded(on_disk, some_tokens()), recorded(in_memory, some_tokens()))


def test_copies_and_pickles(saved: Callable[[str], Path]) -> None:
    in_memory, on_disk = both(saved("gpt2"))
    tokens = random_tokens(1, 5)
    expected = in_memory.get_or_create_model()(tokens)
    packed = pickle.dumps(on_disk)
    again = pickle.loads(packed)
    assert again.get_or_create_model().is_offloaded
    model = on_disk.get_or_create_model()
    copied, unpacked = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert copied.is_offloaded
    assert not unpacked.is_offloaded
    for each in (again.get_or_create_model(), copied, unpacked):
        assert torch.equal(each(tokens), expected)
    on_disk.free()
    assert torch.equal(on_disk.get_or_create_model()(tokens), expected)


@pytest.mark.parametrize("path", ["embedding", "blocks.1.mlp.output_weight", "blocks.0.attention_norm.gain"])
def test_an_assigned_weight_stays(saved: Callable[[str], Path], path: str) -> None:
    in_memory, on_disk = both(saved("gpt2"))
    models = [context.get_or_create_model() for context in (in_memory, on_disk)]
    before = models[0](random_tokens(1, 5))
    parent, _, leaf = path.rpartition(".")
    for model in models:
        module = model.get_submodule(parent)
        setattr(module, leaf, torch.nn.Parameter(getattr(module, leaf) * 2, requires_grad=False))
    after = models[0](random_tokens(1, 5))
    assert not torch.equal(before, after)
    assert torch.equal(models[1](random_tokens(1, 5)), after)
    for changed in (copy.deepcopy(models[1]), pickle.loads(pickle.dumps(on_disk)).get_or_create_model()):
        assert torch.equal(changed(random_tokens(1, 5)), after)


def test_a_change_in_place_is_refused(saved: Callable[[str], Path]) -> None:
    model = both(saved("gpt2"))[1].get_or_create_model()
    expected = model(random_tokens(1, 5))
    with torch.no_grad():
        model.blocks[1].mlp.output_weight.mul_(2)
    with pytest.raises(InvalidRequestError, match=r"blocks\.1\.mlp\.output_weight was changed in place"):
        model(random_tokens(1, 5))
    assert torch.equal(model(random_tokens(1, 5)), expected)
    with pytest.raises(InvalidRequestError, match="cannot be moved or cast"):
        model.to(torch.float64)


def test_files_that_change_or_go(tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    file = folder / "model.safetensors"
    content = file.read_bytes()
    model = ne.load_model(folder, device="cpu", offload="disk").get_or_create_model()
    expected = model(some_tokens())
    file.write_bytes(content[:-8] + bytes(8))
    os.utime(file, ns=(1, 1))
    with pytest.raises(MalformedCheckpointError, match=r"model\.safetensors was changed since the model was opened"):
        model(some_tokens())
    file.unlink()
    with pytest.raises(CheckpointNotFoundError, match=r"model\.safetensors is gone"):
        model(some_tokens())
    assert expected.isfinite().all()


def test_numbers_that_are_not_finite_are_found_when_they_are_read(tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    tensors["transformer.h.1.mlp.c_fc.weight"][2, 3] = torch.nan
    tensors["transformer.wte.weight"][7, 1] = torch.inf
    safetensors.torch.save_file(tensors, file)
    model = ne.load_model(folder, device="cpu", offload="disk").get_or_create_model()
    with pytest.raises(NonFiniteTensorError, match=r"h\.1\.mlp\.c_fc\.weight' is nan at \[2, 3\]"):
        model(torch.tensor([[1, 2]]))
    with pytest.raises(NonFiniteTensorError, match=r"wte\.weight' is inf at \[7, 1\]"):
        model.embed(torch.tensor([[1, 7]]))


def test_what_cannot_be_offloaded(tmp_path: Path, no_cache: None) -> None:
    with pytest.raises(InvalidRequestError, match="A model in memory has no files"):
        ne.load_model(small_gpt2(), offload="disk")
    with (
        annotations_unchecked(),
        pytest.raises(UnknownNameError, match=r"Unknown offload 'dis'\. Choose one of: disk\."),
    ):
        ne.load_model("tiny", offload="dis")  # type: ignore[arg-type]
    folder = save_tdb_pieces(small_gpt2(), tmp_path / "pieces")
    with loopback_server() as server:
        for file in folder.rglob("*"):
            if file.is_file():
                server.routes[f"/m/{file.relative_to(folder)}"] = ok(file.read_bytes())
        with pytest.raises(
            InvalidRequestError, match="reads weights from files on this machine, and these are at http"
        ):
            ne.load_model(f"{server.address}/m", device="cpu", offload="disk", tokenizer=byte_level_tokenizer())
    assert json.loads((folder / "config.json").read_text())["n_layers"] == 2
