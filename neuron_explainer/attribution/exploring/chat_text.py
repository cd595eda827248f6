"""Chats as a person edits them in one field: a line for each message begins with its role."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from neuron_explainer.errors import PromptError, shown

ROLES = ("system", "user", "assistant")
_ROLE = re.compile(rf"^({'|'.join(ROLES)}):[ ]?", re.MULTILINE)
_ROLE_IN_TEXT = re.compile(rf"^(\\*)(?=(?:{'|'.join(ROLES)}):)", re.MULTILINE)
_ESCAPED_ROLE = re.compile(rf"^\\(?=\\*(?:{'|'.join(ROLES)}):)", re.MULTILINE)


def chat_of(text: str) -> list[dict[str, Any]] | None:
    """The messages of a text whose first line begins with a role; None of any other text.

    The roles are system, user and assistant, in small letters, each at the beginning of a line and with a colon behind
    it. A message goes on until the next such line. A backslash before a role (`\\user:`) makes it part of the message.

    Raises:
        PromptError: a role has no text behind it.

    >>> chat_of("user: Hello\\nassistant: Hi,")
    [{'role': 'user', 'content': 'Hello'}, {'role': 'assistant', 'content': 'Hi,'}]
    >>> chat_of("Once upon a time") is None
    True
    """
    found = list(_ROLE.finditer(text))
    if not found or text[: found[0].start()].strip():
        return None
    ends = [match.start() - 1 for match in found[1:]] + [len(text)]
    messages = []
    for match, end in zip(found, ends, strict=True):
        content = text[match.end() : max(match.end(), end)]
        if not content.strip():
            line = text.count("\n", 0, match.start()) + 1
            raise PromptError(f"Line {line} needs a text: {match[1]}: … {_ADVICE[match[1]]}")
        messages.append({"role": match[1], "content": _ESCAPED_ROLE.sub("", content)})
    return messages


_ADVICE = {
    "system": "Or leave it out.",
    "user": "Or leave it out.",
    "assistant": "Or leave it out: the model's answer begins after the last message by itself.",
}


def text_of_chat(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of messages, which `chat_of` reads.

    Raises:
        PromptError: a message has another role, no text, or something else than a role and a text.

    >>> text_of_chat([{"role": "user", "content": "Hello"}])
    'user: Hello'
    """
    return "\n".join(_line(number, message) for number, message in enumerate(messages))


def _line(number: int, message: Mapping[str, Any]) -> str:
    role, content = message.get("role"), message.get("content")
    others = sorted(str(name) for name in message if name not in ("role", "content"))
    if role not in ROLES:
        problem = f"has the role {shown(role)}"
    elif not isinstance(content, str) or not content.strip():
        problem = f"has the content {shown(content)}"
    elif others:
        problem = f"has {', '.join(others)}, too"
    else:
        return f"{role}: {_ROLE_IN_TEXT.sub(lambda match: match[1] + chr(92), content)}"
    raise PromptError(f"Message {number} {problem}. As text a message has a role ({', '.join(ROLES)}) and a text.")
