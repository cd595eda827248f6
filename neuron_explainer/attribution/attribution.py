"""The answer to "why A rather than B?": the metric, the parts that add up to it, and the nodes that matter."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex

from torch import Tensor

from neuron_explainer.attribution.changes.ablating import NodesGiven, ValueGiven, ablated
from neuron_explainer.attribution.changes.verification import verified
from neuron_explainer.attribution.comparison import Comparison, compared
from neuron_explainer.attribution.files.writing import write_attribution
from neuron_explainer.attribution.nodes_given import NodeOrRow
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.single_nodes.over_prompt import activation_table, pattern_of, patterns_of
from neuron_explainer.attribution.single_nodes.vocabulary import final_scales, written_tokens
from neuron_explainer.attribution.tracing.asking import traced
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import path_text
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.widgets.attribution.attribution_viewer import AttributionViewer


class Attribution(AttributionTables):
    """An answer: why the model prefers one token to another, or what a node's activation comes from.

    `ne.attribute` gives it, and so do its own `ablate`, `trace` and `compare`. In a notebook it shows itself as a page.
    Effects are in the units of the metric, mostly logits. Tables are made when they are asked for.

    Attributes:
        inquiry: what was asked.
        setting: the model, autoencoders and ablations; None in an answer that was read from a file without its model.
        kept: what its file says of them, in such an answer; None in others.
        history: the answers that led to this one, the first one first.

    >>> import neuron_explainer as ne
    >>> why = ne.attribute(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
    >>> parts = why.parts()
    >>> bool(abs(parts["direct_effect"].sum() - why.value) < 1e-4)
    True
    """

    def verify(
        self,
        n: SupportsIndex | Iterable[Any] = 20,
        kind: str = "total",
        *,
        value: ValueGiven = 0,
        reference: Any = None,
    ) -> pandas.DataFrame:
        """Estimates of single nodes beside what really happens when each is taken out.

        Args:
            n: how many nodes, those with the largest effect; or the nodes themselves, each at one token or pair, as
                names or rows. (What a whole head does is `value` minus `ablate("L23H3").value`.)
            kind: "total": the estimate is (activation − replacement) times gradient, and the model runs with the node
                ablated. "direct": the estimate is the direct effect, and the node's write is taken out of the last
                residual stream alone, the final norm's scale held constant.
            value: what the node is replaced by ("total" only): a number; "mean" over `reference` (attention weights,
                which have none, are then left out); or another prompt.
            reference: texts for "mean"; the embedded sample by default.

        Returns:
            Columns `name`, `estimate`, `measured`, `estimate_rank`, `measured_rank` (1 is the largest, with its sign);
            Spearman's coefficient of the two in `.attrs["spearman"]`.

        Raises:
            InvalidRequestError: n is not a positive whole number, or a node cannot be taken out.
            UnknownNameError: `kind` is neither of the two.
        """
        return verified(self, n, kind, value, reference)

    def ablate(self, *nodes: NodesGiven, value: ValueGiven = 0, reference: Any = None) -> Attribution:
        """The same question with nodes overwritten, on top of what is overwritten already.

        Args:
            nodes: names ("L23H3", "L23H3@14<-3", "L26N1262@7", "L5MLP", "L5ATTN", "EMB@3"), NodeIndexes, rows of
                `nodes()`, or AblationSpecs. Without a token a name means the node at all tokens. Of a head with a
                token attended to, the attention weight is set after the softmax; the rest of its row stays as it is.
            value: 0; "mean", over `reference`; a number; a tensor; or another prompt, of as many tokens, whose
                activation is taken.
            reference: texts, chats or token ids for "mean"; the embedded sample by default.

        Warns:
            UnchangedByInterventionWarning: a single node was overwritten, and no number changed: it had the value
                already. `ablated` tells it too.

        Raises:
            NodeNameError: a name cannot be read.
            InvalidRequestError: a node cannot be overwritten with the value.
        """
        return ablated(self, nodes, value, reference)

    def trace(self, node: NodeOrRow, through: str | None = None, *, downstream: NodeOrRow | None = None) -> Attribution:
        """The same question upstream of a node: what does its activation come from?

        Of a neuron or latent it is the activation before its nonlinearity. Of a head it is the attention logit (before
        the softmax), through its query ("q"), its key ("k") or both ("qk"); or through its value ("v"), its write
        projected on the direction that a downstream node, or this question's metric, reads. Scales of norms are held
        constant, and through "v" the pattern is. The parts of the answer sum to the traced activation.

        Args:
            node: a name, NodeIndex or row of `nodes()`. Without a token, the token (or pair) with the largest total
                effect is taken, and the answer names it.
            through: for a head: "q", "k", "qk" or "v"; "qk" by default.
            downstream: for "v": the node that reads the write.

        Raises:
            NodeNameError: a name cannot be read.
            InvalidRequestError: such a node has no activation to trace.
        """
        return traced(self, node, through, downstream)

    def writes(self, node: NodeOrRow, n: SupportsIndex = 10) -> pandas.DataFrame:
        """What a node's write does to the logits at its own token, the scales of norms held constant.

        Columns: `token`, `token_id`, `logit`: the n tokens whose logit it raises most, and the n that it lowers most,
        largest first. `logit` is before a soft cap, minus its mean over the vocabulary. So for a node at the position
        that is asked about, the target's minus the distractor's is the node's direct effect. `.attrs["node"]` names
        the node.

        Args:
            node: a name, NodeIndex or row of `nodes()`: a head at a token ("L23H3@14", all that it attends to) or at a
                pair; a neuron, latent or embedding at a token; or a layer's MLP or attention at a token, its biases
                included. Without a token: where its total effect is largest, a head at a pair, as by `trace`.
            n: how many on each side.

        Raises:
            NodeNameError: a name cannot be read.
            InvalidRequestError: such a node writes nothing, or n is not a positive whole number.
            MisconfiguredError: the answer was read from a file without its model.

        >>> import neuron_explainer as ne
        >>> why = ne.attribute(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
        >>> why.writes("L2H3@5", 2)["token"].tolist()
        [' Moses', ' S', 'ense', 'especially']
        """
        return written_tokens(self, node, checked_number("n", n), self._final_scales)

    @cached_property
    def _final_scales(self) -> list[Tensor]:
        return [final_scales(self.asked_setting, effects) for effects in self._effects]

    def activations_of(self, node: NodeOrRow) -> pandas.DataFrame:
        """One component over the prompt: its activation and total effect at every token, or pair of tokens.

        Columns: `token`, `position`, `activation`, `total_effect`; of a head `token` and `position` (attended from),
        `attended_to`, `attended_to_position`, `activation` (the attention weight), `total_effect`.

        Args:
            node: a head, neuron or latent, as a name, NodeIndex or row; a token in it is not looked at.

        Raises:
            NodeNameError: a name cannot be read.
            InvalidRequestError: it is not one head, neuron or latent of this answer.
        """
        return activation_table(self, node)

    def pattern(self, head: NodeOrRow) -> Tensor:
        """A head's attention weights, from 0 to 1: (attended from, attended to), in float32, on the CPU.

        Raises:
            NodeNameError: a name cannot be read.
            InvalidRequestError: it is not one head of this answer.
        """
        return pattern_of(self, head)

    def patterns(self) -> dict[int, Tensor]:
        """All heads' attention weights by layer: (attended from, attended to, heads).

        They are the answer's own tensors, not copies: do not change them. Of answers of several tokens, they are those
        of the first.
        """
        return patterns_of(self)

    def compare(self, other: Any) -> Comparison:
        """This answer beside another: of a second prompt of as many tokens, or an Attribution.

        Raises:
            PromptError: the prompts differ in their number of tokens.
        """
        return compared(self, other)

    def view(self, other_prompt: Any = None) -> AttributionViewer:
        """The answer's page as a widget, on which one can ask on, ablate, trace, verify and compare.

        Args:
            other_prompt: a second prompt of as many tokens, to compare with.

        Raises:
            MisconfiguredError: the answer was read from a file, without its model.

        An example, as the last line of a notebook cell: `why.view()`.
        """
        from neuron_explainer.widgets.attribution.attribution_viewer import AttributionViewer

        return AttributionViewer(self, other_prompt=other_prompt)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page that a notebook shows to an HTML file of its own, which needs nothing else."""
        from neuron_explainer.views.attribution.page import attribution_document

        write_bytes_atomically(path_text(path), attribution_document(self).encode())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the answer to one safetensors file, which is replaced as a whole or left as it was.

        `ne.load_attribution` reads it. The model, and functions that were the metric, are not in it.

        Raises:
            UnsupportedLocationError: `path` is not a local path.
        """
        write_attribution(self, path)

    def _repr_html_(self) -> str:
        from neuron_explainer.views.attribution.page import attribution_html

        return attribution_html(self)
