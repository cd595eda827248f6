"""From text to token ids and back, without loss.

A token may be a part of a character: "日" can be two tokens of one and two bytes. Such a token has no text of its own,
so it is shown by its bytes (`\\xe6`). Decoding the parts together gives the character again.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import tokenizers

from neuron_explainer.errors import InvalidRequestError, NotOneTokenError, TokenizerError, shown
from neuron_explainer.models.chats.chat_template import DEFAULT, ChatTemplate
from neuron_explainer.models.chats.finding_templates import template_in_files, template_of_tokenizer
from neuron_explainer.models.checkpoints.file_source import FileSource, Folder
from neuron_explainer.models.tokenizers.backend_errors import backend_errors, check_merges
from neuron_explainer.models.tokenizers.token_bytes import TokenSpelling, most_stripped
from neuron_explainer.storage.local import is_local_folder
from neuron_explainer.vocabulary.checks import checked_token_id, checked_type, whole_number

TOKENIZER_FILE_NAME = "tokenizer.json"
MOST_TOKENIZER_BYTES = 512 * 2**20
"""The largest size of a `tokenizer.json`. Those of the largest vocabularies have about 40 MB."""
MOST_TOKENS = 2**22
"""The largest number of token ids. The largest vocabularies have about a million."""
_MOST_STRIPPED = 1000
"""How many characters decoding may remove. The package counts to this number, however short the text is."""
_MOST_UNUSED_IDS = 2**17
"""How many ids may have no token, beside as many as there are tokens: every id up to the largest takes memory."""


class ModelTokenizer:
    """A model's tokenizer, based on one of the `tokenizers` package.

    Padding and truncation that the tokenizer was saved with are switched off: `encode` gives all tokens of a text. A
    tokenizer in memory is copied, and the copy never changes. So several threads can use it at once, whatever happens
    to the original.

    Example:
        tokenizer = ModelTokenizer.from_file("gpt2/tokenizer.json")
        tokenizer.decode_token_list(tokenizer.encode("Once upon a time"))
    """

    chat_template: ChatTemplate | None = None
    """What makes a text of messages; None if the model has none."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        *,
        origin: str = "memory",
        chat_template: ChatTemplate | None = None,
    ) -> None:
        """Copy a tokenizer.

        Args:
            tokenizer: a tokenizer of the `tokenizers` package.
            origin: where it came from, for errors.
            chat_template: what makes a text of messages.

        Raises:
            TokenizerError: it cannot be copied, or has far too many token ids.
        """
        checked_type("tokenizer", tokenizer, tokenizers.Tokenizer, TokenizerError)
        with backend_errors(f"The tokenizer ({origin}) cannot be copied"):
            self._keep(tokenizers.Tokenizer.from_str(tokenizer.to_str()), origin)
        self.chat_template = chat_template

    def _keep(self, backend: tokenizers.Tokenizer, origin: str) -> None:
        """Use a backend that belongs to this object alone."""
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.origin = origin
        if (n_stripped := most_stripped(backend)) > _MOST_STRIPPED:
            raise TokenizerError(
                f"The tokenizer ({origin}) removes {n_stripped} characters from the ends of what it decodes. The limit "
                f"is {_MOST_STRIPPED}."
            )
        self._spelling = TokenSpelling.of(backend)
        if self.n_tokens > MOST_TOKENS:
            raise TokenizerError(
                f"The tokenizer ({origin}) has the token id {self.n_tokens - 1}. The limit is {MOST_TOKENS - 1}."
            )
        n_used = backend.get_vocab_size(with_added_tokens=True)
        if self.n_tokens > 2 * n_used + _MOST_UNUSED_IDS:
            raise TokenizerError(
                f"The tokenizer ({origin}) has the token id {self.n_tokens - 1}, but {n_used:,} tokens in all. Its "
                "vocabulary may be damaged."
            )

    @classmethod
    def from_file(cls, path: str | PathLike[str], files: FileSource | None = None) -> "ModelTokenizer":
        """Read a `tokenizer.json`, or the one in a folder; and the chat template, if there is one.

        Args:
            path: the file or its folder.
            files: where the files of the chat template are; None: in the folder.

        Raises:
            TokenizerError: the file does not exist, is malformed or is far too large.
        """
        file = Path(path)
        if is_local_folder(file):
            file = file / TOKENIZER_FILE_NAME
        if not file.is_file():
            raise TokenizerError(
                f"{file} does not exist. Pass `tokenizer=` the path of a {TOKENIZER_FILE_NAME}, a "
                "`tokenizers.Tokenizer`, or a fast tokenizer of `transformers`."
            )
        if file.stat().st_size > MOST_TOKENIZER_BYTES:
            raise TokenizerError(
                f"{file} has {file.stat().st_size:,} bytes. The limit for a tokenizer is {MOST_TOKENIZER_BYTES:,}."
            )
        new = cls.__new__(cls)
        with backend_errors(f"{file} cannot be read as a tokenizer"):
            content = file.read_bytes()
            check_merges(content, file)
            new._keep(tokenizers.Tokenizer.from_buffer(content), str(file))
        new.chat_template = template_in_files(files or Folder(file.parent))
        return new

    @classmethod
    def of(cls, given: Any) -> "ModelTokenizer":
        """A ModelTokenizer from what a caller gives.

        Args:
            given: a ModelTokenizer; a `tokenizers.Tokenizer` or a fast tokenizer of `transformers` (both are copied, so
                later changes of their padding or truncation have no effect here); or the path of a `tokenizer.json` or
                of its folder.

        Raises:
            TokenizerError: it is something else, such as a slow tokenizer of `transformers`.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str | PathLike):
            return cls.from_file(given)
        backend = given if isinstance(given, tokenizers.Tokenizer) else getattr(given, "backend_tokenizer", None)
        if isinstance(backend, tokenizers.Tokenizer):
            chat_template = None if given is backend else template_of_tokenizer(given)
            return cls(backend, origin=f"{type(given).__name__} in memory", chat_template=chat_template)
        slow = hasattr(given, "convert_ids_to_tokens")
        raise TokenizerError(
            f"An object of type {type(given).__name__} is not a supported tokenizer. "
            + ("It is a slow tokenizer of transformers; load the fast one (use_fast=True). " if slow else "")
            + "Give a fast tokenizer of transformers, a tokenizers.Tokenizer, or the path of a tokenizer.json."
        )

    def with_chat_template(self, template: str) -> "ModelTokenizer":
        """The same tokenizer with another chat template, in jinja2's language."""
        new = copy.copy(self)
        special_tokens = self.chat_template.special_tokens if self.chat_template is not None else {}
        new.chat_template = ChatTemplate({DEFAULT: template}, special_tokens, "the argument chat_template")
        return new

    @cached_property
    def n_tokens(self) -> int:
        """One more than the largest token id."""
        return max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @cached_property
    def token_strings(self) -> list[str]:
        """Every token by id, as in `decode_token_list`; `unused_token` stands for an id without a token."""
        strings = [unused_token(token_id) for token_id in range(self.n_tokens)]
        for token_id in self.backend.get_vocab(with_added_tokens=True).values():
            strings[token_id] = self.token_bytes(token_id).decode("utf-8", "backslashreplace")
        return strings

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of all token strings in order. It is equal for tokenizers whose ids mean the same."""
        return hashlib.sha256(json.dumps(self.token_strings).encode()).hexdigest()

    @cached_property
    def _ids_by_string(self) -> Mapping[str, list[int]]:
        ids: dict[str, list[int]] = {}
        for token_id, string in enumerate(self.token_strings):
            ids.setdefault(string, []).append(token_id)
        return ids

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of a token; they may be a part of a character.

        Raises:
            InvalidRequestError: no token has this id.
        """
        checked = checked_token_id(token_id, self.n_tokens, "The tokenizer")
        with backend_errors(f"Token {checked} cannot be decoded"):
            token = self.backend.id_to_token(checked)
            if token is None:
                raise InvalidRequestError(f"The tokenizer has no token {checked}: the id is unused.")
            return self._spelling.bytes_of(checked, token)

    def spelled_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of a token; those of `unused_token` for an id without a token.

        Raises:
            InvalidRequestError: it is not a whole number.
        """
        number = _whole(token_id)
        has_token = 0 <= number < self.n_tokens and self.backend.id_to_token(number) is not None
        return self.token_bytes(number) if has_token else unused_token(number).encode()

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text.

        Args:
            text: any text; names of special tokens in it (`<|endoftext|>`) become those tokens.
            add_special_tokens: add the tokens that this tokenizer puts around every text (Llama's: a
                beginning-of-sequence token). The tokenizers of GPT-2, Pythia and SmolLM2 add none.

        Raises:
            InvalidRequestError: it is not a text, or holds half of a surrogate pair, which no encoding has.
            TokenizerError: the tokenizer fails on this text.
        """
        checked_type("text", text, str)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                f"text has {text[error.start]!r} at character {error.start}: half of a surrogate pair. Give whole "
                "characters."
            ) from None
        with backend_errors(f"The tokenizer ({self.origin}) cannot encode {shown(text)}"):
            return self.backend.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a sequence of tokens, special tokens included.

        Bytes that are not valid UTF-8 even together are shown as `\\xNN`, as in `decode_token_list`.

        Raises:
            InvalidRequestError: an id is not a whole number.
        """
        text = b"".join(map(self.spelled_bytes, token_ids)).decode("utf-8", "backslashreplace")
        return self._spelling.without_added_space(text)

    def decode_token_list(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token; a token that is not valid UTF-8 by itself is shown by its bytes (`\\xe2\\x80`).

        `unused_token` stands for an id without a token (models pad their vocabularies).

        Raises:
            InvalidRequestError: an id is not a whole number.
        """
        strings = self.token_strings
        numbers = map(_whole, token_ids)
        return [strings[number] if 0 <= number < len(strings) else unused_token(number) for number in numbers]

    def encode_token_str(self, text: str) -> int:
        """The id of a text that is exactly one token; a leading space counts.

        Raises:
            NotOneTokenError: the text is not one token; the error shows its tokens.
        """
        token_ids = self.encode(text, add_special_tokens=False)
        if len(token_ids) == 1 and self._leads_back(token_ids[0], text):
            return token_ids[0]
        # Some tokenizers put a space before every text (Llama's SentencePiece, byte-level ones with add_prefix_space).
        # Encoding "a" gives " a", and encoding " Paris" may give two spaces. A token's text must lead back to it.
        same_spelling = self._ids_by_string.get(text, [])
        if len(same_spelling) == 1:
            return same_spelling[0]
        pieces = self.decode_token_list(token_ids)
        spaced = " " + text
        hint = f"{spaced!r}, with a leading space, is." if text[:1] != " " and self._is_one_token(spaced) else ""
        raise NotOneTokenError(text, pieces, hint)

    def _leads_back(self, token_id: int, text: str) -> bool:
        """Whether a token's text is `text`, or what the tokenizer's normalizer (lower case, composed accents) makes of
        it apart from spaces at its beginning."""
        string = self.token_strings[token_id]
        if string == text or self.backend.normalizer is None:
            return string == text
        with backend_errors(f"The tokenizer ({self.origin}) cannot normalise {shown(text)}"):
            normalised = self._spelling.spaced(self.backend.normalizer.normalize_str(text))
        return string == normalised and _n_leading_spaces(string) == _n_leading_spaces(text)

    def _is_one_token(self, text: str) -> bool:
        return len(self._ids_by_string.get(text, [])) == 1


def _whole(token_id: object) -> int:
    number = whole_number(token_id)
    if number is None:
        raise InvalidRequestError(f"{shown(token_id)} is not a token id. Give whole numbers.")
    return number


def _n_leading_spaces(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def unused_token(token_id: int) -> str:
    """The text that stands for an id without a token."""
    return f"<no token {token_id}>"
