"""Models from outside: configs, weights in safetensors, PyTorch and GGUF files, and tokenizers."""

import json
from pathlib import Path

import tokenizers
import torch
from gguf import GGMLQuantizationType
from tokenizers import decoders, normalizers, pre_tokenizers, processors
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

import neuron_explainer as ne
from benchmarks.small_models import number_tokenizer
from fuzz.mutations import mutated_json
from fuzz.pytorch_mutations import mutated_pytorch
from fuzz.target import Scene, Target, scenes_of
from fuzz.tensor_mutations import mutated_gguf, mutated_safetensors
from helpers.checkpoints import byte_level_tokenizer, save_tdb_pieces, small_llama
from helpers.gguf_families import random_model, write_family
from helpers.gguf_files import write_llama
from helpers.tiny_models import HF_CONFIGS, ONE_OF_EACH_FAMILY, hf_model
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer

_GGUF = "model.gguf"


def _check_model(source: Path) -> None:
    context = ne.load_model(source, device="cpu")
    model = context.get_or_create_model()
    assert all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
    logits = model(torch.arange(3, dtype=torch.int64)[None])
    assert logits.shape == (1, 3, model.config.vocab_size)
    context.decode_token_list(context.encode("w1 The w2"))


def _model_folder(folder: Path, name: str) -> Path:
    hf_model(name).save_pretrained(folder / name)
    number_tokenizer().backend.save(str(folder / name / "tokenizer.json"))
    return folder / name


def _sharded(folder: Path) -> Path:
    """The same model in two shards with an index."""
    sharded = folder / "sharded"
    hf_model("gpt2").save_pretrained(sharded, max_shard_size="60KB")
    number_tokenizer().backend.save(str(sharded / "tokenizer.json"))
    return sharded


def _tdb_folder(folder: Path) -> Path:
    config = GPT2Config(n_layer=1, n_embd=8, n_head=2, n_positions=16, vocab_size=61)
    pieces = save_tdb_pieces(GPT2LMHeadModel(config), folder / "pieces")
    number_tokenizer().backend.save(str(pieces / "tokenizer.json"))
    return pieces


def _config_scenes(folder: Path) -> list[Scene]:
    scenes = [
        scene for name in HF_CONFIGS for scene in scenes_of(_model_folder(folder, name), {"config.json": mutated_json})
    ]
    scenes += scenes_of(folder / "gpt2", {"generation_config.json": mutated_json})
    scenes += scenes_of(_sharded(folder), {"model.safetensors.index.json": mutated_json})
    return scenes + scenes_of(_tdb_folder(folder), {"config.json": mutated_json})


def _safetensors_scenes(folder: Path) -> list[Scene]:
    return [
        scene
        for name in ONE_OF_EACH_FAMILY
        for scene in scenes_of(_model_folder(folder, name), {"model.safetensors": mutated_safetensors})
    ]


def _pytorch_scenes(folder: Path) -> list[Scene]:
    names = ("tok_embed.weight", "final_ln.bias", "xf_layers.0.attn.q_proj.weight")
    return scenes_of(_tdb_folder(folder), {f"model_pieces/{name}.pt": mutated_pytorch for name in names})


def _gguf_scenes(folder: Path) -> list[Scene]:
    llama = _one_layer_llama()
    extra: dict[str, str | float | bool] = {
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 2.0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.bos_token_id": 0,
    }
    scenes = []
    for number, kind in enumerate((GGMLQuantizationType.F32, GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0)):
        (folder / str(number)).mkdir()
        write_llama(folder / str(number) / _GGUF, llama, kind=kind, extra=extra if number else None)
        scenes += scenes_of(folder / str(number), {_GGUF: mutated_gguf})
    for name in ("phi3", "gemma3", "gpt_oss"):
        (folder / name).mkdir()
        write_family(folder / name / _GGUF, random_model(name, num_hidden_layers=1))
        scenes += scenes_of(folder / name, {_GGUF: mutated_gguf})
    return scenes


def _one_layer_llama() -> LlamaForCausalLM:
    return small_llama(num_hidden_layers=1, intermediate_size=64)


def _read_gguf(folder: Path) -> None:
    _check_model(folder / _GGUF)


def _tokenizer_scenes(folder: Path) -> list[Scene]:
    pieces = ["<unk>", "<s>", *[f"<0x{byte:02X}>" for byte in range(256)], "▁", "a", "b", "▁a", "▁ab", "ab"]
    ids = {piece: place for place, piece in enumerate(pieces)}
    sentencepiece = tokenizers.Tokenizer(
        tokenizers.models.BPE(ids, [("▁", "a"), ("▁a", "b")], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    sentencepiece.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    sentencepiece.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    sentencepiece.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    sentencepiece.add_special_tokens(["<unk>", "<s>"])
    unigram = tokenizers.Tokenizer(
        tokenizers.models.Unigram([("<unk>", -9.0), ("▁The", -1.0), ("▁", -2.0), ("w", -3.0), ("1", -4.5)], 0)
    )
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    words = {"[UNK]": 0, "[CLS]": 1, "the": 2, "w": 3, "##1": 4, "##2": 5}
    wordpiece = tokenizers.Tokenizer(tokenizers.models.WordPiece(words, unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer()
    wordpiece.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(tokenizers.Regex("\\d"), "isolated")]
    )
    wordpiece.decoder = decoders.WordPiece()
    byte_level = byte_level_tokenizer(270)
    byte_level.enable_truncation(5)
    byte_level.enable_padding(pad_id=0, pad_token="!", length=8)
    continued = json.loads(byte_level_tokenizer(260).to_str())
    continued["model"]["continuing_subword_prefix"] = ""
    every = (sentencepiece, unigram, wordpiece, byte_level, number_tokenizer().backend)
    contents = [each.to_str().encode() for each in every] + [json.dumps(continued).encode()]
    return [Scene({"tokenizer.json": content}, "tokenizer.json", mutated_json) for content in contents]


def _read_tokenizer(folder: Path) -> None:
    tokenizer = ModelTokenizer.from_file(folder / "tokenizer.json")
    ids = tokenizer.encode("The w1 <|endoftext|> é\ufeff ab\0")
    assert isinstance(tokenizer.decode(ids), str)
    assert len(tokenizer.decode_token_list(ids)) == len(ids)
    assert len(tokenizer.token_strings) == tokenizer.n_tokens


TARGETS = [
    Target("config_json", _config_scenes, _check_model),
    Target("model_safetensors", _safetensors_scenes, _check_model),
    Target("model_pytorch", _pytorch_scenes, _check_model, may_warn="torch"),
    Target("gguf", _gguf_scenes, _read_gguf),
    Target("tokenizer_json", _tokenizer_scenes, _read_tokenizer),
]
