"""`prompt_pairs`: pairs of prompts made by rule from small word lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from random import Random
from typing import SupportsIndex

from neuron_explainer.activations.derived_scalars.config import as_config
from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.experiments.pairs.alignment import OTHER_POSITIONS, Alignment
from neuron_explainer.experiments.pairs.kinds import PAIR_KINDS, Draw, PairKind
from neuron_explainer.experiments.pairs.pair import MOST_PAIRS, PromptPair
from neuron_explainer.experiments.pairs.prompt_pairs import PromptPairs
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import MOST_SEED, checked_flag, checked_number

_MOST_DRAWS_IN_VAIN = 2000
"""After so many draws one after the other that give nothing new, there is taken to be nothing more."""


def prompt_pairs(
    kind: str,
    n: SupportsIndex = 50,
    seed: SupportsIndex = 0,
    model: ModelContext | None = None,
    *,
    same_positions: bool = False,
) -> PromptPairs:
    """Pairs of prompts that differ in what decides the answer, made by rule from small word lists.

    One object that `ne.attribute`, `ne.patch` and `ne.path_patch` take. The same arguments give the same pairs, and
    none of them twice.

    - "indirect_objects": "When Mary and John went to the store, John gave a drink to" → " Mary", not " John";
      corrupted: Mary gives, so the answers change places (after Wang et al. 2022).
    - "indirect_objects_abc": the same, and corrupted with three other names, so neither answer is there.
    - "agreement": "The key near the houses" → " is", not " are"; corrupted: "The keys near the houses".
    - "facts": "The capital of France is the city of" → " Paris", not " Berlin"; corrupted: of Germany. Also the main
      languages of countries, and what young animals are called.
    - "greater_than": "The war lasted from the year 1732 to the year 17" → "33" to "99", not "00" to "32"; corrupted:
      from the year 1701 (after Hanna et al. 2023). For a model with a token for each digit it is the next digit.
    - "gender": "My brother went home early because" → " he", not " she"; corrupted: "My sister …".
    - "induction": eight words, then some of them again → the next one; corrupted: it and a later word, which is the
      distractor, have changed places in the list.

    Args:
        kind: one of these names.
        n: how many pairs, up to 10,000.
        seed: other pairs for another seed.
        model: a model for which the pairs are to be aligned token by token: both prompts of as many tokens, word by
            word, and answers of single tokens, of which none is both. Without a model nothing is tokenised, and a
            model may refuse some of the pairs.
        same_positions: whether all pairs are the same sentence but for the words that are drawn, each with as many
            tokens for the model, so that a position is the same word's part in all. `ne.patch` by position takes
            such pairs.

    Raises:
        UnknownNameError: there is no such kind.
        InvalidRequestError: `n` or `seed` is invalid; or there are not as many pairs, and the error says how many, and
            why others were left out.

    >>> import neuron_explainer as ne
    >>> pairs = ne.prompt_pairs("gender", 4)
    >>> pairs[0].clean, pairs[0].target
    ('Jack was late again, and we all hoped that', ' he')
    >>> to_choose, to_test = ne.prompt_pairs("agreement", 6, model=ne.load_model("tiny")).halves()
    >>> len(to_choose), len(to_test)
    (3, 3)
    """
    if not isinstance(kind, str) or kind not in PAIR_KINDS:
        raise UnknownNameError("kind of prompt pairs", kind, PAIR_KINDS)
    if isinstance(seed, ModelContext):
        raise InvalidRequestError(f"seed is {shown(seed)}, a model. Give it by name: model=…")
    number, from_seed = checked_number("n", n, at_most=MOST_PAIRS), checked_number("seed", seed, 0, at_most=MOST_SEED)
    if model is not None:
        model = as_config(model, "model").get_model_context()
    is_one_form = checked_flag("same_positions", same_positions)
    alignment, chosen = None if model is None else Alignment(model), PAIR_KINDS[kind]
    tries: list[_Drawn] = []
    for draw in chosen.draws:
        drawn = _draw(draw, number, Random(f"{kind} {from_seed}"), alignment, is_one_form)
        if len(drawn.pairs) == number:
            return PromptPairs(drawn.pairs, kind)
        tries.append(drawn)
    raise InvalidRequestError(_too_few(chosen, number, max(tries, key=lambda drawn: len(drawn.pairs)), model))


@dataclass
class _Drawn:
    pairs: list[PromptPair] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def _draw(draw: Draw, n: int, random: Random, alignment: Alignment | None, is_one_form: bool) -> _Drawn:
    """Pairs, each once, until there are n or nothing new comes.

    Those of each form are kept apart where positions must be the same: the first n of one form are the pairs.
    """
    by_form: dict[Hashable, list[PromptPair]] = {}
    most, left_out, seen, in_vain = list[PromptPair](), Counter[str](), set[PromptPair](), 0
    while len(most) < n and in_vain < _MOST_DRAWS_IN_VAIN:
        form, pair = draw(random)
        in_vain += 1
        if pair in seen:
            continue
        seen.add(pair)
        found = pair if alignment is None else alignment.aligned(pair)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        own = by_form.setdefault((form, _positions(pair, alignment)) if is_one_form else None, [])
        own.append(found)
        in_vain = 0
        most = max(most, own, key=len)
    n_others = sum(map(len, by_form.values())) - len(most)
    if n_others:
        left_out[OTHER_POSITIONS] += n_others
    return _Drawn(most, left_out)


def _positions(pair: PromptPair, alignment: Alignment | None) -> Hashable:
    """What decides where the words of a prompt are: how many there are, and their tokens for a model."""
    return len(pair.clean.split(" ")) if alignment is None else alignment.words_of(pair.clean)


def _too_few(kind: PairKind, n: int, drawn: _Drawn, model: ModelContext | None) -> str:
    found = len(drawn.pairs)
    what = f"pairs of the kind {kind.name}" + ("" if model is None else f" that are aligned for {model.model_name}")
    reasons = "; ".join(f"{count:,}, since {reason}" for reason, count in drawn.left_out.most_common())
    why = f" Others were left out: {reasons}." if reasons else ""
    advice = f"Ask for at most {found:,}, or choose another kind" if found else "Choose another kind"
    others = ", ".join(name for name in PAIR_KINDS if name != kind.name)
    return f"{n:,} {what} were asked for, and {found:,} were found.{why} {advice}: {others}."
