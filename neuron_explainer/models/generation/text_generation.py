"""Generation of text, in pieces of whole characters."""

import codecs
from collections.abc import Iterator, Sequence
from typing import SupportsIndex

from neuron_explainer.models.generation.generate import stream
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.layers.token_checks import PromptIds, as_token_ids, only_prompt
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.tokenizers.trailing_space import warn_of_trailing_space
from neuron_explainer.models.transformer import Transformer


def stream_text(
    model: Transformer,
    tokenizer: ModelTokenizer,
    prompt: str | PromptIds,
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
        prompt: the text to continue, or its token ids, which may be a batch of one.
        max_new_tokens: the largest number of new tokens.
        sampling: how tokens are chosen; None means the most likely token every time.
        stop_tokens: ids that end the text.

    Raises:
        PromptError: the prompt is neither a text nor token ids, is empty, or too long for that many new tokens.
        InvalidRequestError: `max_new_tokens` is not a whole number above 0.
    """
    if isinstance(prompt, str):
        token_ids = tokenizer.encode(prompt)
        warn_of_trailing_space(tokenizer, prompt, token_ids)
    else:
        only = only_prompt(prompt, "use generate, or stream one at a time")
        token_ids = as_token_ids(only, "a text or a flat sequence of token ids")
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
