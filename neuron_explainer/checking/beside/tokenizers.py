"""Token ids beside those of the reference's tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.wording import in_a_sentence

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import StandardModelContext

_TEXTS = (
    "Once upon a time",
    "  two spaces, then 12,345 and a\ttab",
    "naïve café — “quoted”",
    "def f(x):\n    return x[0]\n",
    "日本語 и русский 🙂",
)


def tokens_beside(context: StandardModelContext, tokenizer: Any, why_none: str | None = None) -> Iterator[Finding]:
    """Whether texts become the reference's tokens.

    Args:
        context: the model with its tokenizer.
        tokenizer: the reference's; None if it has none.
        why_none: what is the matter with it, if it has one that cannot be read.
    """
    name = "tokens beside the reference"
    if not context.has_tokenizer:
        yield not_checked(name, "Ours has no tokenizer.")
        return
    if tokenizer is None:
        yield not_checked(name, why_none or "The reference has no tokenizer.")
        return
    for text in _TEXTS:
        ours = context.encode(text)
        try:
            theirs = list(tokenizer(text)["input_ids"])
        except Exception as error:  # tokenizers raises plain ones
            yield not_checked(name, f"The reference's tokenizer raises an error: {in_a_sentence(error)}")
            return
        if ours != theirs:
            yield failed(name, f"{text!r} becomes {ours[:20]} here and {theirs[:20]} in the reference.")
            return
    yield passed(name, f"{len(_TEXTS)} texts become the same tokens.")
