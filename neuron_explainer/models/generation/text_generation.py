"""Generation of text, in pieces of whole characters."""

import codecs
from collections.abc import Iterator, Sequence
from typing import SupportsIndex

from neuron_explainer.models.generation.generate import stream
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer


def stream_text(
    model: Transformer,
    tokenizer: ModelTokenizer,
    token_ids: Sequence[int],
    *,
    max_new_tokens: SupportsIndex,
    sampling: Sampling | None,
    stop_tokens: Sequence[int],
) -> Iterator[str]:
    """Generate a continuation of a prompt, piece by piece.

    A piece is the text that a token adds. A token that is a part of a character gives no piece until the character is
    complete. The pieces together are the text; bytes that never become a character are shown as `\\xNN`. The stop token
    is not part of the text.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        token_ids: the token ids of the text to continue.
        max_new_tokens: the largest number of new tokens.
        sampling: how tokens are chosen; None means the most likely token every time.
        stop_tokens: ids that end the text.

    Raises:
        PromptError: the prompt is empty, or too long for that many new tokens.
        InvalidRequestError: `max_new_tokens` is not a whole number above 0.
    """
    steps = stream(
        model,
        [token_ids],
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        stop_tokens=stop_tokens,
    )
    return _texts(steps, tokenizer, frozenset(stop_tokens))


def _texts(steps: Iterator[list[int | None]], tokenizer: ModelTokenizer, stop_tokens: frozenset[int]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for (token_id,) in steps:
        if token_id is None or token_id in stop_tokens:
            break
        if piece := decoder.decode(tokenizer.spelled_bytes(token_id)):
            yield piece
    if rest := decoder.decode(b"", final=True):
        yield rest
