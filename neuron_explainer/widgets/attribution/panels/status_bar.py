"""Back, forward and stop; and the line that says what is computed, shown or wrong."""

from collections.abc import Callable

import ipywidgets as widgets

from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.widgets.messages import error_message, hint_message
from neuron_explainer.widgets.parts import button, filling, wrapped
from neuron_explainer.widgets.quiet import Quiet


class StatusBar(widgets.VBox):
    """The buttons, a bar while something is computed, and the line.

    Args:
        on_back, on_forward, on_stop, on_leave: called when a button is clicked.
        on_compare: called when a person wants the second prompt beside the first, or no longer.
    """

    def __init__(
        self,
        on_back: Callable[[], None],
        on_forward: Callable[[], None],
        on_stop: Callable[[], None],
        on_leave: Callable[[], None],
        on_compare: Callable[[], None],
    ) -> None:
        self._quiet = Quiet()
        self.back = button("Back", "arrow-left", "The answer before this one (Alt+Left)")
        self.forward = button("Forward", "arrow-right", "The answer after this one (Alt+Right)")
        self.leave = button("Leave trace", "level-down", "The answer that this trace began at", "120px")
        self.compares = widgets.Checkbox(
            description="compare with the 2nd prompt", indent=False, layout=widgets.Layout(width="auto")
        )
        self.stop = button("Stop", "stop", "Stop the computation; the answer on view stays")
        self.progress = widgets.FloatProgress(min=0.0, max=1.0, layout=widgets.Layout(width="140px"))
        self.line = widgets.HTML(layout=widgets.Layout(flex="1 1 auto", width="auto"))
        self.echo = widgets.HTML(layout=filling())
        """The line once more, for where rows and nodes are, out of sight of this bar; it is not read out twice."""
        for each, handler in (
            (self.back, on_back),
            (self.forward, on_forward),
            (self.leave, on_leave),
            (self.stop, on_stop),
        ):
            each.on_click(lambda _, handler=handler: handler())
        self.compares.observe(lambda _: None if self._quiet.is_on else on_compare(), names="value")
        row = widgets.HBox(
            [self.back, self.forward, self.leave, self.compares, self.stop, self.progress],
            layout=wrapped(align_items="center"),
        )
        super().__init__([row, self.line], layout=filling())
        self.add_class("ne-status")
        self.idle("")

    def busy(self, text: str) -> None:
        """Say what is computed."""
        self._say(hint_message(text))
        self.progress.value = 0.0
        self.stop.layout.display = self.progress.layout.display = ""

    def idle(self, text: str) -> None:
        """Say what is shown."""
        self._say(hint_message(text) if text else "")
        self._hide_progress()

    def fail(self, error: BaseException, shown: str | None) -> None:
        """Show an error, and what is still on view."""
        self._say(error_message(error, shown))
        self._hide_progress()

    def tell(self, fraction: float) -> None:
        """How much is done, from 0 to 1."""
        self.progress.value = fraction

    def can_go(self, back: bool, forward: bool) -> None:
        """Whether there is an answer before, and one after."""
        self.back.disabled, self.forward.disabled = not back, not forward

    def show(self, asked: Exploration) -> None:
        """Show what can be done with an answer: leave its trace, put the second prompt beside it."""
        self.leave.layout.display = "" if asked.traces else "none"
        self.compares.layout.display = "" if asked.other_prompt is not None else "none"
        with self._quiet:
            self.compares.value = asked.is_compared

    def _say(self, message: str) -> None:
        self.line.value = message
        self.echo.value = f'<div aria-hidden="true">{message}</div>' if message else ""

    def _hide_progress(self) -> None:
        self.stop.layout.display = self.progress.layout.display = "none"
