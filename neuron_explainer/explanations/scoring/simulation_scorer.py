"""`SimulationScorer`: how well activations that are simulated from an explanation predict the real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Literal, Protocol, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.errors import InvalidRequestError, choices_sentence, shown
from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.interfaces import Simulator
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.clients.client import ChatClient
from neuron_explainer.explanations.language_models.asking import checked_client
from neuron_explainer.explanations.language_models.simulator import LanguageModelSimulator
from neuron_explainer.explanations.scoring.calibration import LinearCalibration
from neuron_explainer.explanations.scoring.measures import agreement, correlation, interval_of_texts
from neuron_explainer.explanations.scoring.percentile_calibration import PercentileCalibration
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.texts import notes_of_few
from neuron_explainer.vocabulary.checks import checked_number, checked_text

CalibrateBy = Literal["linear", "percentile"]
_CALIBRATIONS = ("linear", "percentile")
_COLUMNS = ["text", "position", "token", "simulated", "calibrated", "real"]


class _Calibration(Protocol):
    def of(self, simulated: ArrayLike) -> NDArray[np.float64]: ...


class SimulationScorer:
    """Simulates a component's activations by an explanation, calibrates them, and compares them with the real ones.

    The calibration is fitted on `subject.by_token.calibration`, and the score is of `subject.by_token.test`; no text is
    in both, and none that the explanation was written from is in either. Of a head, the activation of a token is that
    of the strongest pair in which it attends, and so the score says where the head attends, not what to.

    The value is Pearson's correlation of real and calibrated activations over all tokens of the texts for scoring. It
    does not change by a linear calibration with a positive slope; explained variance and deviation do. One with a
    negative slope would turn an explanation around that says the opposite of what is true: then the value is the
    correlation without calibration, which is below 0 where the calibrated one is above, and the note says so.
    `measures` has OpenAI's three scores (Bills et al., 2023) with and without calibration: correlation, explained
    variance, explained deviation. They are those of `ne.score`'s other scorers that simulate, so values of language
    models and of patterns can be compared.

    Args:
        client: the language model that simulates by the explanation's words; None: the explanation's own simulator.
        calibrate: "linear": slope and intercept with the least squared error; "percentile": a simulated activation
            becomes the real one with the same rank; None: not at all.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are asked for; 0: of none.
        instructions: what the language model is told, instead of `prompts.SIMULATE`.
        progress: whether there is a bar; None: where it takes long.

    Raises:
        InvalidRequestError: an argument is none of these.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations import score
    >>> from neuron_explainer.explanations.asking.subject import subject_of
    >>> from neuron_explainer.explanations.scoring.baselines import most_frequent_token
    >>> record = ne.load_neuron("tiny", 2, 5)
    >>> found = score(most_frequent_token(subject_of(record)), record, SimulationScorer(), baselines=False)
    >>> found.measure, sorted(found.measures)[:2]
    ('correlation', ['correlation', 'explained deviation'])
    """

    def __init__(
        self,
        client: ChatClient | None = None,
        *,
        calibrate: CalibrateBy | None = "linear",
        top_logprobs: SupportsIndex = 0,
        instructions: str | None = None,
        progress: bool | None = None,
    ) -> None:
        self.client = None if client is None else checked_client(client)
        self.name = "simulation" if client is None else f"simulation by {client.name}"
        if calibrate is not None and calibrate not in _CALIBRATIONS:
            raise InvalidRequestError(
                f"calibrate is {shown(calibrate)}. {choices_sentence(_CALIBRATIONS)} Or give None."
            )
        self.calibrate: CalibrateBy | None = calibrate
        self.top_logprobs = checked_number("top_logprobs", top_logprobs, 0, at_most=20)
        self.instructions = None if instructions is None else checked_text("instructions", instructions)
        self.progress = progress

    def __repr__(self) -> str:
        return f"<SimulationScorer: {self.name}>"

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        """The score; `judgements` has a row for each token: text, position, token, simulated, calibrated, real.

        Args:
            explanation: the explanation.
            subject: the component.

        Raises:
            InvalidRequestError: the explanation cannot simulate and there is no client, or there are no texts to score
                by, or to calibrate with.
            AnswerFormatError: no answer of the language model has the form.
        """
        simulator = self._simulator(explanation)
        test = _unseen(subject, subject.by_token.test, explanation, "score by")
        calibration = (
            _unseen(subject, subject.by_token.calibration, explanation, "calibrate with") if self.calibrate else []
        )
        simulated = simulated_texts(simulator, [example.tokens for example in (*test, *calibration)])
        real = [example.activations for example in test]
        calibrated = self._calibrated(calibration, simulated[len(test) :], simulated[: len(test)])
        return _score(explanation, subject, self.name, test, real, simulated[: len(test)], calibrated)

    def _simulator(self, explanation: Explanation) -> Simulator:
        if self.client is not None:
            return LanguageModelSimulator(
                self.client,
                explanation,
                top_logprobs=self.top_logprobs,
                instructions=self.instructions,
                progress=self.progress,
            )
        if explanation.simulator is None:
            raise InvalidRequestError(
                f"{shown(explanation.text)} is words alone, which predict nothing by themselves. Give a language model "
                "that simulates by words: SimulationScorer(client)."
            )
        return explanation.simulator

    def _calibrated(
        self, examples: Sequence[ActivationRecord], simulated: Sequence[list[float]], given: Sequence[list[float]]
    ) -> list[list[float]] | None:
        if self.calibrate is None:
            return None
        kind = LinearCalibration if self.calibrate == "linear" else PercentileCalibration
        fitted: _Calibration = kind.fitted(
            list(chain.from_iterable(example.activations for example in examples)), list(chain.from_iterable(simulated))
        )
        return [fitted.of(values).tolist() for values in given]


def _unseen(
    subject: Subject, examples: Sequence[ActivationRecord], explanation: Explanation, what: str
) -> list[ActivationRecord]:
    unseen = [example for example in examples if text_key(example) not in explanation.written_from]
    if not unseen:
        raise InvalidRequestError(
            f"{subject.name} has no texts to {what}: {len(examples)} are for that, and the explanation was written "
            "from all of them. Give a record with more examples."
        )
    return unseen


def simulated_texts(simulator: Simulator, texts: Sequence[Sequence[str]]) -> list[list[float]]:
    """The predictions for texts, one for each token.

    Raises:
        InvalidRequestError: the simulator gives more or fewer.
        AnswerFormatError: no answer of a language model has the form.
    """
    if isinstance(simulator, LanguageModelSimulator):
        return simulator.simulate_many(texts)
    simulated = [[float(value) for value in simulator.simulate(tokens)] for tokens in texts]
    for tokens, values in zip(texts, simulated, strict=True):
        if len(tokens) != len(values):
            raise InvalidRequestError(
                f"The explanation's simulator gives {len(values)} predictions for a text of {len(tokens)} tokens. It "
                "must give one for each."
            )
    return simulated


def _score(
    explanation: Explanation,
    subject: Subject,
    scorer: str,
    texts: Sequence[ActivationRecord],
    real: Sequence[Sequence[float]],
    simulated: Sequence[Sequence[float]],
    calibrated: Sequence[Sequence[float]] | None,
) -> ExplanationScore:
    scored = simulated if calibrated is None else calibrated
    measures = _measures(real, scored) | (
        {}
        if calibrated is None
        else {f"uncalibrated {name}": each for name, each in _measures(real, simulated).items()}
    )
    of_calibrated = [[math.nan] * len(values) for values in simulated] if calibrated is None else calibrated
    rows = [
        (text, position, *each)
        for text, (example, *columns) in enumerate(zip(texts, simulated, of_calibrated, real, strict=True))
        for position, each in enumerate(zip(example.tokens, *columns, strict=True))
    ]
    valued = simulated if _is_turned_around(simulated, scored) else scored
    return ExplanationScore(
        explanation.text,
        subject.name,
        scorer,
        "correlation",
        agreement(_joined(real), _joined(valued)).correlation,
        interval_of_texts(lambda t, s: agreement(t, s).correlation, real, valued),
        0.0,
        measures=measures,
        judgements=TokenTable(rows, columns=_COLUMNS),
        note=_note(real, simulated, scored),
    )


def _measures(real: Sequence[Sequence[float]], simulated: Sequence[Sequence[float]]) -> dict[str, float]:
    return agreement(_joined(real), _joined(simulated)).by_name()


def _note(
    real: Sequence[Sequence[float]], simulated: Sequence[Sequence[float]], scored: Sequence[Sequence[float]]
) -> str:
    values, truth = _joined(simulated), _joined(real)
    known = np.isfinite(values)
    notes = notes_of_few(len(simulated))
    if not known.all():
        n_texts = sum(not np.isfinite(each).any() for each in simulated)
        of_texts = f", among them all of {n_texts} of {len(simulated)} texts" if n_texts else ""
        notes.append(f"{int((~known).sum()):,} of {len(values):,} tokens have no prediction{of_texts}")
    if not known.any():
        return "; ".join(notes)
    if np.ptp(truth[known]) == 0:
        notes.append("the real activations are constant, so there is no correlation")
    elif np.ptp(values[known]) == 0:
        notes.append("the simulation is constant, so it has no correlation")
    elif np.ptp(_joined(scored)[known]) == 0:
        notes.append("the calibrated simulation is constant, so it has no correlation")
    elif _is_turned_around(simulated, scored):
        notes.append(
            "the calibration turns the simulation around (on its texts, tokens simulated high are low), so the value "
            "is that without it"
        )
    return "; ".join(notes)


def _is_turned_around(simulated: Sequence[Sequence[float]], scored: Sequence[Sequence[float]]) -> bool:
    """Whether a calibration makes what is simulated high low."""
    before, after = _joined(simulated), _joined(scored)
    known = np.isfinite(before)
    return correlation(before[known], after[known]) < 0


def _joined(values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(each, np.float64) for each in values])
