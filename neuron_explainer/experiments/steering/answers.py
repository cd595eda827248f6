"""What a model says with and without a direction, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuron_explainer.experiments.steering.change import SteeringMode
from neuron_explainer.wording import shown

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class SteeredAnswer:
    """One continuation of the prompt.

    Attributes:
        strength: of the direction; None: without it.
        answer: the new text.
        token_ids: its tokens; if a stop token ended it, that is the last one.
        log_probability: of the text that was asked about after the prompt, in nats; None if none was.
    """

    strength: float | None
    answer: str
    token_ids: tuple[int, ...]
    log_probability: float | None = None


@dataclass(frozen=True, repr=False)
class SteeredAnswers:
    """Continuations without a direction and with it, one for each strength; `Steering.generate` gives it.

    In a notebook it shows itself as a table.

    Attributes:
        prompt: the prompt's tokens as text.
        direction: what the direction is, and where it is used, in words.
        mode: "add", "project_out" or "clamp".
        rows: the answers, the one without the direction first.
        text: the text whose log-probability was asked for; None if none was.
    """

    prompt: tuple[str, ...]
    direction: str
    mode: SteeringMode
    rows: tuple[SteeredAnswer, ...]
    text: str | None = None

    @property
    def without(self) -> SteeredAnswer:
        """The answer without the direction."""
        return self.rows[0]

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each answer: `strength` (NaN: without the direction), `answer`, `n_tokens`.

        If a text was asked about, `log_probability` (natural logarithm) and `change`, its difference from the first
        row's.
        """
        import pandas

        table = pandas.DataFrame(
            {
                "strength": [math.nan if row.strength is None else row.strength for row in self.rows],
                "answer": [row.answer for row in self.rows],
                "n_tokens": [len(row.token_ids) for row in self.rows],
            }
        )
        known = [row.log_probability for row in self.rows if row.log_probability is not None]
        if known:
            table["log_probability"] = known
            table["change"] = [number - known[0] for number in known]
        return table

    def __repr__(self) -> str:
        lines = [f"SteeredAnswers: {self.mode} {self.direction}"]
        for row in self.rows:
            name = "without" if row.strength is None else f"{row.strength:g}"
            lines.append(f"{name:>8}  {shown(row.answer, 200)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from neuron_explainer.views.experiments.steering import steered_answers_html

        return steered_answers_html(self)
