"""Rules that are planted: (kind, rule, five wrong rules that are near it)."""

from explanations.planted.corpus import TOPICS
from explanations.planted.rules import Rule, place, token, word, words_of

Known = tuple[str, Rule, tuple[Rule, ...]]

_AFTER_THE = word("the", "The").after("the word after 'the'")
_FULL_STOP = token("a full stop", lambda t: t == ".")
_CAPITAL = token("a word with a capital letter", lambda t: t.strip()[:1].isupper())
_DIGIT = token("a digit", lambda t: t.strip().isdigit())
_FIRST = place("the first word of a text", lambda i: i == 0)
_NEWLINE = token("the end of a line", lambda t: t == "\n")
_OF_TOPIC = {topic: f"words for {topic}" for topic in TOPICS} | {
    "money": "words about money",
    "medicine": "words about medicine and hospitals",
    "music": "words about music and instruments",
    "weather": "words about the weather",
}


def _word(own: str, topic: str, like: str) -> Known:
    rule = word(own, text=f"the word '{own}'")
    return (
        "word",
        rule,
        (
            word(like, text=f"the word '{like}'"),
            words_of(TOPICS[topic], _OF_TOPIC[topic]),
            rule.where(f"the word '{own}' right after 'the'", _AFTER_THE),
            rule.after(f"the word that follows '{own}'"),
            word(own + "s", text=f"the word '{own}s'"),
        ),
    )


def _topic(topic: str, like: str) -> Known:
    words = TOPICS[topic]
    rule = words_of(words + [each + "s" for each in words], _OF_TOPIC[topic])
    return (
        "topic",
        rule,
        (
            words_of(TOPICS[like], _OF_TOPIC[like]),
            words_of(words[: len(words) // 2], f"words such as {', '.join(words[: len(words) // 2])}"),
            rule.where(f"{_OF_TOPIC[topic]}, right after 'the'", _AFTER_THE),
            rule.either(f"{_OF_TOPIC[topic]} and {_OF_TOPIC[like]}", words_of(TOPICS[like], "")),
            rule.after(f"what follows {_OF_TOPIC[topic]}"),
        ),
    )


def _context(first: str, second: str, other: str) -> Known:
    alone, before = word(second), word(first).after("")
    rule = alone.where(f"the word '{second}' right after '{first}'", before)
    return (
        "context",
        rule,
        (
            word(second, text=f"the word '{second}'"),
            word(first, text=f"the word '{first}'"),
            alone.where(f"the word '{second}' right after '{other}'", word(other).after("")),
            alone.unless(f"the word '{second}', but not after '{first}'", before),
            rule.after(f"what follows '{first} {second}'"),
        ),
    )


def _ending(end: str, other: str, third: str) -> Known:
    def ends(each: str) -> Rule:
        return token(f"words that end with '{each}'", lambda t: t.endswith(each))

    rule = ends(end)
    before = rule.after(f"the word before one that ends with '{end}'", -1)
    return "pattern", rule, (ends(other), ends(third), rule.after(f"what follows a word in '{end}'"), before, _CAPITAL)


_SECOND_DIGIT = _DIGIT.where("a digit right after another digit", _DIGIT.after(""))
_THIRD_DIGIT = _SECOND_DIGIT.where("the third digit of a number or a later one", _SECOND_DIGIT.after(""))
_FIRST_DIGIT = _DIGIT.unless("the first digit of a number", _DIGIT.after(""))
_SENTENCE = _CAPITAL.where("a capital letter after a full stop", _FULL_STOP.after(""))
_PLACES: list[Known] = [
    (
        "position",
        _FIRST,
        (
            place("the second word of a text", lambda i: i == 1),
            place("the first five words of a text", lambda i: i < 5),
            _CAPITAL,
            _NEWLINE.after("the first word of a line that is not the first"),
            _FIRST.where("'The' at the begin of a text", word("The")),
        ),
    ),
    (
        "position",
        place("the first four words of a text", lambda i: i < 4),
        (
            _FIRST,
            place("the first twelve words of a text", lambda i: i < 12),
            place("the fifth to the eighth word of a text", lambda i: 4 <= i < 8),
            place("all but the first four words of a text", lambda i: i >= 4),
            _CAPITAL,
        ),
    ),
    (
        "position",
        _NEWLINE.after("the first word of a line, but for the first line"),
        (_NEWLINE, _FIRST, _CAPITAL, _NEWLINE.after("the second word of a line", 2), _SENTENCE),
    ),
    (
        "position",
        place("words after the 25th of a text", lambda i: i >= 25),
        (
            place("words before the 25th of a text", lambda i: i < 25),
            place("words after the 10th of a text", lambda i: i >= 10),
            place("words after the 40th of a text", lambda i: i >= 40),
            _CAPITAL,
            _NEWLINE,
        ),
    ),
]
_PATTERNS: list[Known] = [
    (
        "pattern",
        _SECOND_DIGIT,
        (_DIGIT, _FIRST_DIGIT, _THIRD_DIGIT, _DIGIT.after("what follows a digit"), _CAPITAL),
    ),
    (
        "pattern",
        _SENTENCE,
        (
            _CAPITAL,
            _FULL_STOP,
            _CAPITAL.unless("a capital letter within a sentence", _FULL_STOP.after("")),
            _SENTENCE.after("the second word of a sentence"),
            _SENTENCE.where("'The' after a full stop", word("The")),
        ),
    ),
    (
        "pattern",
        word("the").after("the word after 'the'"),
        (
            word("the"),
            word("a").after("the word after 'a'"),
            word("the").after("the second word after 'the'", 2),
            word("The").after("the word after 'The' with a capital letter"),
            word("the", "a", "The", "A").after("the word after an article"),
        ),
    ),
    _ending("ing", "ed", "s"),
    _ending("ed", "ing", "er"),
    (
        "pattern",
        token("question marks", lambda t: t == "?"),
        (
            _FULL_STOP,
            token("exclamation marks", lambda t: t == "!"),
            token("any punctuation", lambda t: t in ".,!?"),
            token("", lambda t: t == "?").after("the word before a question mark", -1),
            token("", lambda t: t == "?").after("the word after a question mark"),
        ),
    ),
]
KNOWN: list[Known] = [
    _word("horse", "animals", "cow"),
    _word("bread", "food", "cheese"),
    _word("rain", "weather", "snow"),
    _word("piano", "music", "violin"),
    _word("loan", "money", "debt"),
    _word("train", "vehicles", "bus"),
    _word("doctor", "medicine", "nurse"),
    _word("coat", "clothes", "jacket"),
    *(_topic(topic, like) for topic, like in zip(TOPICS, [*list(TOPICS)[1:], "animals"], strict=True)),
    *_PATTERNS,
    *_PLACES,
    _context("traffic", "light", "bright"),
    _context("white", "house", "old"),
    _context("orange", "juice", "tomato"),
    _context("prison", "cell", "blood"),
    _context("daily", "paper", "white"),
    _context("good", "night", "long"),
]
