"""What came of one component: its explanations with their scores, or errors; as a line of a file."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping

import msgspec
import pandas

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.wording import as_valid_text, in_a_sentence, without_credentials, without_steering

_LONGEST_ERROR = 2_500
_BASE_COLUMNS = ["component", "explanation", "explainer"]


class KeptError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error: its class, and what it says."""

    type: str
    text: str

    @classmethod
    def of(cls, error: Exception) -> KeptError:
        """An error as text: on one line, and without credentials."""
        said = in_a_sentence(without_credentials(str(error)), _LONGEST_ERROR)
        return cls(type(error).__name__, as_valid_text(said) or "it says nothing more")

    def __str__(self) -> str:
        return f"{self.type}: {self.text}"


class KeptScore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A score without its judgements; None stands for what is not defined. Or the error in its place."""

    scorer: str
    measure: str = ""
    value: float | None = None
    interval: tuple[float | None, float | None] = (None, None)
    chance: float | None = None
    baselines: dict[str, float | None] = {}
    measures: dict[str, float | None] = {}
    note: str = ""
    error: KeptError | None = None

    @classmethod
    def of(cls, score: ExplanationScore) -> KeptScore:
        """A score as it is kept."""
        low, high = score.interval
        return cls(
            as_valid_text(score.scorer),
            as_valid_text(score.measure),
            _known(score.value),
            (_known(low), _known(high)),
            _known(score.chance),
            _all_known(score.baselines),
            _all_known(score.measures),
            as_valid_text(score.note),
        )


class KeptExplanation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An explanation with its scores, one by each scorer."""

    text: str
    explainer: str
    scores: list[KeptScore]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of one component.

    Attributes:
        component: its name.
        layer, index: where it is.
        explanations: its explanations, the best first.
        error: why it has none; None if it was explained.
        file_bytes: the size of its file of explanations; 0 without one.
        crc: a checksum of all else.
    """

    component: str
    layer: int
    index: int
    explanations: list[KeptExplanation] = []
    error: KeptError | None = None
    file_bytes: int = 0
    crc: str = ""

    @property
    def errors(self) -> list[KeptError]:
        """The error of the component, and those of its scores."""
        of_scores = [score.error for each in self.explanations for score in each.scores if score.error is not None]
        return of_scores if self.error is None else [self.error, *of_scores]

    def line(self) -> bytes:
        """It as a line of a file, with its checksum."""
        return msgspec.json.encode(msgspec.structs.replace(self, crc=self._checksum())) + b"\n"

    def _checksum(self) -> str:
        return f"{zlib.crc32(msgspec.json.encode(msgspec.structs.replace(self, crc=''))):08x}"

    @classmethod
    def of_line(cls, line: bytes) -> Outcome | None:
        """The outcome that a line says; None if the line is cut off, or of something else."""
        try:
            found = _DECODER.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return found if found.crc == found._checksum() else None


_DECODER = msgspec.json.Decoder(Outcome)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _all_known(values: Mapping[str, float]) -> dict[str, float | None]:
    return {as_valid_text(name): _known(value) for name, value in values.items()}


def table_of_outcomes(outcomes: Iterable[Outcome]) -> pandas.DataFrame:
    """A row for each explanation, or for the error of a component without one.

    The columns are component, explanation, explainer; for each scorer its score (its name), the ends of its interval
    ("… low", "… high") and the baselines ("embedding: most frequent token"); and error, if there are any. Control
    characters become escapes.

    Args:
        outcomes: what came of components.
    """
    rows = []
    for outcome in outcomes:
        several = outcome.explanations or [KeptExplanation("", "", [])]
        rows += [_row(outcome, each) for each in several]
    columns = dict.fromkeys([*_BASE_COLUMNS, *(name for row in rows for name in row if name != "error")])
    has_errors = any("error" in row for row in rows)
    return TokenTable(rows, columns=[*columns, *(["error"] if has_errors else [])])


def _row(outcome: Outcome, each: KeptExplanation) -> dict[str, object]:
    row: dict[str, object] = {
        "component": outcome.component,
        "explanation": without_steering(each.text),
        "explainer": without_steering(each.explainer),
    }
    errors = [] if outcome.error is None else [str(outcome.error)]
    for score in each.scores:
        name = without_steering(score.scorer)
        if score.error is not None:
            errors.append(f"{name}: {score.error}")
            continue
        low, high = score.interval
        row |= {name: _number(score.value), f"{name} low": _number(low), f"{name} high": _number(high)}
        row |= {f"{name}: {without_steering(of)}": _number(value) for of, value in score.baselines.items()}
    if errors:
        row["error"] = without_steering("; ".join(errors))
    return row


def _number(value: float | None) -> float:
    return math.nan if value is None else value
