"""Lists of messages: what is one, and what is wrong with one that is not."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from neuron_explainer.errors import PromptError, shown
from neuron_explainer.vocabulary.checks import finite_number, flag_of, whole_number

Chat = Sequence[Mapping[str, Any]]
"""Messages, one after the other: `[{"role": "user", "content": "Hello"}]`."""

_DEEPEST = 32
"""How many lists and mappings may be within each other. A tool's description has about ten."""
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""The names under which people give what a model thought before its answer; templates know the first two."""
_FORM = 'A message is {"role": "user", "content": "…"}.'


def is_chat(given: object) -> TypeGuard[Chat]:
    """Whether something is meant as a list of messages: a list that holds mappings.

    >>> is_chat([{"role": "user", "content": "Hello"}]), is_chat([5, 17]), is_chat("Hello")
    (True, False, False)
    """
    return isinstance(given, list | tuple) and any(isinstance(each, Mapping) for each in given)


def is_text_or_chat(given: object) -> TypeGuard[str | Chat]:
    """Whether something is a text, or meant as a list of messages; token ids are neither."""
    return isinstance(given, str) or is_chat(given)


def checked_messages(chat: object) -> list[dict[str, Any]]:
    """The messages as plain values, which share nothing with those given. Entries that are None are left out.

    A message has a `role`, a text; and a `content`, a text or a list of parts `{"type": "text", "text": "…"}`. Content
    may be missing beside other entries, such as `tool_calls`.

    Raises:
        PromptError: it is not such a list; the message says which entry is wrong.
    """
    if isinstance(chat, Mapping):
        raise PromptError("One message is not a list of messages. Put it into a list: [message].")
    if not isinstance(chat, Sequence) or isinstance(chat, str | bytes):
        raise PromptError(f"The messages are {shown(chat)}. Give a list of messages. {_FORM}")
    if not chat:
        raise PromptError(f"The list of messages is empty. Give at least one message. {_FORM}")
    return [_checked(number, message) for number, message in enumerate(chat)]


def _checked(number: int, message: object) -> dict[str, Any]:
    name = f"Message {number}"
    if not isinstance(message, Mapping):
        raise PromptError(f"{name} is {shown(message)}. {_FORM}")
    plain: dict[str, Any] = plain_value(message, name)
    entries = {key: value for key, value in plain.items() if value is not None}
    role = entries.get("role")
    if not isinstance(role, str) or not role:
        found = f"the role {shown(role)}" if role is not None else f"no role, only {shown(list(entries))}"
        raise PromptError(f"{name} has {found}. {_FORM}")
    content = entries.get("content")
    if content is None and not entries.keys() - {"role", "name"}:
        raise PromptError(f"{name} has no content. {_FORM}")
    if isinstance(content, list):
        for at, part in enumerate(content):
            _check_part(f"Part {at} of message {number}", part)
    elif content is not None and not isinstance(content, str):
        raise PromptError(
            f'{name} has the content {shown(content)}. Give a text, or a list of parts {{"type": "text", "text": "…"}}.'
        )
    thoughts = next((entries[name] for name in _REASONING if name in entries), None)
    return entries if thoughts is None else {"thinking": thoughts} | entries | {"reasoning_content": thoughts}


def _check_part(name: str, part: object) -> None:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        kind = part.get("type") if isinstance(part, dict) else part
        raise PromptError(
            f'{name} is {shown(kind)}, and models read text alone here. Give parts {{"type": "text", "text": "…"}}.'
        )


def plain_value(value: object, name: str, depth: int = 0) -> Any:
    """A copy of texts, numbers, lists and mappings that JSON can hold.

    Args:
        value: the value.
        name: what it is, for errors.
        depth: within how many others it is.

    Raises:
        PromptError: something in it is of another type, or it is nested too deeply.
    """
    if depth > _DEEPEST:
        raise PromptError(f"{name} is nested too deeply.")
    if value is None:
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise PromptError(f"{name} has an entry named {shown(key)}. Names are texts.")
        return {str(key): plain_value(each, name, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(each, name, depth + 1) for each in value]
    for as_plain in (flag_of, whole_number, finite_number):
        if (plain := as_plain(value)) is not None:
            return plain
    advice = " transformers.utils.get_json_schema describes a function as a tool." if callable(value) else ""
    raise PromptError(
        f"{name} holds an object of type {type(value).__name__}. Give texts, numbers, lists and dicts.{advice}"
    )
