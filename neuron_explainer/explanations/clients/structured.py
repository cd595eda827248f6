"""JSON out of answers, and nothing but what was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from neuron_explainer.errors import AnswerFormatError, shown
from neuron_explainer.explanations.clients.client import ChatAnswer
from neuron_explainer.wording import in_a_sentence

T = TypeVar("T")

_DEEPEST = 64
_MOST_CHARACTERS = 4_000_000
_MOST_TRIED = 16
"""How many places of an answer are tried as the beginning of its JSON: so the search takes linear time."""

# A string that never ends matches up to the end of the answer, and nothing is tried twice (`++`, `*+`).
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[{}\[\]]', re.DOTALL)
_FENCE = re.compile(r"```[A-Za-z0-9_-]*\s*+")
_THOUGHT, _END_OF_THOUGHT = "<think>", "</think>"
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def parsed(answer: ChatAnswer, type_: type[T] | msgspec.json.Decoder[T], remedy: str = "") -> T:
    """What an answer says in JSON, as a value of a type. Values are not converted: "1" is not the number 1.

    The JSON is the whole answer, or what is in its first fence of three backticks, or the first value in brackets that
    is in the text. What a model thinks before, up to `</think>`, does not count.

    Args:
        answer: the answer.
        type_: a msgspec.Struct, or another type that msgspec decodes; or a msgspec.json.Decoder.
        remedy: what to do where an answer is cut off, as the end of a sentence.

    Raises:
        AnswerFormatError: the answer has no JSON, or one of another form, or was cut off at the most tokens.

    >>> class Grade(msgspec.Struct):
    ...     grade: int
    >>> parsed(ChatAnswer('I think: {"grade": 7}.'), Grade)
    Grade(grade=7)
    """
    decoder = type_ if isinstance(type_, msgspec.json.Decoder) else msgspec.json.Decoder(type_)
    expected = f"JSON {_described(decoder.type)}"
    cut = "" if answer.is_whole else f"it was cut off at the most tokens{remedy}. So "
    text = whole_pairs(answer.text)
    if len(text) > _MOST_CHARACTERS:
        raise AnswerFormatError(f"it has {len(text):,} characters, over {_MOST_CHARACTERS:,}", expected, text)
    said = text.rpartition(_END_OF_THOUGHT)[2]
    found = None if said.lstrip().startswith(_THOUGHT) else _first_json(said)  # a thought without an end is no answer
    if found is None:
        raise AnswerFormatError(f"{cut}it has no whole JSON value", expected, text)
    try:
        return decoder.decode(found)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        problem = f"{cut}{in_a_sentence(error)}"
    raise AnswerFormatError(problem, expected, text)


def whole_pairs(text: str) -> str:
    r"""JSON whose escapes of half of a surrogate pair, which stand for no character, are those of U+FFFD.

    Models write such where a character is cut.

    >>> whole_pairs(r'["\ud83d", "\ud83d\ude00", "\\ud83d"]')
    '["\\ufffd", "\\ud83d\\ude00", "\\\\ud83d"]'
    """
    return _ESCAPE.sub(lambda found: "\\ufffd" if found[1] else found[0], text)


def schema_of(type_: Any) -> dict[str, Any]:
    """The JSON schema of a type, as endpoints take it: no references, and objects have the fields named and no others.

    Args:
        type_: a msgspec.Struct, or another type that msgspec decodes; it does not contain itself.

    >>> class Grade(msgspec.Struct):
    ...     grade: int
    >>> schema_of(Grade)["properties"]
    {'grade': {'type': 'integer'}}
    """
    (schema,), components = msgspec.json.schema_components([type_], ref_template="{name}")
    resolved: dict[str, Any] = _resolved(schema, components)
    return resolved


def _resolved(schema: Any, components: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolved(each, components) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(components[schema["$ref"]], components)
    is_object = schema.get("type") == "object" and "properties" in schema
    closed = {"additionalProperties": False} if is_object else {}
    return {key: _resolved(value, components) for key, value in schema.items()} | closed


def _described(type_: Any) -> str:
    """What is asked for, without the name of a class, which only the code knows."""
    if fields := getattr(type_, "__struct_fields__", None):
        return f"with {', '.join(fields)}"
    name = getattr(type_, "__name__", None) if not getattr(type_, "__args__", None) else None
    return f"of {name or shown(type_)}"


def _first_json(text: str) -> str | None:
    """The JSON of an answer; None if there is none."""
    whole = text.strip()
    if _is_json(whole):
        return whole
    fence = _FENCE.search(text)
    if fence is not None:
        inside = text[fence.end() :].partition("```")[0].strip()
        if _is_json(inside):
            return inside
    return next((each for each in _in_brackets(text) if _is_json(each)), None)


def _in_brackets(text: str) -> Iterator[str]:
    """What stands in brackets, from the first one on; some places at most."""
    at = 0
    for _ in range(_MOST_TRIED):
        start = min((found for found in (text.find("{", at), text.find("[", at)) if found >= 0), default=-1)
        if start < 0:
            return
        end = _end_of_brackets(text, start)
        if end is not None:
            yield text[start:end]
        at = start + 1 if end is None else end


def _end_of_brackets(text: str, start: int) -> int | None:
    """Where the brackets that open at `start` are closed; None if they never are, or are nested too deeply."""
    open_brackets: list[str] = []
    for found in _STRING_OR_BRACKET.finditer(text, start):
        bracket = found[0]
        if bracket in "{[":
            open_brackets.append("}" if bracket == "{" else "]")
            if len(open_brackets) > _DEEPEST:
                return None
        elif bracket in "}]":
            if bracket != open_brackets.pop():
                return None
            if not open_brackets:
                return found.end()
    return None


def _is_json(text: str) -> bool:
    """Whether it is one JSON value, not nested too deeply."""
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return text[:1] not in ("{", "[") or _end_of_brackets(text, 0) is not None
