"""From text to token ids and back: nothing is lost, and what is no single token is refused."""

import functools
import random
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from helpers.checkpoints import VOCAB_SIZE, byte_level_tokenizer
from neuron_explainer.errors import InvalidRequestError, NotOneTokenError, TokenizerError
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer, unused_token


@functools.cache
def byte_level() -> ModelTokenizer:
    return ModelTokenizer(byte_level_tokenizer())


def sentencepiece_like() -> Tokenizer:
    """A vocabulary as Llama 2's: a mark for spaces, byte tokens, a space before every text, <s> before its tokens."""
    pieces = ["<unk>", "<s>", *[f"<0x{byte:02X}>" for byte in range(256)], "▁", "a", "b", "▁a", "▁ab", "ab"]
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    merges = [("▁", "a"), ("▁a", "b"), ("a", "b")]
    tokenizer = Tokenizer(BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    return tokenizer


@given(st.text())
def test_decoding_the_tokens_of_a_text_gives_the_text(text: str) -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(tokenizer.token_bytes(token_id) for token_id in ids) == text.encode()
    assert tokenizer.decode(ids) == tokenizer.backend.decode(ids, skip_special_tokens=False)


@given(st.lists(st.integers(0, VOCAB_SIZE - 1)))
def test_every_token_is_spelled_by_its_own_bytes(ids: list[int]) -> None:
    tokenizer = byte_level()
    joined = b"".join(tokenizer.token_bytes(token_id) for token_id in ids)
    assert tokenizer.decode(ids) == joined.decode("utf-8", "backslashreplace")
    for token_id, string in zip(ids, tokenizer.decode_token_list(ids), strict=True):
        assert string == tokenizer.token_bytes(token_id).decode("utf-8", "backslashreplace")


def test_pieces_of_a_character_keep_their_bytes() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("\N{SNOWMAN}")  # three bytes, e2 98 83, that no training text holds together
    assert "".join(tokenizer.decode_token_list(ids)) == "\\xe2\\x98\\x83"
    assert tokenizer.decode(ids) == "\N{SNOWMAN}"
    assert tokenizer.decode(ids[:2]) == "\\xe2\\x98"


def test_special_tokens_are_recognised_in_text_and_shown_as_they_are() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("<|endoftext|>The")
    assert ids[0] == VOCAB_SIZE - 1
    assert tokenizer.decode_token_list(ids) == ["<|endoftext|>", "The"]
    assert tokenizer.decode(ids) == "<|endoftext|>The"


def test_one_token_is_found_and_several_are_shown() -> None:
    tokenizer = byte_level()
    assert tokenizer.decode_token_list([tokenizer.encode_token_str(" Mary")]) == [" Mary"]
    assert tokenizer.encode_token_str("<|endoftext|>") == VOCAB_SIZE - 1
    with pytest.raises(NotOneTokenError) as refused:
        tokenizer.encode_token_str(" Zzz")
    assert refused.value.pieces == tokenizer.decode_token_list(tokenizer.encode(" Zzz"))
    assert " + ".join(map(repr, refused.value.pieces)) in str(refused.value)
    with pytest.raises(NotOneTokenError, match="' Mary', with a leading space, is"):
        tokenizer.encode_token_str("Mary")
    with pytest.raises(NotOneTokenError, match="It has no tokens"):
        tokenizer.encode_token_str("")


def test_ids_without_a_token() -> None:
    tokenizer = byte_level()
    assert tokenizer.decode_token_list([VOCAB_SIZE + 3]) == [unused_token(VOCAB_SIZE + 3)]
    assert tokenizer.decode([VOCAB_SIZE + 3]) == unused_token(VOCAB_SIZE + 3)
    for token_id in (-1, VOCAB_SIZE):
        with pytest.raises(InvalidRequestError, match=f"no token {token_id}"):
            tokenizer.token_bytes(token_id)


def test_sentencepiece_vocabularies() -> None:
    tokenizer = ModelTokenizer(sentencepiece_like())
    assert tokenizer.decode_token_list(tokenizer.encode("ab a")) == ["<s>", " ab", " a"]
    assert tokenizer.encode("ab a", add_special_tokens=False) == tokenizer.encode("ab a")[1:]
    assert tokenizer.decode(tokenizer.encode("ab a", add_special_tokens=False)) == "ab a"
    assert tokenizer.decode_token_list(tokenizer.encode("é", add_special_tokens=False)) == [" ", "\\xc3", "\\xa9"]
    assert tokenizer.decode(tokenizer.encode("é", add_special_tokens=False)) == "é"
    # What is shown leads back to its token, although encoding a text puts a space before it.
    for string in (" ab", "ab", " a", "<s>"):
        assert tokenizer.decode_token_list([tokenizer.encode_token_str(string)]) == [string]


@given(st.text(alphabet="ab é\N{SNOWMAN}", min_size=1))
def test_sentencepiece_vocabularies_decode_as_the_tokenizers_package_does(text: str) -> None:
    tokenizer = ModelTokenizer(sentencepiece_like())
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == tokenizer.backend.decode(ids, skip_special_tokens=False) == text


def test_a_saved_tokenizer_reads_the_same(tmp_path: Path) -> None:
    byte_level().backend.save(str(tmp_path / "tokenizer.json"))
    for path in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path)):
        read = ModelTokenizer.of(path)
        assert read.encode(" Mary and John") == byte_level().encode(" Mary and John")
        assert read.fingerprint == byte_level().fingerprint
    assert ModelTokenizer(byte_level_tokenizer(VOCAB_SIZE - 1)).fingerprint != byte_level().fingerprint


def test_fast_tokenizers_of_transformers_are_copied() -> None:
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level_tokenizer(), pad_token="!")
    theirs("text", truncation=True, max_length=2, padding="max_length")  # leaves its mark on theirs
    ours = ModelTokenizer.of(theirs)
    text = "The capital of France is Paris"
    assert ours.encode(text) == theirs(text, truncation=False).input_ids
    theirs("text", truncation=True, max_length=2)
    assert ours.decode(ours.encode(text)) == text


def test_padding_and_truncation_that_were_saved_are_off() -> None:
    saved = byte_level_tokenizer()
    saved.enable_truncation(2)
    saved.enable_padding(length=50)
    assert ModelTokenizer.of(saved).encode(" Mary and John") == byte_level().encode(" Mary and John")
    assert saved.truncation is not None  # the caller's stays as it was


def test_what_is_no_usable_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="slow tokenizer"):
        ModelTokenizer.of(transformers.ByT5Tokenizer())
    with pytest.raises(TokenizerError, match="An object of type int is not a supported tokenizer"):
        ModelTokenizer.of(3)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json does not exist.*tokenizer\.json"):
        ModelTokenizer.of(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(TokenizerError, match="cannot be read as a tokenizer"):
        ModelTokenizer.of(tmp_path)


def gemma_like() -> Tokenizer:
    """A vocabulary as Gemma's: a mark for spaces, runs of it as added tokens, byte tokens, no space before a text."""
    pieces = ["<unk>", "\n", "▁▁", "▁▁▁▁", *[f"<0x{byte:02X}>" for byte in range(256)], "▁", *"abcdef():"]
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    merges = [("▁", "▁"), ("▁▁", "▁▁")]
    tokenizer = Tokenizer(BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("\n", "▁▁", "▁▁▁▁", "▁x")])
    tokenizer.add_special_tokens(["<bos>"])
    return tokenizer


@pytest.mark.parametrize("text", ["def:\n    b", "a  b      c", "\n\n  ", "é", "<bos>def"])
def test_added_tokens_are_spelled_by_the_decoder_s_rules(text: str) -> None:
    backend = gemma_like()
    tokenizer = ModelTokenizer(backend)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == backend.decode(ids, skip_special_tokens=False) == text
    for token_id, string in zip(ids, tokenizer.decode_token_list(ids), strict=True):
        if "\\x" not in string:
            assert string == backend.decode([token_id], skip_special_tokens=False)
    assert tokenizer.encode_token_str("    ") == backend.token_to_id("▁▁▁▁")


def test_added_tokens_of_a_byte_level_vocabulary() -> None:
    backend = byte_level_tokenizer()
    backend.add_tokens(["Ġadded", "é", "two words", "<|im_start|>"])
    tokenizer = ModelTokenizer(backend)
    ids = backend.get_vocab()
    for text in ("Ġadded", "two words", "<|im_start|>"):
        assert tokenizer.decode([ids[text]]) == backend.decode([ids[text]], skip_special_tokens=False)
    assert tokenizer.decode([ids["é"]]) == "é"  # as a byte, it would not be a character
    assert tokenizer.decode(tokenizer.encode("é two words")) == "é two words"


def test_one_token_of_a_byte_level_tokenizer_that_adds_a_space() -> None:
    backend = byte_level_tokenizer()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer = ModelTokenizer(backend)
    for text in ("a", " a", "capital", " capital"):
        spelling = text.replace(" ", "Ġ")
        if backend.token_to_id(spelling) is not None:
            assert tokenizer.encode_token_str(text) == backend.token_to_id(spelling)
    assert tokenizer.decode([tokenizer.encode_token_str("a")]) == "a"


def test_an_interrupt_while_encoding_stays_an_interrupt() -> None:
    class Interrupted:
        def encode(self, *arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

    tokenizer = ModelTokenizer(byte_level_tokenizer())
    tokenizer.backend = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode("a")


def test_mutated_files_load_or_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    byte_level_tokenizer(300).save(str(path))
    whole = path.read_bytes()
    generator = random.Random(7)
    n_refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(generator.choice([1, 2, 8])):
            place = generator.randrange(len(content))
            kind = generator.randrange(3)
            if kind == 0:
                content[place] = generator.randrange(256)
            elif kind == 1:
                del content[place : place + generator.randrange(1, 40)]
            else:
                content[place:place] = generator.choice([b"null", b"-1", b"[]", b'"', b"{", b"9" * 30])
        path.write_bytes(content)
        try:
            tokenizer = ModelTokenizer.from_file(path)
            tokenizer.decode(tokenizer.encode("The capital of France (東京)\x00"))
            tokenizer.fingerprint  # noqa: B018  # every token's string
        except TokenizerError:
            n_refused += 1
    assert n_refused > 100
