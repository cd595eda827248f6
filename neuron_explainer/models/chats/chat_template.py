"""A model's chat templates, and the texts that they write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuron_explainer.errors import ChatTemplateError
from neuron_explainer.models.chats.rendering_process import RenderingProcess

DEFAULT, FOR_TOOLS = "default", "tool_use"
MOST_TEMPLATE_CHARACTERS = 1 << 20
"""The largest size of a template. The longest of well-known models have about 30,000 characters."""


@dataclass(frozen=True)
class ChatTemplate:
    """The chat templates of a model, in jinja2's language.

    Nothing is checked before the first chat: a model without a sound template is a model all the same.

    Attributes:
        texts: the templates by name. "default" is for every chat, "tool_use" for one with tools.
        special_tokens: what templates find under names such as `bos_token`.
        origin: where the templates come from, for errors.
        problem: why they could not be read; empty if they could.
    """

    texts: Mapping[str, str]
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    origin: str = "memory"
    problem: str = ""
    _process: RenderingProcess = field(default_factory=RenderingProcess, init=False, repr=False, compare=False)

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text that the template writes.

        Args:
            variables: what it finds under their names, beside the special tokens: plain values.

        Raises:
            ChatTemplateError: there is no template, it cannot be read, it is malformed, refuses the messages, fails, or
                takes too long or too much memory.
        """
        template = self._chosen(has_tools=variables.get("tools") is not None)
        try:
            return self._process.render(template, {**self.special_tokens, **variables})
        except ChatTemplateError as error:
            raise ChatTemplateError(f"The chat template of {self.origin} {error}", line=error.line) from error

    def _chosen(self, *, has_tools: bool) -> str:
        if self.problem:
            raise ChatTemplateError(f"The chat template of {self.origin} cannot be read: {self.problem}")
        names = ([FOR_TOOLS] if has_tools else []) + [DEFAULT]
        text = next((self.texts[name] for name in names if name in self.texts), None)
        if text is None:
            found = ", ".join(map(repr, self.texts))
            raise ChatTemplateError(
                f"{self.origin} has the chat templates {found}, and none is named {DEFAULT!r}. Pass the text of one to "
                "load_model: `chat_template=`."
            )
        if len(text) > MOST_TEMPLATE_CHARACTERS:
            raise ChatTemplateError(
                f"The chat template of {self.origin} has {len(text):,} characters. The limit is "
                f"{MOST_TEMPLATE_CHARACTERS:,}."
            )
        return text
