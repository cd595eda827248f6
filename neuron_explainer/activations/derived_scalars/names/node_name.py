"""`NodeName`: the name of a node, such as `L23H3@14<-1`, to and from text and indices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex, TypeAlias, cast

from neuron_explainer.activations.derived_scalars.ablations import AblationSpec
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex, DerivedScalarIndex, NodeIndex
from neuron_explainer.activations.derived_scalars.names import to_indices
from neuron_explainer.activations.derived_scalars.names.fields import All, NodeFields
from neuron_explainer.activations.derived_scalars.names.from_indices import fields_of_index
from neuron_explainer.activations.derived_scalars.names.grammar import read_name
from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, KindGiven, NodeKind, kind_given
from neuron_explainer.activations.derived_scalars.names.token_texts import TokenGiven, position_in_prompt
from neuron_explainer.activations.derived_scalars.trace_config import AttentionTraceType, PreOrPostAct, TraceConfig
from neuron_explainer.activations.neuron_ids import NeuronId
from neuron_explainer.errors import InvalidIndexError, NodeNameError, shown
from neuron_explainer.vocabulary.nodes import PassType


@dataclass(frozen=True, repr=False)
class NodeName(NodeFields):
    """The name of a node: of a component, a layer or a place, at all tokens, at one, or at a pair of tokens.

    `str(name)` prints it and `NodeName.parse` reads it; `docs/names.md` has the spelling. A token is a position, or a
    text until a prompt is known: `resolved` makes it a position. The attributes are those that the constructor takes.

    Raises:
        InvalidIndexError: such a node does not have one of the parts, or has a part that is missing.
        UnknownNameError: `kind` is not a kind of node.

    >>> name = NodeName.parse("L23H3@' to'<-' Mary'").resolved([" Mary", " went", " to"])
    >>> str(name), name.kind.value, name.to_node_index()
    ('L23H3@2<-0', 'head', NodeIndex('attention_head', 23, (2, 0, 3)))
    """

    if TYPE_CHECKING:  # names of kinds and NumPy integers are taken as well

        def __init__(
            self,
            kind: NodeKind | str,
            layer: SupportsIndex | None = None,
            component: SupportsIndex | All | None = None,
            channel: SupportsIndex | All | None = None,
            token: SupportsIndex | str | None = None,
            attended_to: SupportsIndex | str | None = None,
            autoencoder: Literal["mlp", "attn"] | None = None,
            part: Literal["q", "k", "qk", "v"] | None = None,
            head: SupportsIndex | None = None,
        ) -> None: ...

    @classmethod
    def parse(cls, text: str, *, kind: KindGiven | None = None, tokens: Sequence[str] | None = None) -> "NodeName":
        """Read a name; also one that is spelt as this library spelt them first (`MLP 3:17 at " the"`).

        Args:
            text: the name, in upper or lower case.
            kind: the kind of node, if it is known: "head", "neuron", "latent", or a NodeType. `23:3` is read then.
            tokens: the prompt's token strings, if they are known. Tokens become positions, from 0, and a text that
                stands after a position is compared.

        Raises:
            NodeNameError: it is not a node's name, is that of another kind, or has several readings; or the prompt has
                no such token, or several.
            IndexOutOfRangeError: the prompt has no such position.
            UnknownNameError: `kind` is neither a kind of node nor a node type.

        >>> NodeName.parse("23:3", kind="head")
        NodeName.parse('L23H3')
        """
        if not isinstance(text, str):
            raise NodeNameError.saying(
                f"{shown(text)} is of type {type(text).__name__}. Give a node's name, such as 'L23H3'.", shown(text)
            )
        read = read_name(text, None if kind is None else kind_given(kind))
        name = cls(**read.fields)
        if tokens is None:
            return name
        name = name.resolved(tokens)
        for field, said in read.said.items():
            position = getattr(name, field)
            if tokens[position] != said:
                raise NodeNameError.saying(
                    f"{shown(text)}: the prompt's token {position} is {shown(tokens[position])}, not {shown(said)}. "
                    f"Write {name} or {name._at(field, said)}.",
                    text,
                    [str(name), str(name._at(field, said))],
                )
        return name

    @classmethod
    def of(cls, node: "NodeGiven", *, kind: KindGiven | None = None) -> "NodeName":
        """The name of what an index, a trace, an ablation or a NeuronId names. The kind of a NeuronId must be given.

        A row of a table of nodes, whose label is its NodeIndex or which has a `name`, is taken as well. Gradients are
        not part of a name: `pass_type` is not kept.

        Raises:
            InvalidIndexError: `node` is of another type, or is of a layer that the kind of node does not have.

        >>> str(NodeName.of(DerivedScalarIndex("mlp_write_norm", 5, (3, 131))))
        'L5N131@3'
        """
        if isinstance(node, str):
            return cls.parse(node, kind=kind)
        if isinstance(node, NodeName):
            return node
        if isinstance(node, AblationSpec):
            return cls(**fields_of_index(node.index))
        if isinstance(node, NodeIndex | ActivationIndex | DerivedScalarIndex | TraceConfig):
            return cls(**fields_of_index(node))
        if isinstance(node, NeuronId):
            return cls.parse(str(node), kind=kind)
        if is_row_of_node(node):
            return cls.of(node.name if isinstance(node.name, NodeIndex) else node["name"])
        raise InvalidIndexError(
            f"{shown(node)} names no node. Give a name such as L23H3, a NodeName, a NodeIndex, an ActivationIndex or a "
            "DerivedScalarIndex."
        )

    def whole(self) -> "NodeName":
        """The same node at all tokens."""
        return replace(self, token=None, attended_to=None)

    def resolved(self, tokens: Sequence[str]) -> "NodeName":
        """The same node in a prompt: its tokens as positions from 0.

        Raises:
            NodeNameError: the prompt has no such token, or several; the error lists their positions.
            IndexOutOfRangeError: the prompt has no such position.

        >>> str(NodeName.parse("L5N1@-1").resolved(["a", "b", "c"]))
        'L5N1@2'
        """
        resolved = self
        for field in ("token", "attended_to"):
            token: TokenGiven = getattr(self, field)
            position = position_in_prompt(token, tokens, partial(self._name_at, field))
            if position != token:
                resolved = resolved._at(field, position)
        return resolved

    def _at(self, field: str, token: TokenGiven) -> "NodeName":
        changed: dict[str, Any] = {field: token}
        return replace(self, **changed)

    def _name_at(self, field: str, token: TokenGiven) -> str:
        return str(self._at(field, token))

    def in_prompt(self, tokens: Sequence[str]) -> str:
        """The name as readers of a prompt want it, with the tokens' texts. It is read as the name alone is.

        Raises:
            NodeNameError, IndexOutOfRangeError: as `resolved`.

        >>> NodeName.parse("L5H1@2<-0").in_prompt([" Mary", " went", " to"])
        "L5H1@2 ' to' <- 0 ' Mary'"
        """
        name = self.resolved(tokens)
        token, attended_to = name.token_index, name.attended_to_index
        text = name.component_name if token is None else f"{name.component_name}@{token} {tokens[token]!r}"
        return text if attended_to is None else f"{text} <- {attended_to} {tokens[attended_to]!r}"

    def to_node_index(self, pass_type: PassType | str = PassType.FORWARD) -> NodeIndex:
        """The node as a NodeIndex, with "All" where the name says no token.

        A head's query, key or value (`L5H3/q`) is an AttnSubNodeIndex.

        Raises:
            InvalidIndexError: a NodeIndex is not so fine: it has no channels of a neuron, say.
            NodeNameError: a token is not a position from 0 on; see `resolved`.

        >>> NodeName.parse("L26N1262").to_node_index()
        NodeIndex('mlp_neuron', 26, ('All', 1262))
        """
        return to_indices.node_index(self, pass_type)

    def to_activation_index(self, pass_type: PassType | str = PassType.FORWARD) -> ActivationIndex:
        """The numbers that the node is in the forward pass, with "All" where the name says no token.

        Of a head with a token attended to it is the attention probability, of a head alone its output before W_O;
        of a neuron its activation; of a latent that of an autoencoder that runs within the pass; of a layer's MLP or
        attention what it adds to the residual stream; of a vocabulary token its logit.

        Raises:
            InvalidIndexError: it has no place in the forward pass, or several.
            NodeNameError: a token is not a position from 0 on; see `resolved`.

        >>> NodeName.parse("L23H3").to_activation_index()
        ActivationIndex('attn.v_out', 23, ('All', 3, 'All'))
        """
        return to_indices.activation_index(self, pass_type)

    def to_ablation(self, value: SupportsFloat | str = 0.0) -> AblationSpec:
        """The ablation that sets the numbers of `to_activation_index`.

        Raises:
            InvalidIndexError, NodeNameError: as `to_activation_index`; or `value` is not one that AblationSpec takes.

        >>> NodeName.parse("L23H3<-1").to_ablation(0).index
        ActivationIndex('attn.qk_probs', 23, ('All', 1, 3))
        """
        return AblationSpec(self.to_activation_index(), cast(float, value))

    def to_trace_config(
        self,
        through: AttentionTraceType | str | None = None,
        *,
        pre_or_post_act: PreOrPostAct | str | None = None,
        detach_layer_norm_scale: bool = False,
        downstream_trace_config: TraceConfig | None = None,
    ) -> TraceConfig:
        """The trace of the node.

        Args:
            through: for a head: Q, K, QK or V; None: what the name says (`L5H3/q`), else QK.
            pre_or_post_act: None: of a head before the softmax, but after it through V; of all else after the
                nonlinearity.
            detach_layer_norm_scale, downstream_trace_config: as for TraceConfig.

        Raises:
            InvalidIndexError: a backward pass cannot start at the node, or the arguments contradict each other.
            NodeNameError: a token is not a position from 0 on; see `resolved`.

        >>> NodeName.parse("L23H3@14<-1").to_trace_config("q")
        TraceConfig(NodeIndex('attention_head', 23, (14, 1, 3)), 'pre', attention_trace_type='Q')
        """
        return to_indices.trace_config(
            self,
            through,
            pre_or_post_act,
            detach_layer_norm_scale=detach_layer_norm_scale,
            downstream_trace_config=downstream_trace_config,
        )

    def to_neuron_id(self) -> NeuronId:
        """The layer and number of the head, neuron or latent.

        Raises:
            InvalidIndexError: it is another kind of node, or all of a layer.

        >>> str(NodeName.parse("L5A102").to_neuron_id())
        '5:102'
        """
        if self.kind not in COMPONENTS or self.layer is None or not isinstance(self.component, int):
            raise InvalidIndexError(f"{self} is not one head, neuron or latent, such as L23H3, L26N1262 or L5A102.")
        return NeuronId(self.layer, self.component)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.parse({str(self)!r})"


NodeGiven: TypeAlias = (
    NodeName | NodeIndex | ActivationIndex | DerivedScalarIndex | TraceConfig | AblationSpec | NeuronId | str
)
"""A node: its name, or an index, trace or ablation of it."""


def is_row_of_node(given: Any) -> bool:
    """Whether it is a row of a table of nodes: a pandas Series whose label is a NodeIndex, or that has a `name`."""
    return isinstance(getattr(given, "name", None), NodeIndex) or _name_in_row(given) is not None


def _name_in_row(given: Any) -> str | None:
    """The text in the column `name` of a table's row; None where it is something else."""
    name = given.get("name") if hasattr(given, "iloc") else None
    return name if isinstance(name, str) else None


def parse_node(node: NodeGiven, *, kind: KindGiven | None = None, tokens: Sequence[str] | None = None) -> NodeName:
    """The name of a node that is given in any form: text, an index, a trace, an ablation, a NeuronId, or a name.

    Args:
        node: the node.
        kind: its kind, if it is known: "head", "neuron", "latent", or a NodeType. `23:3` is read then.
        tokens: the prompt's token strings, if they are known; the name's tokens become positions.

    Raises:
        NodeNameError: a text is not a node's name, is that of another kind, or has several readings; or the prompt has
            no such token, or several.
        IndexOutOfRangeError: the prompt has no such position.
        InvalidIndexError: `node` is in none of these forms.
        UnknownNameError: `kind` is neither a kind of node nor a node type.

    >>> parse_node("l23h3@-1", tokens=["When", " Mary", " to"])
    NodeName.parse('L23H3@2')
    """
    if isinstance(node, str):
        return NodeName.parse(node, kind=kind, tokens=tokens)
    name = NodeName.of(node, kind=kind)
    if kind is not None and name.kind is not kind_given(kind):
        name = NodeName.parse(str(name), kind=kind)
    return name if tokens is None else name.resolved(tokens)
