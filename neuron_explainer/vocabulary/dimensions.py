"""The axes that activations, weights and derived scalars have."""

from neuron_explainer.vocabulary.named_members import NamedMembers


class Dimension(NamedMembers):
    """One axis of an activation, a weight or a derived scalar.

    >>> Dimension.MLP_ACTS.label, Dimension.MLP_ACTS.is_sequence_token_dimension
    ('neurons', False)
    """

    label: str
    """What tables and plots call the axis."""
    is_sequence_token_dimension: bool
    """Whether the axis runs over tokens or pairs of tokens, so that its length depends on the prompt."""

    def __new__(cls, value: str, label: str = "", is_sequence_token_dimension: bool = False) -> "Dimension":
        """The member with that value and those properties. (Defaults let type checkers accept `Dimension(value)`.)"""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.is_sequence_token_dimension = is_sequence_token_dimension
        return member

    SEQUENCE_TOKENS = "sequence_tokens", "tokens", True
    ATTENDED_TO_SEQUENCE_TOKENS = "attended_to_sequence_tokens", "tokens attended to", True
    SEQUENCE_TOKEN_PAIRS = "sequence_token_pairs", "token pairs", True
    """The pairs (from, to) of tokens whose second is not after the first, row by row."""
    ATTN_HEADS = "attn_heads", "heads"
    QUERY_AND_KEY_CHANNELS = "query_and_key_channels", "query/key channels"
    VALUE_CHANNELS = "value_channels", "value channels"
    MLP_ACTS = "mlp_acts", "neurons"
    RESIDUAL_STREAM_CHANNELS = "residual_stream_channels", "residual stream channels"
    VOCAB_SIZE = "vocab_size", "vocabulary"
    MAX_CONTEXT_LENGTH = "max_context_length", "positions"
    AUTOENCODER_LATENTS = "autoencoder_latents", "latents"
    SINGLETON = "singleton", "1"
    """An axis of length 1: one number where other scalars have one per component."""
