"""Which training token matches which pattern, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.patterns.templates import (
    LATEST,
    PLACE_COST,
    PLACE_PRIOR,
    PLACE_TEMPLATE,
    PLACE_WORDS,
    PLACES,
    TEMPLATES,
    Key,
    all_forms,
)
from neuron_explainer.explanations.patterns.token_forms import BEFORE_TEXT, TokenForm
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens

_FORMS = list(TokenForm)
_MOST_PARTS = max(len(template.parts) for template in TEMPLATES)


@dataclass(frozen=True, eq=False)
class PatternMatrix:
    """The patterns that occur in training tokens, as a sparse matrix of tokens and patterns.

    Attributes:
        template: the number of each pattern's template; (patterns,).
        codes: the values of its parts, as their numbers in `values`; (patterns, parts).
        values: the values of each form.
        rows, columns: the token and the pattern of each match; (matches,).
        token: which token each training token is, as a number; (tokens,).
    """

    template: NDArray[np.int64]
    codes: NDArray[np.int64]
    values: list[list[Any]]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    token: NDArray[np.int64]

    @classmethod
    def of(cls, training: TrainingTokens) -> PatternMatrix:
        """The patterns that the tokens match."""
        window, code_of, values = _coded(training)
        templates, codes, rows, columns, n = [], [], [], [], 0
        for number, template in enumerate(TEMPLATES):
            parts = [code_of[_FORMS.index(form)][window[back]] for back, form in template.parts]
            matching = np.flatnonzero(np.logical_and.reduce([part >= 0 for part in parts]))
            sizes = [len(values[_FORMS.index(form)]) for _, form in template.parts]
            joined = np.ravel_multi_index([part[matching] for part in parts], sizes)
            own, inverse = np.unique(joined, return_inverse=True)
            split = np.full((len(own), _MOST_PARTS), -1)
            split[:, : len(parts)] = np.stack(np.unravel_index(own, sizes), axis=1)
            templates.append(np.full(len(own), number))
            codes.append(split)
            rows.append(matching)
            columns.append(n + inverse)
            n += len(own)
        for index, place in enumerate(PLACES):
            is_before = (training.position < place).astype(np.int64)
            templates.append(np.full(2, PLACE_TEMPLATE))
            codes.append(np.array([[index, 0, -1][:_MOST_PARTS], [index, 1, -1][:_MOST_PARTS]]))
            rows.append(np.arange(len(is_before)))
            columns.append(n + is_before)
            n += 2
        return cls(
            np.concatenate(templates),
            np.concatenate(codes),
            values,
            np.concatenate(rows),
            np.concatenate(columns),
            window[0],
        )

    def keys(self, numbers: NDArray[np.int64]) -> dict[int, Key]:
        """Some patterns, by their numbers."""
        found: dict[int, Key] = {}
        for template in np.unique(self.template[numbers]).tolist():
            own = numbers[self.template[numbers] == template]
            codes = self.codes[own].T.tolist()
            if template == PLACE_TEMPLATE:
                parts = [[PLACES[code] for code in codes[0]], [bool(code) for code in codes[1]]]
            else:
                forms = [_FORMS.index(form) for _, form in TEMPLATES[template].parts]
                parts = [[self.values[form][code] for code in part] for form, part in zip(forms, codes, strict=False)]
            found |= zip(own.tolist(), zip(repeat(template), *parts, strict=False), strict=True)
        return found

    @property
    def prior(self) -> NDArray[np.float64]:
        """The prior variance of each pattern's weight; (patterns,)."""
        return np.array([*(template.prior for template in TEMPLATES), PLACE_PRIOR])[self.template]

    @property
    def cost(self) -> NDArray[np.float64]:
        """What each pattern must explain to be told in words; infinite if it is not told at all; (patterns,)."""
        costs = [np.inf if template.cost is None else template.cost for template in TEMPLATES]
        return np.array([*costs, PLACE_COST])[self.template]

    @property
    def n_words_needed(self) -> NDArray[np.int64]:
        """In how many different tokens each pattern must fire to be told in words; (patterns,)."""
        return np.array([*(template.n_words for template in TEMPLATES), PLACE_WORDS])[self.template]

    def by_pattern(self, of_tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of a number of tokens over the tokens that each pattern matches; (patterns,)."""
        return np.bincount(self.columns, of_tokens[self.rows], len(self.template)).astype(np.float64, copy=False)

    def by_token(self, of_patterns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of a number of patterns over the patterns that each token matches; (tokens,)."""
        return np.bincount(self.rows, of_patterns[self.columns], len(self.token)).astype(np.float64, copy=False)


def _coded(training: TrainingTokens) -> tuple[NDArray[np.int64], NDArray[np.int64], list[list[Any]]]:
    """Which token is where, the code of each token's forms (-1: it has none), and what the codes stand for.

    The first is (tokens back, training tokens), the second (forms, different tokens). What stands before a text is the
    first token.
    """
    numbers: dict[Any, int] = {BEFORE_TEXT: 0}
    starts, joined = [], [0] * LATEST
    for text in training.texts:
        starts.append(len(joined))
        joined += [numbers.setdefault(forms, len(numbers)) for forms in all_forms(text)]
    place = np.array(starts)[training.text] + training.position
    every = np.array(joined)
    back = np.arange(LATEST + 1)[:, None]
    window = np.where(back <= training.position, every[place - back], 0)
    codes, values = np.full((len(_FORMS), len(numbers)), -1), []
    for index in range(len(_FORMS)):
        own: dict[Any, int] = {}
        for number, forms in enumerate(numbers):
            if forms[index] is not None:
                codes[index, number] = own.setdefault(forms[index], len(own))
        values.append(list(own))
    return window, codes, values
