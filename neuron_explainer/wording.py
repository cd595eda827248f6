"""How messages say a few things: choices, values, layers. All rooms use these, through `errors`."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

T = TypeVar("T")

N_LISTED = 8
"""Up to how many choices a message lists all of them."""
N_NEAREST = 5
"""How many of more choices it lists: the nearest."""


def nearest_first(asked: str, choices: Iterable[str]) -> list[str]:
    """The choices, most similar to `asked` first."""

    def dissimilarity(choice: str) -> tuple[float, str]:
        return -difflib.SequenceMatcher(None, asked.lower(), choice.lower()).ratio(), choice

    return sorted(choices, key=dissimilarity)


def choices_sentence(choices: Sequence[str]) -> str:
    """The sentence of a message that lists the choices: up to eight all of them, else the first five (the nearest)."""
    if not choices:
        return "There are no choices."
    if len(choices) <= N_LISTED:
        return f"Choose one of: {', '.join(choices)}."
    return f"Did you mean: {', '.join(choices[:N_NEAREST])}? ({len(choices)} in all.)"


def counted(number: int, noun: str) -> str:
    """ "1 token", "2,048 tokens"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


_MOST_SEARCHED = 10_000
_LONGEST_MESSAGE = 2500

# Scheme, user and password, host and path, query and fragment. The forms with fewer slashes come from path objects.
# Lengths are bounded, so that the search takes linear time.
_ADDRESS = re.compile(
    r"""((?<![\w+.-])(?:[A-Za-z][\w+.-]{0,20}://|[Hh][Tt][Tt][Pp][Ss]?:/?(?=[^/\s]{0,500}@)))"""
    r"""([^\s/?#'"]{0,500}@)?([^\s?#'"]*)([?#][^\s'"]*)?"""
)


def without_credentials(text: T) -> T:
    """A message whose addresses lose their user, password, query and fragment, which may be secrets.

    Other values than texts stay as they are.

    >>> without_credentials("Unknown: https://me:password@host/data?key=1.")
    'Unknown: https://host/data.'
    """
    if not isinstance(text, str) or not (":/" in text or "http" in text.lower()):
        return text
    return cast(T, _ADDRESS.sub(_public_part, text))


def within_limit(text: T) -> T:
    """A message of at most 2,500 characters: the middle of a longer one is left out. Other values stay as they are.

    Names in messages come from files, where they can be as long as the file is.

    >>> len(within_limit("It has no tensor " + "x" * 10**6 + ". Download it again."))
    2500
    """
    if not isinstance(text, str) or len(text) <= _LONGEST_MESSAGE:
        return text
    half = _LONGEST_MESSAGE // 2
    return cast(T, f"{text[: half - 2]} … {text[-half + 1 :]}")


def _public_part(found: re.Match[str]) -> str:
    scheme, _, place, query = found.groups(default="")
    end = query[len(query.rstrip(".,:;)]}")) :]  # of the sentence around the address
    return f"{scheme}{place}{end}"


def shown(value: object, limit: int = 80) -> str:
    """A value as a message shows it: on one line, cut to about `limit` characters; a text keeps both quotation marks.

    Addresses are without credentials.

    >>> shown("And the LORD said unto", 12)
    "'And the LORD…'"
    """
    if isinstance(value, str):
        if len(value) > _MOST_SEARCHED:
            value = value[:_MOST_SEARCHED]
        value = without_credentials(value)
        return repr(value if len(value) <= limit else f"{value[:limit]}…")
    try:
        text = repr(value)
    except Exception:  # it is nested too deeply, has too many digits, or its own method fails
        text = f"<{type(value).__name__}>"
    line = without_credentials(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[:limit]}…"


# Characters that change the text around them or are invalid: controls except tab and newline, text directions, halves
# of surrogate pairs.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def character_escape(character: str) -> str:
    r"""A character as Python writes it: \x1b, \u202e, \U000e0001."""
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def without_steering(text: str) -> str:
    r"""The text with its control and direction characters as escapes. Tabs and newlines stay.

    >>> without_steering("a\u202eb")
    'a\\u202eb'
    """
    return _STEERING.sub(lambda found: character_escape(found[0]), text)


def as_valid_text(text: str) -> str:
    r"""The text with what cannot be encoded as escapes.

    >>> as_valid_text("caf\udce9")
    'caf\\udce9'
    """
    return text.encode(errors="backslashreplace").decode()


def in_a_sentence(text: object, limit: int = 200) -> str:
    r"""A text from outside as part of a message: on one line, cut, without characters that steer the text around it.

    >>> in_a_sentence("Not\n found", 7)
    'Not fou…'
    """
    whole = " ".join(str(text).split())
    return without_steering(whole if len(whole) <= limit else f"{whole[:limit]}…")


def number_ranges(numbers: Iterable[int]) -> str:
    """Whole numbers as text, in ascending order, runs joined.

    >>> number_ranges([0, 1, 2, 3, 7])
    '0–3, 7'
    """
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs) or "none"


def no_layer(subject: str, layer: object, layers: Iterable[int], which: str = "layers") -> str:
    """The sentence about a layer that something does not have. `which` says what kind of layers those are.

    >>> no_layer("the model", 9, range(4))
    'the model has no layer 9; layers: 0–3.'
    """
    return f"{subject} has no layer {shown(layer)}; {which}: {number_ranges(layers)}."


def with_article(noun: str) -> str:
    """The noun with "a" or "an" before it.

    >>> with_article("axis")
    'an axis'
    """
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def in_units(n_bytes: int) -> str:
    """A number of bytes as people read it.

    >>> in_units(999), in_units(1_234_567)
    ('999 bytes', '1.2 MB')
    """
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    size, units = n_bytes / 1000, iter(("kB", "MB", "GB"))
    unit = next(units)
    while size >= 1000 and unit != "GB":
        size, unit = size / 1000, next(units)
    return f"{size:,.1f} {unit}"
