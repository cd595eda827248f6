"""The axes that activations, weights and derived scalars have."""

from enum import StrEnum


class Dimension(StrEnum):
    """The axes that activations, weights and derived scalars have."""

    SEQUENCE_TOKENS = "sequence_tokens"
    ATTENDED_TO_SEQUENCE_TOKENS = "attended_to_sequence_tokens"
    SEQUENCE_TOKEN_PAIRS = "sequence_token_pairs"
    ATTN_HEADS = "attn_heads"
    QUERY_AND_KEY_CHANNELS = "query_and_key_channels"
    VALUE_CHANNELS = "value_channels"
    MLP_ACTS = "mlp_acts"
    RESIDUAL_STREAM_CHANNELS = "residual_stream_channels"
    VOCAB_SIZE = "vocab_size"
    MAX_CONTEXT_LENGTH = "max_context_length"
    AUTOENCODER_LATENTS = "autoencoder_latents"
    SINGLETON = "singleton"
    """An axis of length 1: one number where other scalars have one per component."""

    @property
    def is_sequence_token_dimension(self) -> bool:
        """Whether the axis runs over tokens, or pairs of them, and so depends on the prompt."""
        return self in (
            Dimension.SEQUENCE_TOKENS,
            Dimension.ATTENDED_TO_SEQUENCE_TOKENS,
            Dimension.SEQUENCE_TOKEN_PAIRS,
        )
