"""The bytes of each token of a vocabulary.

Vocabularies write bytes in two ways. Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) writes each byte as one printable
character. SentencePiece (Llama 2, Mistral, Gemma) writes text as it is, with a mark for a space, and has a token
`<0xNN>` for each byte.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tokenizers

SPACE_MARK = "▁"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_level_characters() -> dict[int, str]:
    """The character that byte-level BPE writes for each byte (Radford et al. 2019, GPT-2's `bytes_to_unicode`).

    Printable Latin-1 bytes are their own characters; the others, in order, get the characters from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + rank) for rank, byte in enumerate(others)}


CHARACTER_BY_BYTE = _byte_level_characters()
BYTE_BY_CHARACTER = {character: byte for byte, character in CHARACTER_BY_BYTE.items()}


@dataclass(frozen=True)
class TokenSpelling:
    """How the vocabulary of a tokenizer writes bytes.

    Attributes:
        backend: the tokenizer.
        added_ids: the tokens added to the vocabulary. The decoder's rules apply to them too, as in `tokenizers`, but
            what cannot be read by them is written as it is.
        byte_level: whether each byte is written as one printable character.
        byte_tokens: whether there is a token `<0xNN>` for each byte.
        space_mark: the character that is written for a space; None if it is the space.
        n_added_spaces: how many spaces encoding puts before a text, and decoding removes again.
        adds_kept_space: whether encoding puts a space before a text that decoding keeps (byte-level BPE with
            `add_prefix_space`).
    """

    backend: tokenizers.Tokenizer
    added_ids: frozenset[int]
    byte_level: bool
    byte_tokens: bool
    space_mark: str | None
    n_added_spaces: int
    adds_kept_space: bool

    @classmethod
    def of(cls, backend: tokenizers.Tokenizer) -> "TokenSpelling":
        """The spelling, found from a tokenizer's decoder."""
        byte_level = byte_tokens = False
        space_mark: str | None = None
        n_added_spaces = 0
        for part in _parts(backend.decoder):
            kind = part["type"]
            byte_level |= kind == "ByteLevel"
            byte_tokens |= kind == "ByteFallback"
            if kind == "Replace" and part["content"] == " ":
                space_mark = part["pattern"].get("String")
            elif kind == "Strip" and part["content"] == " ":
                n_added_spaces = part["start"]
            elif kind == "Metaspace":
                space_mark = part["replacement"]
                scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
                n_added_spaces = 0 if scheme == "never" else 1
        adds_kept_space = any(
            part["type"] == "ByteLevel" and part.get("add_prefix_space") for part in _parts(backend.pre_tokenizer)
        )
        added = frozenset(backend.get_added_tokens_decoder())
        return cls(backend, added, byte_level, byte_tokens, space_mark, n_added_spaces, adds_kept_space)

    @property
    def adds_leading_space(self) -> bool:
        """Whether encoding puts a space before every text."""
        return self.n_added_spaces > 0 or self.adds_kept_space

    def bytes_of(self, token_id: int, token: str) -> bytes:
        """The bytes of `token`, whose id is `token_id`."""
        is_added = token_id in self.added_ids
        if self.byte_level:
            byte_values = [BYTE_BY_CHARACTER.get(character) for character in token]
            if None in byte_values:  # the token is written as plain text
                return token.encode()
            spelled = bytes(byte for byte in byte_values if byte is not None)
            # An added "é" stands for é; as a byte it would not be a character.
            return token.encode() if is_added and not _is_text(spelled) else spelled
        if self.byte_tokens and (match := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(match[1], 16)])
        if self.space_mark is not None:
            return token.replace(self.space_mark, " ").encode()
        if is_added:
            return token.encode()
        return self.backend.decode([token_id], skip_special_tokens=False).encode()

    def without_added_space(self, text: str) -> str:
        """A decoded text without the spaces that encoding added."""
        for _ in range(self.n_added_spaces):
            text = text.removeprefix(" ")
        return text


def _is_text(spelled: bytes) -> bool:
    try:
        spelled.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parts(step: Any) -> Iterator[dict[str, Any]]:
    """A decoder or pre-tokenizer of the `tokenizers` package, and what it is made of, as in its JSON."""
    if step is None:
        return
    pending = [json.loads(step.__getstate__())]
    while pending:
        part = pending.pop(0)
        pending[:0] = [*part.get("decoders", []), *part.get("pretokenizers", [])]
        yield part
