"""What the model predicts: the likeliest next tokens, and the probability of each answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.attribution.cells import frame_html, section, side_by_side

if TYPE_CHECKING:
    from neuron_explainer.attribution.attribution import Attribution

_N_TOKENS = 10


def predictions(why: Attribution) -> str:
    """The next tokens and the answers; empty for an answer that is not about logits."""
    try:
        tokens = why.next_tokens(_N_TOKENS)
    except InvalidRequestError:
        return ""
    answers = why.answers()
    note = "each token given those before it"
    if (answers["n_tokens"] == 1).all():
        answers, note = answers.drop(columns=["n_tokens"]), ""
    columns = ["rank", "token", "probability", "logit", "capped_logit", "asked"]
    chosen = tokens[[name for name in columns if name in tokens.columns]]
    return side_by_side(
        section("Next tokens", frame_html(chosen, {})),
        section("Answers", frame_html(answers, {}), note),
    )
