"""What a chat becomes: the text that the model's template writes, and its tokens."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuron_explainer.errors import ChatTemplateError, InvalidRequestError, MisconfiguredError
from neuron_explainer.models.chats.chat_template import ChatTemplate
from neuron_explainer.models.chats.messages import Chat, checked_messages, plain_value
from neuron_explainer.vocabulary.checks import checked_flag

if TYPE_CHECKING:
    import pandas as pd

_ASSISTANT = "assistant"
_GOES_ON = "THE_MESSAGE_GOES_ON_HERE "
"""Stands at the end of a message that is continued; the space at its end shows whether the template trims messages."""


class ChatText(str):
    """The text of a chat, as the model's template writes it, special tokens included.

    It is taken wherever a text is, and its tokens are those that it names: no beginning-of-sequence token is put before
    it. What is made from it by adding or cutting is a text as any other.
    """

    __slots__ = ()


class ChatTokens(list[int]):
    """The token ids of a chat, with their texts; it is taken wherever token ids are.

    Attributes:
        text: the whole text.
        token_strings: the text of each token.
    """

    def __init__(self, token_ids: Sequence[int], text: str, token_strings: Sequence[str]) -> None:
        super().__init__(token_ids)
        self.text = text
        self.token_strings = list(token_strings)

    def __reduce__(self) -> tuple[Any, ...]:
        return ChatTokens, (list(self), self.text, self.token_strings)

    def __repr__(self) -> str:
        return f"<ChatTokens: {len(self)} tokens, {' '.join(map(repr, self.token_strings))}>"

    def to_dataframe(self) -> "pd.DataFrame":
        """A table with a row for each token, by its position: `token`, `token_id`."""
        import pandas as pd

        return pd.DataFrame({"token": self.token_strings, "token_id": list(self)}).rename_axis("position")

    def _repr_html_(self) -> str:
        from neuron_explainer.views.token_strip import token_strip

        return token_strip(self.token_strings, self)


def chat_text(
    template: ChatTemplate,
    messages: Chat,
    *,
    add_generation_prompt: bool | None = None,
    continue_final_message: bool | None = None,
    variables: Mapping[str, Any],
) -> ChatText:
    """The text of a chat.

    Args:
        template: the model's template.
        messages: the messages.
        add_generation_prompt, continue_final_message: as for `ModelContext.chat_tokens`.
        variables: what else the template finds under its names.

    Raises:
        PromptError: they are not messages, or a variable is not a plain value.
        InvalidRequestError: the two options exclude each other, or there is nothing to continue.
        ChatTemplateError: the template cannot write them, or does not write the whole message that is to be continued.
    """
    checked = checked_messages(messages)
    adds, continues = _ending(checked, add_generation_prompt, continue_final_message)
    if continues:
        checked[-1]["content"] = _going_on(checked[-1].get("content"))
    whole = {
        "tools": None,
        "documents": None,
        **{name: plain_value(value, name) for name, value in variables.items()},
        "add_generation_prompt": adds,
    }
    text = _rendered(template, checked, whole)
    return ChatText(_up_to_the_end_of_the_message(text, template) if continues else text)


def _ending(messages: Sequence[Mapping[str, Any]], adds: bool | None, continues: bool | None) -> tuple[bool, bool]:
    """Whether the beginning of an answer is added, and whether the last message stays open."""
    is_answer = messages[-1]["role"] == _ASSISTANT
    if continues is None:
        continues = adds is None and is_answer and messages[-1].get("content") is not None
    if adds is None:
        adds = not continues and not is_answer
    adds, continues = checked_flag("add_generation_prompt", adds), checked_flag("continue_final_message", continues)
    if adds and continues:
        raise MisconfiguredError(
            "add_generation_prompt begins a new answer and continue_final_message goes on with the last message. "
            "Choose one of them."
        )
    return adds, continues


def _going_on(content: object) -> str | list[dict[str, Any]]:
    """The content of the last message, with the mark at its end."""
    if isinstance(content, list):
        *before, last = content or [{"type": "text", "text": ""}]
        return [*before, {**last, "text": last["text"] + _GOES_ON}]
    if not isinstance(content, str):
        raise InvalidRequestError("The last message has no content to continue. Use continue_final_message=False.")
    return content + _GOES_ON


def _up_to_the_end_of_the_message(text: str, template: ChatTemplate) -> str:
    """The text without what the template writes after the message that is continued."""
    mark = _GOES_ON.rstrip()
    before, found, after = text.rpartition(mark)
    if not found:
        raise ChatTemplateError(
            f"The chat template of {template.origin} does not write the last message as it is, so it cannot be "
            "continued. Use continue_final_message=False."
        )
    is_trimmed = not after.startswith(_GOES_ON[len(mark) :])
    return before.rstrip() if is_trimmed else before


def _rendered(template: ChatTemplate, messages: list[dict[str, Any]], variables: Mapping[str, Any]) -> str:
    """The text of messages. Parts are joined, line by line, if the template can only write whole contents."""
    if not any(isinstance(message.get("content"), list) for message in messages):
        return template.render({**variables, "messages": messages})
    try:
        text = template.render({**variables, "messages": messages})
    except ChatTemplateError:
        text = ""
    if _writes_parts(text, messages):
        return text
    return template.render({**variables, "messages": [_with_joined_parts(message) for message in messages]})


def _writes_parts(text: str, messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the text has every part's own text, rather than the part as Python or JSON writes it."""
    parts = [part for message in messages if isinstance(message.get("content"), list) for part in message["content"]]
    as_written = [form for part in parts for form in (str(part), json.dumps(part, ensure_ascii=False))]
    return all(part["text"].strip() in text for part in parts) and not any(form in text for form in as_written)


def _with_joined_parts(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    return {**message, "content": "\n".join(part["text"] for part in content)} if isinstance(content, list) else message
