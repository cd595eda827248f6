"""The kinds of pairs that are made by rule: each draws one pair at a time from the word lists."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from neuron_explainer.experiments.pairs import words
from neuron_explainer.experiments.pairs.pair import PromptPair

Form: TypeAlias = Hashable
"""What sentence a pair is, with its words left out: in pairs of one form each word has the same part."""

Draw: TypeAlias = Callable[[Random], tuple[Form, PromptPair]]


@dataclass(frozen=True)
class PairKind:
    """A kind of pairs.

    Attributes:
        name: its name.
        about: what the two prompts of a pair differ in.
        draws: how a pair is drawn. Where there are several ways, a model gets the first one whose answers are
            single tokens for it.
    """

    name: str
    about: str
    draws: tuple[Draw, ...]


_MEETINGS = (
    "When {} and {} went to the {}, {} gave a {} to",
    "After {} and {} met at the {}, {} handed a {} to",
    "While {} and {} were at the {}, {} sold a {} to",
    "Then {} and {} had a long talk at the {}, and {} passed a {} to",
)


def _meeting(random: Random) -> tuple[Form, Callable[[str, str, str], str]]:
    """One meeting of two people in the order drawn: its form, and a text of their names and the giver's."""
    template, place, thing = random.choice(_MEETINGS), random.choice(words.PLACES), random.choice(words.THINGS)
    swapped = random.random() < 0.5

    def text(one: str, other: str, giver: str) -> str:
        return template.format(*((other, one) if swapped else (one, other)), place, giver, thing)

    return (template, swapped), text


def _indirect_objects(random: Random) -> tuple[Form, PromptPair]:
    receiver, giver = random.sample(words.NAMES, 2)
    form, text = _meeting(random)
    clean, corrupted = text(receiver, giver, giver), text(receiver, giver, receiver)
    return form, PromptPair(clean, corrupted, f" {receiver}", f" {giver}")


def _indirect_objects_abc(random: Random) -> tuple[Form, PromptPair]:
    receiver, giver, *others = random.sample(words.NAMES, 5)
    form, text = _meeting(random)
    return form, PromptPair(text(receiver, giver, giver), text(*others), f" {receiver}", f" {giver}")


def _agreement(random: Random) -> tuple[Form, PromptPair]:
    noun, attractor = random.choice(words.COUNTED_NOUNS), random.choice(words.ATTRACTORS)
    of_one, of_several = random.choice(words.VERBS)
    preposition = random.choice(("near", "behind", "beside", "from"))
    one, several = f"The {noun} {preposition} the", f"The {noun}s {preposition} the"
    if random.random() < 0.5:
        return None, PromptPair(f"{one} {attractor}s", f"{several} {attractor}s", of_one, of_several)
    return None, PromptPair(f"{several} {attractor}", f"{one} {attractor}", of_several, of_one)


_FACTS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("The capital of {} is the city of", words.CAPITALS),
    ("The main language that people in {} speak is", words.LANGUAGES),
    ("A young {} is called a", words.YOUNG),
)


def _facts(random: Random) -> tuple[Form, PromptPair]:
    template, answers = random.choice(_FACTS)
    subject, other = random.sample(list(answers), 2)
    clean, corrupted = template.format(subject), template.format(other)
    return template, PromptPair(clean, corrupted, f" {answers[subject]}", f" {answers[other]}")


def _years(random: Random) -> str:
    """The text, with a place for the first year's last two digits."""
    century = random.randrange(11, 20)
    return f"The {random.choice(words.SPANS)} lasted from the year {century}{{}} to the year {century}"


def _greater_than(random: Random) -> tuple[Form, PromptPair]:
    text = _years(random)
    start = random.randrange(2, 99)
    later, earlier = (tuple(f"{end:02}" for end in ends) for ends in (range(start + 1, 100), range(start + 1)))
    return None, PromptPair(text.format(f"{start:02}"), text.format("01"), later, earlier)


def _greater_digit(random: Random) -> tuple[Form, PromptPair]:
    text = _years(random)
    tens, ones = random.randrange(2, 9), random.randrange(1, 10)
    later, earlier = (tuple(map(str, ends)) for ends in (range(tens + 1, 10), range(tens)))
    return None, PromptPair(text.format(f"{tens}{ones}"), text.format(f"0{ones}"), later, earlier)


_SINCE = (
    "{} went home early because",
    "{} was late again, and we all hoped that",
    "{} told us a story that",
    "{} sat near the window when",
    "{} was tired, so",
)


def _gender(random: Random) -> tuple[Form, PromptPair]:
    is_kin = random.random() < 0.5
    if is_kin:
        man, woman = (f"My {each}" for each in random.choice(words.KIN))
    else:
        man, woman = random.choice(words.MEN), random.choice(words.WOMEN)
    text, is_man = random.choice(_SINCE), random.random() < 0.5
    he, she = (man, " he"), (woman, " she")
    (subject, pronoun), (other, other_pronoun) = (he, she) if is_man else (she, he)
    return (text, is_kin), PromptPair(text.format(subject), text.format(other), pronoun, other_pronoun)


_N_REPEATED = 8


def _induction(random: Random) -> tuple[Form, PromptPair]:
    clean = random.sample(words.COMMON_NOUNS, _N_REPEATED)
    n_again = random.randrange(1, _N_REPEATED - 1)
    other = random.randrange(n_again + 1, _N_REPEATED)
    corrupted = list(clean)
    corrupted[n_again], corrupted[other] = clean[other], clean[n_again]
    first, second = (" ".join(["Words:", *each, *clean[:n_again]]) for each in (clean, corrupted))
    return (n_again, other), PromptPair(first, second, f" {clean[n_again]}", f" {clean[other]}")


PAIR_KINDS: dict[str, PairKind] = {
    kind.name: kind
    for kind in (
        PairKind(
            "indirect_objects",
            "two people meet and one gives something to the other; corrupted: the other one gives",
            (_indirect_objects,),
        ),
        PairKind(
            "indirect_objects_abc",
            "the same, with the clean prompt's names as answers; corrupted: three other names",
            (_indirect_objects_abc,),
        ),
        PairKind(
            "agreement",
            "the verb of a subject with a noun of the other number before it; corrupted: the subject's number",
            (_agreement,),
        ),
        PairKind("facts", "capitals, languages, young animals; corrupted: another subject", (_facts,)),
        PairKind(
            "greater_than",
            "something lasts from one year to a later one; corrupted: it begins in the century's first years",
            (_greater_than, _greater_digit),
        ),
        PairKind("gender", "the pronoun of a person; corrupted: a person of the other gender", (_gender,)),
        PairKind(
            "induction",
            "a list of words that begins again; corrupted: the next word and a later one have changed places",
            (_induction,),
        ),
    )
}
"""The kinds by their names."""
