"""The axes of one prompt's tensors, by what they hold for each token or pair of tokens. Every row of the vocabulary
names its axes from here.

A pair is (token attended from, token attended to). FLAT_PAIRS are the pairs whose second token is not after the first,
row by row: pair (from, to) stands at from (from + 1) / 2 + to.
"""

from neuron_explainer.vocabulary.dimensions import Dimension

_TOKENS = Dimension.SEQUENCE_TOKENS
_ATTENDED_TO = Dimension.ATTENDED_TO_SEQUENCE_TOKENS
_FLAT_PAIRS = Dimension.SEQUENCE_TOKEN_PAIRS
_HEADS = Dimension.ATTN_HEADS
_NEURONS = Dimension.MLP_ACTS
_CHANNELS = Dimension.RESIDUAL_STREAM_CHANNELS
_LATENTS = Dimension.AUTOENCODER_LATENTS

ONE = (_TOKENS, Dimension.SINGLETON)
CHANNELS = (_TOKENS, _CHANNELS)
VOCABULARY = (_TOKENS, Dimension.VOCAB_SIZE)
NEURONS = (_TOKENS, _NEURONS)
NEURONS_CHANNELS = (_TOKENS, _NEURONS, _CHANNELS)
HEADS = (_TOKENS, _HEADS)
HEADS_QK = (_TOKENS, _HEADS, Dimension.QUERY_AND_KEY_CHANNELS)
HEADS_V = (_TOKENS, _HEADS, Dimension.VALUE_CHANNELS)
HEADS_LATENTS = (_TOKENS, _HEADS, _LATENTS)
LATENTS = (_TOKENS, _LATENTS)
LATENTS_CHANNELS = (_TOKENS, _LATENTS, _CHANNELS)
PAIRS = (_TOKENS, _ATTENDED_TO, Dimension.SINGLETON)
PAIRS_CHANNELS = (_TOKENS, _ATTENDED_TO, _CHANNELS)
PAIRS_HEADS = (_TOKENS, _ATTENDED_TO, _HEADS)
PAIRS_HEADS_V = (_TOKENS, _ATTENDED_TO, _HEADS, Dimension.VALUE_CHANNELS)
PAIRS_HEADS_CHANNELS = (_TOKENS, _ATTENDED_TO, _HEADS, _CHANNELS)
FLAT_PAIRS = (_FLAT_PAIRS, Dimension.SINGLETON)
FLAT_PAIRS_HEADS = (_FLAT_PAIRS, _HEADS)
FLAT_PAIRS_LATENTS = (_FLAT_PAIRS, _LATENTS)
