"""The fields in which a person asks: prompt, target, distractor, a second prompt."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from neuron_explainer.attribution.exploring.examples import Example
from neuron_explainer.widgets.attribution.typed import Form, Typed
from neuron_explainer.widgets.parts import button, filling, flexible, wrapped
from neuron_explainer.widgets.quiet import Quiet

_TARGET_HELP = "A token with its leading space. Empty: the model's own choice"


class AskPanel(widgets.VBox):
    """The fields, with what the model's tokenizer makes of them beneath.

    Args:
        first: what the fields hold at first.
        examples: questions to start from.
        has_chats: whether the model has a chat template.
        check: what stands beneath the fields, for what is typed; HTML.
        on_ask: called with what is typed when a person asks.
    """

    def __init__(
        self,
        first: Typed,
        examples: Sequence[Example],
        has_chats: bool,
        check: Callable[[Typed], str],
        on_ask: Callable[[Typed], None],
    ) -> None:
        self._check, self._on_ask = check, on_ask
        self._quiet = Quiet()
        self.prompt = _long_field("Prompt", "The text that the model goes on with")
        self.other = _long_field("2nd prompt", "As many tokens as the first; may stay empty")
        self.target = widgets.Text(description="Target", placeholder=_TARGET_HELP, layout=flexible("300px"))
        self.distractor = widgets.Text(
            description="Distractor", placeholder="What it is compared with; may stay empty", layout=flexible("300px")
        )
        self.form = widgets.Dropdown(
            options=[(form.value, form) for form in Form if has_chats or form is not Form.CHAT],
            description="Prompts are",
            layout=flexible("200px"),
        )
        titles = [(each.title, each) for each in examples]
        self.examples = widgets.Dropdown(
            options=[("Choose one…", ""), *titles], description="Examples", layout=flexible("330px")
        )
        self.examples.layout.display = "" if titles else "none"
        self.swap = button("Swap", "exchange", "Exchange target and distractor, and ask", "90px")
        self.ask = button("Ask", "play", "Ask the model (Ctrl+Enter in a field)", "90px")
        self.ask.button_style = "primary"
        self.checked = widgets.HTML(layout=filling())
        self.show(first)
        for field in (self.prompt, self.other, self.target, self.distractor, self.form):
            field.observe(self._changed, names="value")
        self.examples.observe(self._example_chosen, names="value")
        self.swap.on_click(lambda _: self._swapped())
        self.ask.on_click(lambda _: self._on_ask(self.typed))
        answers = widgets.HBox([self.target, self.distractor, self.swap, self.ask], layout=wrapped())
        start = widgets.HBox([self.examples, self.form], layout=wrapped())
        super().__init__([start, self.prompt, answers, self.other, self.checked], layout=filling())
        self.add_class("ne-ask")

    @property
    def typed(self) -> Typed:
        """What the fields hold."""
        return Typed(self.prompt.value, self.target.value, self.distractor.value, self.other.value, self.form.value)

    def show(self, typed: Typed) -> None:
        """Fill the fields in, without asking."""
        with self._quiet:
            self.prompt.value, self.other.value = typed.prompt, typed.other
            self.target.value, self.distractor.value = typed.target, typed.distractor
            self.form.value = typed.form
        self.checked.value = self._check(typed)

    def _changed(self, _: dict[str, Any]) -> None:
        if not self._quiet.is_on:
            self.checked.value = self._check(self.typed)

    def _swapped(self) -> None:
        now = self.typed
        self.show(Typed(now.prompt, now.distractor, now.target, now.other, now.form))
        self._on_ask(self.typed)

    def _example_chosen(self, change: dict[str, Any]) -> None:
        example = change["new"]
        if not isinstance(example, Example):
            return
        self.show(Typed(example.prompt, example.target, example.distractor, example.other_prompt or ""))
        self._on_ask(self.typed)


def _long_field(name: str, placeholder: str) -> widgets.Textarea:
    return widgets.Textarea(
        description=name,
        placeholder=placeholder,
        layout=widgets.Layout(width="calc(100% - 4px)", max_width="820px", height="52px"),
    )
