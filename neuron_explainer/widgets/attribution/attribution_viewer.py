"""A page in a notebook on which a person asks why, follows the answer, and changes the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, as_config
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName
from neuron_explainer.attribution.attribute import attribute
from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.exploring.examples import examples_for
from neuron_explainer.attribution.exploring.exploration_fields import alternatives
from neuron_explainer.attribution.exploring.explorer import Explorer
from neuron_explainer.attribution.question.positions import PositionsGiven
from neuron_explainer.attribution.question.question import MetricGiven, PromptGiven
from neuron_explainer.attribution.question.settings import AutoencodersGiven
from neuron_explainer.errors import InvalidRequestError, PromptError
from neuron_explainer.vocabulary.checks import checked_flag
from neuron_explainer.widgets.attribution.attribution_page import AttributionPage
from neuron_explainer.widgets.attribution.page_state import PageState
from neuron_explainer.widgets.attribution.work.page_work import VerifyTask
from neuron_explainer.widgets.parts import widgets_in

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.attribution.exploring.exploration import Exploration
    from neuron_explainer.attribution.exploring.exploration_fields import PromptAsked


class AttributionViewer(AttributionPage):
    """A page that asks why a model prefers one token to another, and shows the answer of `ne.attribute`.

    The constructor asks the first question, and raises what `ne.attribute` raises. Later failures are shown on the
    page, and the answer that was shown before stays. The methods do what the page's buttons do, and return when it is
    done.

    Args:
        model: the model, or a DstConfig; or an Attribution, whose page is shown.
        prompt, target, distractor: as `ne.attribute` takes them. Without a prompt the page begins with an example.
        other_prompt: a second prompt of as many tokens, to compare with and to take activations from.
        metric, positions, autoencoders, prepend_bos: as `ne.attribute` takes them; they stay for later questions.
        core_controls_only: True leaves out the module that makes the page quicker to use where it can be loaded.

    Attributes:
        attribution: the answer on view. A trait, as are `comparison`, `node` and `error`:
            `viewer.observe(f, "attribution")` calls `f` when a new answer is on view, in the thread that computed it.
        comparison: both answers where two prompts are side by side; else None.
        node: the name of the node that is open; empty without one.
        error: the error of the last thing that was asked; None if it succeeded.

    Raises:
        As `ne.attribute`.

    An example, in a notebook cell:

        viewer = ne.AttributionViewer(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
        viewer
    """

    def __init__(
        self,
        model: ConfigOrModel | Attribution,
        prompt: PromptGiven | None = None,
        target: Any = None,
        distractor: Any = None,
        *,
        other_prompt: PromptGiven | None = None,
        metric: MetricGiven = None,
        positions: PositionsGiven = None,
        autoencoders: AutoencodersGiven = None,
        prepend_bos: bool | None = None,
        core_controls_only: bool = False,
    ) -> None:
        has_module = not checked_flag("core_controls_only", core_controls_only)
        asked = {
            "target": target,
            "distractor": distractor,
            "metric": metric,
            "positions": positions,
            "autoencoders": autoencoders,
            "prepend_bos": prepend_bos,
        }
        if isinstance(model, Attribution):
            if prompt is not None or any(each is not None for each in asked.values()):
                raise InvalidRequestError("An answer is given, which has its own question. Leave the others out.")
            why = model
        else:
            if prompt is None:
                if target is not None or distractor is not None:
                    raise InvalidRequestError("A target or distractor is given without a prompt. Give the prompt too.")
                examples = examples_for(as_config(model, "model").get_model_context())
                if not examples:
                    raise PromptError("There is no example for this model's tokens. Give a prompt, such as token ids.")
                example = examples[0]
                prompt, other_prompt = example.prompt, other_prompt or example.other_prompt
                asked |= {"target": example.target, "distractor": example.distractor or None}
            why = attribute(model, prompt, **asked)
            if not isinstance(why, Attribution):
                raise PromptError("A page asks about one prompt. Give one, and use ne.attribute for several.")
        explorer = Explorer.of(why)
        first = cast("Exploration", explorer.first)
        if other_prompt is not None:
            first = replace(first, other_prompt=cast("PromptAsked", other_prompt))
        super().__init__(explorer, first, has_module)

    # What a person can ask

    def ask(self, prompt: PromptGiven, target: Any = None, distractor: Any = None, other_prompt: Any = None) -> None:
        """Ask a new question. When this returns, the answer is on view, or `error` says why not.

        Args:
            prompt: a text, or a list of messages.
            target, distractor: a token with its leading space, or its id; or a list of alternatives; None for none.
            other_prompt: a second prompt of as many tokens.
        """
        answers = alternatives("target", target), alternatives("distractor", distractor)
        self._run(self._now.asked(cast("PromptAsked", prompt), *answers, other_prompt), fills_in=True)

    def ablate(self, node: NodeGiven, value: float | str = 0.0) -> None:
        """Overwrite a node, on top of what is overwritten already.

        Args:
            node: its name or index; without a token, at all tokens.
            value: a number, "mean", or "other": its activation in the second prompt.
        """
        self._run(self._now.with_change(_name(node), value))

    def trace(self, node: NodeGiven, through: str | None = None, downstream: NodeGiven | None = None) -> None:
        """Ask where a node's activation comes from; as `Attribution.trace`."""
        self._run(self._now.traced(_name(node), through, None if downstream is None else _name(downstream)))

    def compare(self, other_prompt: Any = None) -> None:
        """Put the answer about a second prompt beside this one; None: about the one that the page has."""
        asked = self._now if other_prompt is None else replace(self._now, other_prompt=other_prompt)
        self._run(asked.compared(True), fills_in=True)

    def show_node(self, node: NodeGiven) -> None:
        """Open a node: its numbers in this answer, what it writes, its record."""
        self._open(_name(node), at_once=True)
        self._one_node.recording.wait()

    def verify(self, *nodes: NodeGiven) -> None:
        """Put what happens when nodes are taken out beside the estimates."""
        self._one_node.verifying.run(VerifyTask(self._shown, tuple(map(_name, nodes))))

    def back(self) -> None:
        """Show the answer before this one."""
        self._move(-1, at_once=True)

    def forward(self) -> None:
        """Show the answer after this one."""
        self._move(1, at_once=True)

    def stop(self) -> None:
        """Stop what is computed. The answer on view stays."""
        self._stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what was asked on the page is on view or has failed.

        Args:
            timeout: seconds, for each of the page's computations; None: no limit.

        Returns:
            Whether it is on view or has failed.
        """
        node = self._one_node
        works = (
            self._asking,
            node.verifying,
            node.opening,
            node.recording,
            self._tabling,
            self.table.paging,
            self._drawing,
        )
        return all(work.wait(timeout) for work in (*works, *works, self._snapshot))  # one may begin another

    # What a person keeps

    @property
    def nodes(self) -> pandas.DataFrame:
        """The rows of the table on view, with what was measured of them."""
        return self._shown.frame_with_measurements()

    @property
    def code(self) -> str:
        """The Python that gives the answer on view."""
        return self._shown.drawn.code

    @property
    def state(self) -> dict[str, Any]:
        """What the page shows, as JSON values. Set to such values, the page shows the same again.

        Raises:
            InvalidRequestError: it is set to something else.
        """
        return PageState(self._now, self.table.choice, self.sections.choice, self.node, self.keep.notes.value).to_json()

    @state.setter
    def state(self, values: object) -> None:
        state = PageState.from_json(values)
        self._restore(state)
        if state.node and self.error is None and self._now == state.asked:
            self.show_node(state.node)

    def __repr__(self) -> str:
        return f"<AttributionViewer of {self.attribution!r}>"

    def close(self) -> None:
        """Close the page and all its parts. What it showed stays in the notebook as static HTML.

        A page closes by itself when its cell has run again and nothing refers to it any more.
        """
        if self._content is not None:  # else the constructor has failed
            self.stop()
            self._snapshot.finish()
            self._one_node.close()
        for part in widgets_in(self):
            part.close()
        super().close()


def _name(node: NodeGiven) -> str:
    """A node's name."""
    return node.strip() if isinstance(node, str) else str(NodeName.of(node))
