"""What a node's name says, checked, and how it is printed."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.token_texts import TokenGiven
from neuron_explainer.errors import InvalidIndexError, NodeNameError, shown
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.named_members import member_of

All = Literal["All"]

_KINDS_WITH_CHANNELS = frozenset(NodeKind) - {NodeKind.VOCAB, NodeKind.MODEL}
_KINDS_OF_PAIRS = (NodeKind.HEAD, NodeKind.LATENT, NodeKind.ATTENTION)
_KINDS_BY_AUTOENCODER = (NodeKind.LATENT, NodeKind.ERROR)
_KINDS_WITH = {
    "channel": _KINDS_WITH_CHANNELS,
    "attended_to": _KINDS_OF_PAIRS,
    "autoencoder": _KINDS_BY_AUTOENCODER,
    "part": (NodeKind.HEAD,),
    "head": (NodeKind.LATENT,),
}
_CHOICES = {"autoencoder": ("mlp", "attn"), "part": ("q", "k", "qk", "v")}


@dataclass(frozen=True, repr=False)
class NodeFields:
    """The parts of a name. Which of them a kind of node can have is checked.

    Attributes:
        kind: what the node is.
        layer: its layer; None for kinds without layers.
        component: the number of the head, neuron, latent or vocabulary token; "All" for all of them; None for kinds
            without numbers.
        channel: one number of a vector: of what the node writes, of the residual stream, or of an autoencoder's error;
            "All" where the channels as such are meant; None for the node as a whole.
        token: the token's position, from 0; negative from the end; or its text; None: all tokens.
        attended_to: for a pair, the token attended to, in the same forms.
        autoencoder: for a latent or an error, the autoencoder, where a layer has two.
        part: for a head, its query, key, value, or query and key.
        head: for a latent, the head whose write to it is meant.
    """

    kind: NodeKind
    layer: int | None = None
    component: int | All | None = None
    channel: int | All | None = None
    token: TokenGiven = None
    attended_to: TokenGiven = None
    autoencoder: Literal["mlp", "attn"] | None = None
    part: Literal["q", "k", "qk", "v"] | None = None
    head: int | None = None

    # It checks and converts its fields itself, so a checker of annotations (tests use one) must let all values through.
    __no_type_check__: ClassVar[bool] = True

    def __post_init__(self) -> None:
        kind = self.kind
        if type(kind) is not NodeKind:
            kind = member_of(NodeKind, kind, "kind of node")
            object.__setattr__(self, "kind", kind)
        for field in ("layer", "component", "channel", "head", "token", "attended_to"):
            self._check_number(field)
        if (self.layer is None) is kind.has_layer:
            raise InvalidIndexError(
                f"{kind.meaning} is in a layer. Give it, as in {kind.example}."
                if kind.has_layer
                else f"{kind.meaning} belongs to no layer, so it cannot be in layer {self.layer}."
            )
        if kind.has_component and self.component is None:
            object.__setattr__(self, "component", "All")
        if not kind.has_component and self.component is not None:
            raise InvalidIndexError(f"{kind.meaning} has no number, so it cannot be number {self.component}.")
        if kind is NodeKind.ERROR and self.channel == "All":
            object.__setattr__(self, "channel", None)
        for field, kinds in _KINDS_WITH.items():
            value = getattr(self, field)
            if value is None:
                continue
            if kind not in kinds:
                raise InvalidIndexError(f"{kind.meaning} has no {said_of(field)}; {shown(value)} was given.")
            if value not in _CHOICES.get(field, (value,)):
                raise InvalidIndexError(f"{field} is {shown(value)}. Choose one of: {', '.join(_CHOICES[field])}.")

    def _check_number(self, field: str) -> None:
        """Refuse a field that is neither a number from 0 on, nor what else the field may be."""
        value = getattr(self, field)
        if value is None or (type(value) is int and value >= 0):
            return
        is_token = field in ("token", "attended_to")
        if isinstance(value, str) and is_token:
            object.__setattr__(self, field, str(value))  # NumPy's texts print in a way of their own
            return
        if value == "All" and field in ("component", "channel"):
            return
        number = whole_number(value)
        if number is None or (number < 0 and not is_token):
            raise InvalidIndexError(f"{field} is {shown(value)}. Give a whole number from 0 on.")
        object.__setattr__(self, field, number)

    @property
    def token_index(self) -> int | None:
        """The token's position; None: all tokens.

        Raises:
            NodeNameError: only a prompt tells it: it is a text, or counts from the end.
        """
        return self._position(self.token)

    @property
    def attended_to_index(self) -> int | None:
        """The position of the token attended to; None: all, or none. It raises what `token_index` raises."""
        return self._position(self.attended_to)

    def _position(self, token: TokenGiven) -> int | None:
        if token is None or (isinstance(token, int) and token >= 0):
            return token
        raise NodeNameError.saying(
            f"{self}: the position of the token {token!r} is known only in a prompt. Call .resolved(tokens) on the "
            "name first, with the prompt's token strings, or write a position from 0 on.",
            str(self),
        )

    @property
    def component_name(self) -> str:
        """The name without its tokens."""
        kind = self.kind
        name = kind.symbol if self.layer is None else f"L{self.layer}{kind.symbol}"
        if self.component is not None:
            name += _number(self.component)
        for suffix in (self.autoencoder, self.part, None if self.head is None else f"h{self.head}"):
            if suffix is not None:
                name += f"/{suffix}"
        return name if self.channel is None else f"{name}.{_number(self.channel)}"

    def __str__(self) -> str:
        name = self.component_name
        if self.token is not None:
            name += f"@{self.token!r}"
        return name if self.attended_to is None else f"{name}<-{self.attended_to!r}"


def _number(number: int | All) -> str:
    return "*" if number == "All" else str(number)


def said_of(field: str) -> str:
    """What messages call a field."""
    return "token attended to" if field == "attended_to" else field
