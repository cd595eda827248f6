"""Byte-level tokenizers of GGUF files: how each rule splits text, and what `transformers` makes of the same files."""

import unicodedata
from pathlib import Path
from typing import Any

import gguf
import pytest

from helpers.checkpoints import TEXTS, byte_level_tokenizer
from helpers.gguf_files import write_llama
from neuron_explainer.models.checkpoints.gguf_tokenizer import tokenizer_from_gguf
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.models.tokenizers.splitting_rules import SPLITTING_RULES
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.notices import AssumedSettingWarning

AWKWARD = [
    *TEXTS[:3], "I'M sure you'Ll say 'twas 12345,67 \n\n\t  HTTPServer/x2 /* ok */\n", "東京タワー１２３ é́ ñ — ½³ ",
    "a\r\n\r\nb   c\n d!?\n/e", "", " ", "\u200d🌫️ Привет, МИР!",
]  # fmt: skip


def tokenizer_with(tmp_path: Path, rule: str, **entries: Any) -> ModelTokenizer:
    path = write_llama(tmp_path / "x.gguf", None, pre_tokenizer=rule)
    file = GgufFile.open(path)
    file.metadata.update({f"tokenizer.ggml.{key}": value for key, value in entries.items()})
    return tokenizer_from_gguf(file)


def pieces_of(tokenizer: ModelTokenizer, text: str) -> list[str]:
    cut = tokenizer.backend.pre_tokenizer.pre_tokenize_str(text)
    return [text[start:end] for _, (start, end) in cut]


@pytest.mark.parametrize("rule", SPLITTING_RULES)
def test_no_rule_loses_text(rule: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_with(tmp_path, rule)
    for text in AWKWARD:
        composed = unicodedata.normalize("NFC", text) if SPLITTING_RULES[rule].composes else text
        assert tokenizer.decode(tokenizer.encode(text)) == composed


@pytest.mark.parametrize(
    ("rule", "pieces"),
    [
        ("olmo", ["It", "'s", " 2024", ",", " myID", "/", "x", " \n ", " ok"]),
        ("command-r", ["It", "'s", " ", "2", "0", "2", "4", ",", " myID", "/", "x", " \n ", " ok"]),
        ("falcon", ["It", "'", "s", " ", "202", "4", ",", " myID", "/", "x", " \n ", " ok"]),
        ("dbrx", ["It", "'s", " ", "202", "4", ",", " myID", "/x", " \n", " ", " ok"]),
        ("stablelm2", ["It", "'s", " ", "2", "0", "2", "4", ",", " myID", "/x", " \n", " ", " ok"]),
        ("tekken", ["It", "'s", " ", "2", "0", "2", "4", ",", " my", "ID", "/x", " \n", " ", " ok"]),
        ("gpt-4o", ["It's", " ", "202", "4", ",", " my", "ID", "/x", " \n", " ", " ok"]),
    ],
)
def test_how_text_is_split(rule: str, pieces: list[str], tmp_path: Path) -> None:
    assert pieces_of(tokenizer_with(tmp_path, rule), "It's 2024, myID/x \n  ok") == pieces


@pytest.mark.parametrize("rule", ["gpt-2", "llama-bpe", "smaug-bpe", "dbrx", "qwen2", "tekken", "gpt-4o", "pixtral"])
def test_the_same_tokens_as_transformers_makes(rule: str, tmp_path: Path) -> None:
    theirs = pytest.importorskip("transformers.integrations.gguf", reason="an older version reads fewer rules")
    ours = tokenizer_with(tmp_path, rule)
    architecture, described, _ = theirs.get_gguf_tokenizer(str(tmp_path / "x.gguf"))
    backend, _ = theirs.convert_gguf_tokenizer(architecture, described)
    for text in AWKWARD:
        assert ours.encode(text, add_special_tokens=False) == backend.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(("rule", "composes"), [("qwen2", True), ("olmo", True), ("gpt-2", False), ("tekken", False)])
def test_which_rules_compose_accents(rule: str, composes: bool, tmp_path: Path) -> None:
    tokenizer = tokenizer_with(tmp_path, rule)
    assert (tokenizer.encode("cafe\u0301") == tokenizer.encode("caf\u00e9")) == composes


def test_words_that_no_merge_makes(tmp_path: Path) -> None:
    """Llama 3 has some; without the rule they would be their letters."""
    rare = "Tokyo"
    tokens = [*GgufFile.open(write_llama(tmp_path / "x.gguf", None)).metadata["tokenizer.ggml.tokens"], rare]
    for rule, whole in (("llama-bpe", True), ("dbrx", False)):
        encoded = tokenizer_with(tmp_path, rule, tokens=tokens).encode(rare)
        assert (encoded == [len(tokens) - 1]) == whole


def test_who_begins_texts_if_the_file_does_not_say(tmp_path: Path) -> None:
    for rule, begins in (("llama-bpe", True), ("tekken", True), ("smaug-bpe", False), ("gpt-2", False)):
        assert (tokenizer_with(tmp_path, rule, bos_token_id=5).encode("x")[0] == 5) == begins
        assert tokenizer_with(tmp_path, rule, bos_token_id=5, add_bos_token=False).encode("x")[0] != 5


@pytest.mark.parametrize("said", ["default", None])
def test_a_rule_that_is_not_said_is_assumed_with_a_warning(said: str | None, tmp_path: Path) -> None:
    file = GgufFile.open(write_llama(tmp_path / "x.gguf", None))
    del file.metadata["tokenizer.ggml.pre"]
    if said:
        file.metadata["tokenizer.ggml.pre"] = said
    with pytest.warns(AssumedSettingWarning, match=r"does not say how its tokenizer splits text.*tokenizer= the path"):
        tokenizer = tokenizer_from_gguf(file)
    assert tokenizer.encode(TEXTS[2]) == byte_level_tokenizer().encode(TEXTS[2]).ids


def test_gemma_s_tokens_of_several_spaces(tmp_path: Path) -> None:
    """The converter writes them as user-defined tokens of real spaces, without a score among the merges'."""
    theirs = pytest.importorskip("transformers.integrations.gguf", reason="an older version has no such module")
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    several = ["\n", "\n\n", *[" " * n for n in range(2, 6)]]
    scored = ["▁t", "he", "▁the", "re", "▁there", *"▁therabc"]  # best first; single characters last
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "gemma2")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*pieces, *several, *scored])
    writer.add_token_scores([0.0] * 260 + [-1000.0] * len(several) + [-float(rank) for rank in range(len(scored))])
    writer.add_token_types([3, 3, 3, 2] + [6] * 256 + [4] * len(several) + [1] * len(scored))
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_space_prefix(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    ours = tokenizer_from_gguf(GgufFile.open(tmp_path / "x.gguf"))
    architecture, described, _ = theirs.get_gguf_tokenizer(str(tmp_path / "x.gguf"))
    backend, _ = theirs.convert_gguf_tokenizer(architecture, described)
    for text in ("the there", "the  there    the", "   the     re\n\nthere\n", "a é  b", ""):
        assert ours.encode(text, add_special_tokens=False) == backend.encode(text, add_special_tokens=False).ids, text
        assert ours.decode(ours.encode(text, add_special_tokens=False)) == text
