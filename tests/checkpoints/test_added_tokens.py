"""Added tokens are spelled by the decoder's rules, as by the `tokenizers` package; a text leads back to its token."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel

from neuron_explainer.errors import NotOneTokenError
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_MARK = "▁"


def byte_level(**options: Any) -> Tokenizer:
    tokenizer = Tokenizer(BPE({char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**options)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Gemma's: spaces become marks, and nothing is put before a text."""
    pieces = ["<unk>", *_BYTES, _MARK, *"ab():\n"]
    model = BPE({p: i for i, p in enumerate(pieces)}, [], byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", _MARK)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def metaspace() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({p: i for i, p in enumerate(["<unk>", _MARK + "a", "a", "b", _MARK])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_MARK, prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(replacement=_MARK, prepend_scheme="never")
    return tokenizer


KINDS = {"byte-level": byte_level, "byte-fallback": byte_fallback, "metaspace": metaspace}
ADDED = [_MARK * 2, _MARK * 4, "\n\n", "<0x41>", "Ġ", "ĠĠ", "<|mark▁here|>", "<｜x｜>", "日"]


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_added_tokens_are_spelled_as_the_package_spells_them(kind: str, normalized: bool, special: bool) -> None:
    backend = KINDS[kind]()
    tokens = [AddedToken(text, normalized=normalized, special=special) for text in ADDED]
    backend.add_special_tokens(tokens) if special else backend.add_tokens(tokens)
    ours = ModelTokenizer(backend)
    for text in ADDED:
        token_id = backend.token_to_id(text)
        assert token_id is not None
        assert ours.decode_token_list([token_id]) == [backend.decode([token_id], skip_special_tokens=False)], text
        around = [*ours.encode("a"), token_id, *ours.encode("b")]
        assert ours.decode(around) == backend.decode(around, skip_special_tokens=False), text


@given(st.text(alphabet="ab():\n \té日", max_size=30))
def test_runs_of_spaces_come_back_as_spaces(text: str) -> None:
    backend = byte_fallback()
    backend.add_tokens([AddedToken(_MARK * n, normalized=False) for n in range(2, 6)] + [AddedToken("\n\n")])
    ours = ModelTokenizer(backend)
    assert ours.decode(ours.encode(text)) == backend.decode(ours.encode(text), skip_special_tokens=False) == text


def test_an_added_token_that_is_not_utf8_as_bytes_keeps_its_text() -> None:
    backend = byte_level()
    backend.add_tokens(["café"])  # é stands for the byte e9, which is not a character
    ours = ModelTokenizer(backend)
    assert ours.decode_token_list(ours.encode("café")) == ["café"]


@pytest.mark.parametrize("adds_space", [False, True])
def test_a_text_leads_to_the_token_of_this_text(adds_space: bool) -> None:
    backend = byte_level(add_prefix_space=adds_space)
    backend.model = BPE({**backend.get_vocab(), "Ġa": 256}, [("Ġ", "a")])
    ours = ModelTokenizer(backend)
    for text in ("a", " a", "b", " "):
        assert ours.decode_token_list([ours.encode_token_str(text)]) == [text]
    with pytest.raises(NotOneTokenError):
        ours.encode_token_str(" b")


def test_what_becomes_the_unknown_token_is_not_a_token() -> None:
    with pytest.raises(NotOneTokenError, match="'<unk>'"):
        ModelTokenizer(metaspace()).encode_token_str("zzz")
    assert ModelTokenizer(metaspace()).encode_token_str("<unk>") == 0


def test_a_text_that_the_normalizer_changes_leads_to_its_token() -> None:
    backend = metaspace()
    backend.normalizer = normalizers.Lowercase()
    assert ModelTokenizer(backend).encode_token_str("A") == backend.token_to_id("a")
