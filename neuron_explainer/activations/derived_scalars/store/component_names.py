"""Display names for entries of derived scalars: `MLP 3:17 at " the"`, `head 5:1 from " it" to " cat"`."""

from collections.abc import Sequence
from dataclasses import dataclass

from neuron_explainer.activations.attention_utils import index_to_pair
from neuron_explainer.activations.derived_scalars.index_fields import TensorIndex
from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.errors import IndexOutOfRangeError
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType
from neuron_explainer.wording import without_steering

_NAME_OF_NODE_TYPE: dict[NodeType, str] = {
    NodeType.ATTENTION_HEAD: "head",
    NodeType.QK_CHANNEL: "head",
    NodeType.V_CHANNEL: "head",
    NodeType.MLP_NEURON: "MLP",
    NodeType.AUTOENCODER_LATENT: "latent",
    NodeType.MLP_AUTOENCODER_LATENT: "MLP latent",
    NodeType.ATTENTION_AUTOENCODER_LATENT: "attention latent",
    NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR: "latent",
    NodeType.AUTOENCODER_ERROR: "autoencoder error",
    NodeType.MLP_AUTOENCODER_ERROR: "MLP autoencoder error",
    NodeType.ATTENTION_AUTOENCODER_ERROR: "attention autoencoder error",
    NodeType.RESIDUAL_STREAM_CHANNEL: "channel",
    NodeType.LAYER: "layer",
    NodeType.TOKEN: "embedding",
    NodeType.VOCAB_TOKEN: "vocabulary token",
}
_NAME_OF_LOCATION: dict[LocationWithinLayer | None, str] = {
    LocationWithinLayer.ATTN: "attention layer",
    LocationWithinLayer.MLP: "MLP layer",
    LocationWithinLayer.RESID_POST_ATTN: "residual stream after attention",
    LocationWithinLayer.END_OF_LAYER: "residual stream after MLP",
}


@dataclass(frozen=True)
class TokensAndComponents:
    """The position of one number of a derived scalar, as tokens and components.

    Attributes:
        token: the token's position, for a pair the token attended from; None if the index names all tokens.
        attended_to: for a pair, the position of the token attended to.
        components: the positions on the other axes, such as a neuron's number.
    """

    token: int | None
    attended_to: int | None
    components: tuple[TensorIndex, ...]


def tokens_and_components(index: DerivedScalarIndex) -> TokensAndComponents:
    """An index as tokens and components. A flattened pair becomes its two tokens."""
    token: int | None = None
    attended_to: int | None = None
    components: list[TensorIndex] = []
    for entry, dimension in zip(index.tensor_indices, index.dimensions, strict=True):
        position = entry if isinstance(entry, int) else None
        if dimension is Dimension.SEQUENCE_TOKENS:
            token = position
        elif dimension is Dimension.ATTENDED_TO_SEQUENCE_TOKENS:
            attended_to = position
        elif dimension is Dimension.SEQUENCE_TOKEN_PAIRS:
            token, attended_to = (None, None) if position is None else index_to_pair(position)
        else:
            components.append(entry)
    return TokensAndComponents(token, attended_to, tuple(components))


def component_name(index: DerivedScalarIndex) -> str:
    """The display name of a component, without its token: `MLP 3:17`, `head 5:1`, `embedding`."""
    node_type, dst = index.dst.node_type, index.dst
    name = _NAME_OF_NODE_TYPE[node_type]
    layer = "" if index.layer_index is None else str(index.layer_index)
    components = tokens_and_components(index).components
    if node_type is NodeType.LAYER:
        return f"{_NAME_OF_LOCATION.get(dst.location_within_layer, name)} {layer}".strip()
    if node_type is NodeType.TOKEN:
        return name
    first, *others = ["all" if not isinstance(component, int) else str(component) for component in components]
    numbered = f"{name} {layer}:{first}" if layer else f"{name} {first}"
    return numbered + "".join(f" channel {other}" for other in others)


def index_name(index: DerivedScalarIndex, tokens: Sequence[str]) -> str:
    """The display name of a component with its token or tokens in quotation marks: `MLP 3:17 at " the"`.

    Raises:
        IndexOutOfRangeError: the prompt does not have the token.
    """
    position = tokens_and_components(index)
    name = component_name(index)
    has_pair = any(
        dimension in (Dimension.ATTENDED_TO_SEQUENCE_TOKENS, Dimension.SEQUENCE_TOKEN_PAIRS)
        for dimension in index.dimensions
    )
    if has_pair:
        return f"{name} from {_quoted(position.token, tokens)} to {_quoted(position.attended_to, tokens)}"
    return f"{name} {'of' if index.dst.node_type is NodeType.TOKEN else 'at'} {_quoted(position.token, tokens)}"


def _quoted(token: int | None, tokens: Sequence[str]) -> str:
    if token is not None and token >= len(tokens):
        raise IndexOutOfRangeError(f"The prompt has no token {token}. Choose a position from 0 to {len(tokens) - 1}.")
    if token is None:
        return "all tokens"
    return f'"{without_steering(tokens[token])}"'.replace("\n", "\\n").replace("\t", "\\t")
