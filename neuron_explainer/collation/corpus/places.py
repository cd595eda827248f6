"""Where each sequence of some texts lies: in which text, and how far from its beginning."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from neuron_explainer.collation.corpus.text_files import ChatWriter
from neuron_explainer.collation.corpus.texts import is_in_memory, is_one_chat, read_texts
from neuron_explainer.collation.corpus.windows import sequences_of
from neuron_explainer.collation.settings import CollateSettings

_MOST_KEPT = 10_000


@dataclass(frozen=True)
class SequencePlace:
    """The place of one sequence.

    Attributes:
        text: the number of its text among those given, from 0; texts without tokens are numbered, too.
        start: how many of the text's tokens come before it.
        n_beginning: with how many tokens it begins that are not of the text.
    """

    text: int
    start: int
    n_beginning: int


def kept_in_memory(texts: Any) -> Any:
    """Texts from an iterator, a column of a table and the like as a list, where they are strings or chats.

    Records {"text": …} become their texts. All else, such as files, or more than 10,000 texts, is as it was.

    >>> kept_in_memory(iter(["one", {"text": "two"}]))
    ['one', 'two']
    """
    if isinstance(texts, str | bytes | os.PathLike | Mapping) or is_one_chat(texts):
        return texts
    try:
        source = iter(texts)
    except TypeError:
        return texts  # what it is, is said where it is read
    first = list(islice(source, _MOST_KEPT + 1))
    plain = [_text_of(each) for each in first]
    if len(first) <= _MOST_KEPT and is_in_memory(plain):
        return plain
    return chain(first, source) if source is texts else texts


def _text_of(item: Any) -> Any:
    if isinstance(item, Mapping) and "role" not in item and isinstance(item.get("text"), str):
        return item["text"]
    return item


def places_of_sequences(
    texts: Any,
    encode: Callable[[str], Sequence[int]],
    settings: CollateSettings,
    prefix: list[int],
    chat_writer: ChatWriter | None,
) -> list[SequencePlace]:
    """The places of the sequences of texts in memory, in order.

    Args:
        texts: as `read_texts` takes them, and in memory.
        encode: text to token ids.
        settings: context length and stride.
        prefix: the token put before the sequences of texts; empty: none.
        chat_writer: makes the text of a list of messages.
    """
    for _ in read_texts(texts, chat_writer=chat_writer):
        pass  # what is wrong with a text is said with its number, which is not known below
    items = [texts] if isinstance(texts, str) or is_one_chat(texts) else list(texts)
    places = []
    for number, item in enumerate(items):
        start = 0
        for text in read_texts([item], chat_writer=chat_writer):
            first, windows = sequences_of(text.content, encode, settings, prefix)
            for window in windows:
                places.append(SequencePlace(number, start, len(first)))
                start += len(window)
    return places
