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
        added_text_by_id: the tokens added to the vocabulary. The decoder's rules apply to them as to the others.
        byte_level: whether each byte is written as one printable character.
        byte_tokens: whether there is a token `<0xNN>` for each byte.
        space_mark: the character that is written for a space; None if it is the space.
        n_added_spaces: how many spaces encoding puts before a text, and decoding removes again.
    """

    backend: tokenizers.Tokenizer
    added_text_by_id: dict[int, str]
    byte_level: bool
    byte_tokens: bool
    space_mark: str | None
    n_added_spaces: int

    @classmethod
    def of(cls, backend: tokenizers.Tokenizer) -> "TokenSpelling":
        """The spelling, found from a tokenizer's decoder."""
        byte_level = byte_tokens = False
        space_mark: str | None = None
        n_added_spaces = 0
        for part in _decoder_parts(backend):
            kind = part["type"]
            byte_level |= kind == "ByteLevel"
            byte_tokens |= kind == "ByteFallback"
            if kind == "Replace" and part["content"] == " ":
                space_mark = _literal(part["pattern"])
            elif kind == "Strip" and part["content"] == " ":
                n_added_spaces = part["start"]
            elif kind == "Metaspace":
                space_mark = part["replacement"]
                scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
                n_added_spaces = 0 if scheme == "never" else 1
        added = {token_id: token.content for token_id, token in backend.get_added_tokens_decoder().items()}
        return cls(backend, added, byte_level, byte_tokens, space_mark, n_added_spaces)

    def spaced(self, text: str) -> str:
        """A text with spaces in place of the mark for a space."""
        return text if self.space_mark is None else text.replace(self.space_mark, " ")

    def bytes_of(self, token_id: int, token: str) -> bytes:
        """The bytes of `token`, whose id is `token_id`."""
        if self.byte_level:
            return self._byte_level_bytes(token_id, token)
        if self.byte_tokens and (match := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(match[1], 16)])
        if self.space_mark is not None:
            return self.spaced(token).encode()
        return self.backend.decode([token_id], skip_special_tokens=False).encode()

    def _byte_level_bytes(self, token_id: int, token: str) -> bytes:
        byte_values = [BYTE_BY_CHARACTER.get(character) for character in token]
        if None in byte_values:  # the token is written as plain text
            return token.encode()
        spelled = bytes(byte for byte in byte_values if byte is not None)
        # An added token is a whole text, never a part of a character: what is not UTF-8 as bytes is written as it is.
        return token.encode() if token_id in self.added_text_by_id and not _is_utf8(spelled) else spelled

    def without_added_space(self, text: str) -> str:
        """A decoded text without the spaces that encoding added."""
        for _ in range(self.n_added_spaces):
            text = text.removeprefix(" ")
        return text


def _literal(pattern: dict[str, str]) -> str | None:
    """The text that a pattern of the package stands for; None for a regular expression of more than one character."""
    expression = pattern.get("Regex", "")
    return pattern.get("String") or (
        expression if len(expression) == 1 and re.escape(expression) == expression else None
    )


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def most_stripped(backend: tokenizers.Tokenizer) -> int:
    """How many characters a tokenizer's decoder removes from an end of a text, at most."""
    steps = (part for part in _decoder_parts(backend) if part["type"] == "Strip")
    return max((max(step["start"], step["stop"]) for step in steps), default=0)


def _decoder_parts(backend: tokenizers.Tokenizer) -> Iterator[dict[str, Any]]:
    """The steps of a tokenizer's decoder, as in its JSON."""
    if backend.decoder is None:
        return
    pending = [json.loads(backend.decoder.__getstate__())]
    while pending:
        part = pending.pop(0)
        pending[:0] = part.get("decoders", [])
        yield part
