"""Pairs of prompts as a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from neuron_explainer.experiments.pairs.kinds import PAIR_KINDS
from neuron_explainer.experiments.pairs.pair import AnswerOfPair, alternatives_of
from neuron_explainer.views.attribution.cells import quoted
from neuron_explainer.views.document import MUTED, card, html_table
from neuron_explainer.views.heatmap import heading_html
from neuron_explainer.views.running_text import plain_tokens
from neuron_explainer.views.token_text import escaped
from neuron_explainer.wording import counted

if TYPE_CHECKING:
    from neuron_explainer.experiments.pairs.prompt_pairs import PromptPairs

_N_SHOWN, _N_ALTERNATIVES, _LONGEST = 20, 2, 600
_WORDS = re.compile(r"\s?\S+|\s")  # a line may break between them


def pairs_html(pairs: PromptPairs) -> str:
    """The first pairs as self-contained static HTML."""
    rows = [
        [_prompt(pair.clean), _prompt(pair.corrupted), _answer(pair.target), _answer(pair.distractor)]
        for pair in pairs[:_N_SHOWN]
    ]
    left_out = len(pairs) - len(rows)
    more = f'<div style="color:{MUTED}">and {counted(left_out, "pair")} more</div>' if left_out else ""
    table = html_table(["clean", "corrupted", "target", "distractor"], rows)
    kind = PAIR_KINDS.get(pairs.kind)
    about = f'<div style="color:{MUTED};font-size:12px">{escaped(kind.about)}</div>' if kind else ""
    return card(heading_html(pairs.title) + about + table + more, "ne-prompt-pairs")


def _prompt(text: str) -> str:
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f'<div class="ne-text" style="min-width:160px">{plain_tokens(_WORDS.findall(cut))}</div>'


def _answer(answer: AnswerOfPair) -> str:
    texts = alternatives_of(answer)
    more = f" or {len(texts) - _N_ALTERNATIVES} more" if len(texts) > _N_ALTERNATIVES else ""
    return f'<span style="white-space:nowrap">{" or ".join(map(quoted, texts[:_N_ALTERNATIVES]))}{more}</span>'
