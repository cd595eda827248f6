"""Generation as text: prompts in, text out, in pieces that are whole characters."""

import codecs
from collections.abc import Collection, Iterator

from neuron_explainer.models.generation.generate import stream
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer


def stream_text(
    model: Transformer,
    tokenizer: ModelTokenizer,
    prompt: str,
    *,
    max_new_tokens: int,
    sampling: Sampling | None,
    stop_tokens: Collection[int],
) -> Iterator[str]:
    """The text with which a model goes on after a prompt, as it is written.

    A piece is what a token adds, so a token that is a part of a character gives nothing until the character is whole.
    The pieces together are the text; bytes that never become a character are spelled `\\xNN`. The stop token is not
    part of it.

    Raises:
        PromptError: the prompt is empty, or too long to write that much after it.
        InvalidRequestError: `max_new_tokens` is not positive.
    """
    steps = stream(
        model,
        [tokenizer.encode(prompt)],
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
