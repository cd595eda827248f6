"""Tokens one after the other, each in a box of its own, without numbers."""

from collections.abc import Sequence

from neuron_explainer.views.document import NO_MATHEMATICS
from neuron_explainer.views.token_text import escaped, token_html
from neuron_explainer.wording import counted

_BOX = "border:1px solid rgba(128,128,128,.45);border-radius:3px;padding:0 2px;margin:1px;white-space:pre-wrap"


def token_strip(tokens: Sequence[str], token_ids: Sequence[int]) -> str:
    """Tokens as running text; the pointer over one shows its position and id.

    Args:
        tokens: the tokens' texts.
        token_ids: their ids.

    >>> token_strip(["<s>", " a"], [1, 5]).count("</bdi>")
    2
    """
    boxes = token_boxes(tokens, token_ids)
    return (
        f'<div class="ne-token-strip {NO_MATHEMATICS}" style="line-height:1.9">{boxes}'
        f'<div style="font-size:12px;opacity:.7">{counted(len(tokens), "token")}</div></div>'
    )


def token_boxes(tokens: Sequence[str], token_ids: Sequence[int], first: int = 0) -> str:
    """The boxes of `token_strip` alone; `first` is the position of the first token."""
    return "".join(
        f'<bdi style="{_BOX}" title="{escaped(f"position {position}, token {token_id}")}">{token_html(token)}</bdi>'
        for position, (token, token_id) in enumerate(zip(tokens, token_ids, strict=True), first)
    )
