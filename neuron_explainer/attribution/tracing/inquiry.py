"""The inquiry of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.activations.derived_scalars.indexing import AttentionTraceType
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.inquiry import AskedPass, Inquiry
from neuron_explainer.attribution.question.answers import Answer
from neuron_explainer.attribution.tracing.trace_objective import TraceObjective
from neuron_explainer.models.transformer import Transformer


@dataclass(frozen=True, eq=False)
class TraceInquiry(Inquiry):
    """A trace of a node.

    Attributes:
        node: the node, at its tokens.
        through: of a head, the input that it goes through.
        downstream: for a head's value, the name of the node that reads the write, or what else it is projected on.
        prompt: the tokens of the pass.
        of_node: the activation as an objective.
    """

    node: NodeName
    through: AttentionTraceType | None
    downstream: str | None
    prompt: Prompt
    of_node: TraceObjective

    @property
    def answers(self) -> Sequence[Answer]:  # type: ignore[override]
        """None: the number is not about tokens."""
        return ()

    @property
    def passes(self) -> Sequence[AskedPass]:  # type: ignore[override]
        """The one pass."""
        return (AskedPass(self.prompt),)

    @property
    def is_linear(self) -> bool:  # type: ignore[override]
        """Whether the activation is affine in the residual stream when scales and the pattern are held constant."""
        return self.of_node.is_affine

    @classmethod
    def joint_objective(cls, model: Transformer, passes: Sequence[tuple[TraceInquiry, int]]) -> TraceObjective:
        """The activation, which is the same in all passes of a batch."""
        return passes[0][0].of_node

    @property
    def request(self) -> dict[str, Any]:
        """What was asked, as JSON values."""
        return {
            "trace": str(self.node),
            "through": None if self.through is None else self.through.value.lower(),
            "downstream": self.downstream,
        }

    @property
    def title(self) -> str:
        """What the number is, in words."""
        name = self.node.in_prompt(self.prompt.token_strings)
        if self.through is None:
            return f"activation of {name} before its nonlinearity"
        if self.through is AttentionTraceType.V:
            return f"write of {name} through v, projected on what {self.downstream} reads"
        return f"attention logit of {name} through {self.through.value.lower()}"
