"""The derived scalars: what can be derived from a model about one prompt, one row each.

No torch is imported here. The functions that compute them are in `activations/derived_scalars/derivers`; to find one,
search for its name there.
"""

from enum import auto

from neuron_explainer.vocabulary import axes
from neuron_explainer.vocabulary.derived_scalar_rows import (
    Requirement,
    ScalarLayers,
    ScalarRow,
    Source,
    error,
    latent,
    online,
    raw,
)
from neuron_explainer.vocabulary.described_scalar import DescribedScalar
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_START = LocationWithinLayer.END_OF_PREV_LAYER
_ATTN = LocationWithinLayer.ATTN
_MIDDLE = LocationWithinLayer.RESID_POST_ATTN
_MLP = LocationWithinLayer.MLP
_END = LocationWithinLayer.END_OF_LAYER

_GRADIENT = (Requirement.GRADIENT,)
_TRACE = (Requirement.TRACE_GRADIENT,)
_LATENT = (Requirement.TRACED_LATENT,)
_NODE = (Requirement.NODE,)
_GRADIENT_AND_NODE = (Requirement.GRADIENT, Requirement.NODE)

_NO_LAYER = ScalarLayers.NONE
_OF_NODE = ScalarLayers.OF_NODE
_OF_LATENT = ScalarLayers.OF_TRACED_LATENT

_PLACE = ActivationLocationType
_ANY_SAE = NodeType.AUTOENCODER_LATENT
_MLP_SAE = NodeType.MLP_AUTOENCODER_LATENT
_ATTN_SAE = NodeType.ATTENTION_AUTOENCODER_LATENT
_BY_PAIR = NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR


class DerivedScalarType(DescribedScalar):
    """What can be derived from a model's activations, and their gradients, on one prompt.

    Each member's value is its name in lower case; its row says the rest, and is also its docstring
    (`DerivedScalarType.MLP_WRITE_NORM?`). `neuron_explainer.derived_scalars()` shows all rows as a table.

    The formulas use: e the embedding; q, k, v a head's query, key and value; a attention probabilities from token f to
    token t; z a head's sum of a * v; m neurons' activations; lat latents; W_O, W_out, W_lat the rows that a head, a
    neuron and a latent write to the residual stream; x' the gradient, with respect to x, of the loss or of the trace
    (the activation that `trace_config` names); g that gradient at the final residual stream, or for a trace at the
    residual stream just before it. "BACKWARD repeats it": with `derive_gradients`, the results of PassType.BACKWARD are
    the same values, as in Transformer Debugger, and no gradients.

    >>> DerivedScalarType("mlp_write_norm").node_type
    <NodeType.MLP_NEURON: 'mlp_neuron'>
    """

    # Each row takes two lines, like a table; with one argument per line it would take six.
    # fmt: off

    # Raw activations: what a place of the forward pass holds. With derive_gradients, their gradients too.
    LOGITS = auto(), raw(_PLACE.LOGITS,
        "The logits: for each token, one number for every token of the vocabulary that may come next")
    RESID_POST_EMBEDDING = auto(), raw(_PLACE.RESID_POST_EMBEDDING,
        "e: the residual stream after the embedding, before the first layer")
    RESID_DELTA_ATTN = auto(), raw(_PLACE.RESID_DELTA_ATTN,
        "What the attention layer adds to the residual stream, biases included")
    RESID_POST_ATTN = auto(), raw(_PLACE.RESID_POST_ATTN,
        "The residual stream after the attention layer")
    RESID_DELTA_MLP = auto(), raw(_PLACE.RESID_DELTA_MLP,
        "What the MLP layer adds to the residual stream, biases included")
    RESID_POST_MLP = auto(), raw(_PLACE.RESID_POST_MLP,
        "The residual stream after the MLP layer, at the end of the layer")
    ATTN_INPUT_LAYER_NORM_SCALE = auto(), raw(_PLACE.ATTN_INPUT_LAYER_NORM_SCALE,
        "What the norm before attention divides by: sqrt(variance + ε), or the root mean square in an RMSNorm")
    MLP_INPUT_LAYER_NORM_SCALE = auto(), raw(_PLACE.MLP_INPUT_LAYER_NORM_SCALE,
        "What the norm before the MLP divides by: sqrt(variance + ε), or the root mean square in an RMSNorm")
    RESID_FINAL_LAYER_NORM_SCALE = auto(), raw(_PLACE.RESID_FINAL_LAYER_NORM_SCALE,
        "What the final norm divides by: sqrt(variance + ε), or the root mean square in an RMSNorm")
    ATTN_QUERY = auto(), raw(_PLACE.ATTN_QUERY,
        "q: each head's query, scaled so that q · k is the attention logit")
    ATTN_KEY = auto(), raw(_PLACE.ATTN_KEY,
        "k: each head's key, scaled so that q · k is the attention logit")
    ATTN_VALUE = auto(), raw(_PLACE.ATTN_VALUE,
        "v: each head's value; heads that share a value repeat it")
    ATTN_QK_LOGITS = auto(), raw(_PLACE.ATTN_QK_LOGITS,
        "Attention logits before the softmax: q[f] · k[t], soft-capped in models that do so; -inf where masked")
    ATTN_QK_PROBS = auto(), raw(_PLACE.ATTN_QK_PROBS,
        "a: attention probabilities, the softmax of the attention logits over the tokens attended to")
    ATTN_WEIGHTED_SUM_OF_VALUES = auto(), raw(_PLACE.ATTN_WEIGHTED_SUM_OF_VALUES,
        "z: each head's output before W_O, the sum over t of a[f, t] * v[t]")
    MLP_PRE_ACT = auto(), raw(_PLACE.MLP_PRE_ACT,
        "Each neuron before its nonlinearity; in a gated MLP, the gate")
    MLP_POST_ACT = auto(), raw(_PLACE.MLP_POST_ACT,
        "m: each neuron's activation, after its nonlinearity; in a gated MLP, act(gate) * up")

    # The residual stream, and whole layers' writes to it.
    ALWAYS_ONE = auto(), ScalarRow(axes.ONE, None,
        "1 for every token; BACKWARD repeats it", layers=_NO_LAYER)
    PREVIOUS_LAYER_RESID_POST_MLP = auto(), ScalarRow(axes.CHANNELS, _START,
        "The residual stream at the start of the layer: the end of the previous layer, or e in the first layer",
        source=Source.FORWARD_PASS)
    RESID_POST_EMBEDDING_NORM = auto(), ScalarRow(axes.ONE, None,
        "norm(e): the length of the residual stream after the embedding", NodeType.TOKEN, layers=_NO_LAYER)
    RESID_POST_ATTN_NORM = auto(), ScalarRow(axes.ONE, _MIDDLE,
        "The length of the residual stream after the attention layer")
    RESID_POST_MLP_NORM = auto(), ScalarRow(axes.ONE, _END,
        "The length of the residual stream after the MLP layer")
    ATTN_LAYER_WRITE_NORM = auto(), ScalarRow(axes.ONE, _ATTN,
        "The length of what the attention layer adds to the residual stream")
    MLP_LAYER_WRITE_NORM = auto(), ScalarRow(axes.ONE, _MLP,
        "The length of what the MLP layer adds to the residual stream")
    RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.ONE, None,
        "e · g: the embedding's direct effect on the loss or trace", NodeType.TOKEN, _GRADIENT, _NO_LAYER,
        Source.DIRECT_EFFECT)
    RESID_POST_EMBEDDING_PROJ_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), ScalarRow(axes.ONE, None,
        "e · g: the embedding's direct effect on the trace, without a backward pass", NodeType.TOKEN, _TRACE, _NO_LAYER)
    RESID_POST_ATTN_PROJ_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.ONE, _MIDDLE,
        "The residual stream after the attention layer, projected on g", None, _GRADIENT, source=Source.LOGIT_LENS)
    RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.ONE, _END,
        "The residual stream after the MLP layer, projected on g", None, _GRADIENT, source=Source.LOGIT_LENS)
    ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.ONE, _ATTN,
        "The attention layer's direct effect: what it adds, projected on g", None, _GRADIENT,
        source=Source.DIRECT_EFFECT)
    MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.ONE, _MLP,
        "The MLP layer's direct effect: what it adds, projected on g", None, _GRADIENT, source=Source.DIRECT_EFFECT)
    TOKEN_ATTRIBUTION = auto(), ScalarRow(axes.ONE, None,
        "e · e': each token's embedding times its gradient, summed over channels", NodeType.TOKEN, _GRADIENT,
        _NO_LAYER, Source.GRADIENT_TIMES_INPUT)

    # MLP neurons.
    RESID_DELTA_MLP_FROM_MLP_POST_ACT = auto(), ScalarRow(axes.CHANNELS, _MLP,
        "m @ W_out: what all neurons of the layer write, without the bias")
    MLP_WRITE = auto(), ScalarRow(axes.NEURONS_CHANNELS, _MLP,
        "m * W_out: the vector that each neuron writes to the residual stream", NodeType.MLP_NEURON)
    MLP_WRITE_NORM = auto(), ScalarRow(axes.NEURONS, _MLP,
        "m * norm(W_out): the length of what each neuron writes, with the sign of m")
    MLP_ACT_TIMES_GRAD = auto(), ScalarRow(axes.NEURONS, _MLP,
        "m * m': each neuron's activation times its gradient, an estimate of its total effect", None, _GRADIENT,
        source=Source.ACT_TIMES_GRAD)
    MLP_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.NEURONS, _MLP,
        "m * (W_out · g): each neuron's direct effect on the loss or trace", None, _GRADIENT,
        source=Source.DIRECT_EFFECT)
    MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), ScalarRow(axes.NEURONS, _MLP,
        "m * (W_out · g): each neuron's direct effect on the trace, without a backward pass", None, _TRACE)

    # Attention heads, by pair of tokens (attended from, attended to) or by token.
    ATTN_WEIGHTED_VALUE = auto(), ScalarRow(axes.PAIRS_HEADS_V, _ATTN,
        "a[f, t] * v[t]: the value that each head moves from token t to token f", NodeType.V_CHANNEL)
    ATTN_WRITE = auto(), ScalarRow(axes.PAIRS_HEADS_CHANNELS, _ATTN,
        "a[f, t] * v[t] @ W_O: the vector that each head writes for each pair", NodeType.ATTENTION_HEAD)
    ATTN_WRITE_SUM_HEADS = auto(), ScalarRow(axes.PAIRS_CHANNELS, _ATTN,
        "The sum over heads of a[f, t] * v[t] @ W_O: the vector that attention writes for each pair")
    UNFLATTENED_ATTN_WRITE_NORM = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "a[f, t] * norm(v[t] @ W_O): the length of what each head writes for each pair", source=Source.VALUE_NORMS)
    ATTN_WRITE_NORM = auto(), ScalarRow(axes.FLAT_PAIRS_HEADS, _ATTN,
        "a[f, t] * norm(v[t] @ W_O), pairs on one axis: the length of each head's write; BACKWARD repeats it",
        source=Source.VALUE_NORMS)
    ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN = auto(), ScalarRow(axes.HEADS, _ATTN,
        "norm(z @ W_O): the length of what each head writes at each token")
    FLATTENED_ATTN_POST_SOFTMAX = auto(), ScalarRow(axes.FLAT_PAIRS_HEADS, _ATTN,
        "a, attention probabilities, with the pairs on one axis; BACKWARD repeats it")
    UNFLATTENED_ATTN_ACT_TIMES_GRAD = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "a * a': each attention probability times its gradient", None, _GRADIENT, source=Source.ACT_TIMES_GRAD)
    ATTN_ACT_TIMES_GRAD = auto(), ScalarRow(axes.FLAT_PAIRS_HEADS, _ATTN,
        "a * a', with the pairs on one axis", None, _GRADIENT, source=Source.ACT_TIMES_GRAD)
    ATTN_ACT_TIMES_GRAD_PER_SEQUENCE_TOKEN = auto(), ScalarRow(axes.HEADS, _ATTN,
        "a * a', summed over the tokens attended to", None, _GRADIENT, source=Source.ACT_TIMES_GRAD)
    UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "(a[f, t] * v[t] @ W_O) · g[f]: each head's direct effect on the loss or trace, by pair", None, _GRADIENT,
        source=Source.DIRECT_EFFECT)
    UNFLATTENED_ATTN_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "(a[f, t] * v[t] @ W_O) · g[f]: each head's direct effect on the trace, without a backward pass", None, _TRACE)
    ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.FLAT_PAIRS_HEADS, _ATTN,
        "(a[f, t] * v[t] @ W_O) · g[f], pairs on one axis: each head's direct effect; BACKWARD repeats it",
        None, _GRADIENT,
        source=Source.DIRECT_EFFECT)
    ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN = auto(), ScalarRow(axes.HEADS, _ATTN,
        "(z @ W_O) · g: each head's direct effect on the loss or trace at each token", None, _GRADIENT,
        source=Source.DIRECT_EFFECT)

    # What attention writes to the latents of an autoencoder.
    AUTOENCODER_LATENT_GRAD_WRT_RESIDUAL_INPUT = auto(), ScalarRow(axes.CHANNELS, None,
        "The gradient of the traced latent with respect to its autoencoder's input, a residual-stream place", None,
        _LATENT, _OF_LATENT)
    AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT = auto(), ScalarRow(axes.NEURONS, None,
        "The gradient of the traced latent with respect to its autoencoder's input, the neurons", None,
        _LATENT, _OF_LATENT)
    ATTN_WRITE_TO_LATENT = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "(a[f, t] * v[t] @ W_O) · the traced latent's gradient at f: what each head writes to the latent", None,
        _LATENT, _OF_LATENT)
    ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS = auto(), ScalarRow(axes.PAIRS, _ATTN,
        "(a[f, t] * v[t] @ W_O) · the traced latent's gradient at f, summed over heads", _BY_PAIR, _LATENT, _OF_LATENT)
    FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS = auto(), ScalarRow(axes.FLAT_PAIRS, _ATTN,
        "(a[f, t] * v[t] @ W_O) · the traced latent's gradient at f, summed over heads, pairs on one axis",
        _BY_PAIR, _LATENT, _OF_LATENT)
    ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN = auto(), ScalarRow(axes.HEADS, _ATTN,
        "(z @ W_O) · the traced latent's gradient: what each head writes to the latent at each token", None,
        _LATENT, _OF_LATENT)
    FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS_BATCHED = auto(), ScalarRow(axes.FLAT_PAIRS_LATENTS, _ATTN,
        "(a[f, t] * v[t] @ W_O) · each latent's gradient at f, summed over heads, pairs on one axis", _BY_PAIR,
        layers=ScalarLayers.ONE, autoencoder_node_type=_ANY_SAE)
    ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN_BATCHED = auto(), ScalarRow(axes.HEADS_LATENTS, _ATTN,
        "(z @ W_O) · each latent's gradient: what each head writes to each latent of one layer, by token", _ANY_SAE,
        layers=ScalarLayers.ONE, autoencoder_node_type=_ANY_SAE)

    # Autoencoder latents: offline, encoded from what was recorded.
    AUTOENCODER_LATENT = auto(), latent(_ANY_SAE,
        "lat: the latents of the autoencoder's input as recorded", source=Source.AUTOENCODER)
    MLP_AUTOENCODER_LATENT = auto(), latent(_MLP_SAE,
        "lat: the latents of the MLP's autoencoder, encoded from its input as recorded", source=Source.AUTOENCODER)
    ATTENTION_AUTOENCODER_LATENT = auto(), latent(_ATTN_SAE,
        "lat: the latents of attention's autoencoder, encoded from its input as recorded", source=Source.AUTOENCODER)
    AUTOENCODER_WRITE_NORM = auto(), latent(_ANY_SAE,
        "lat * norm(W_lat): the length of what each latent writes to the residual stream")
    MLP_AUTOENCODER_WRITE_NORM = auto(), latent(_MLP_SAE,
        "lat * norm(W_lat): the length of what each latent of the MLP's autoencoder writes")
    ATTENTION_AUTOENCODER_WRITE_NORM = auto(), latent(_ATTN_SAE,
        "lat * norm(W_lat): the length of what each latent of attention's autoencoder writes")

    # Autoencoder latents: online, as part of the forward pass.
    ONLINE_AUTOENCODER_LATENT = auto(), raw(_PLACE.ONLINE_AUTOENCODER_LATENT,
        "lat: the latents of an autoencoder that runs within the forward pass", Source.AUTOENCODER)
    ONLINE_AUTOENCODER_WRITE = auto(), online(_ANY_SAE,
        "lat * W_lat: the vector that each online latent writes to the residual stream", axes.LATENTS_CHANNELS)
    ONLINE_AUTOENCODER_WRITE_NORM = auto(), online(_ANY_SAE,
        "lat * norm(W_lat): the length of what each online latent writes")
    ONLINE_AUTOENCODER_ACT_TIMES_GRAD = auto(), online(_ANY_SAE,
        "lat * lat': each online latent times its gradient, an estimate of its total effect; BACKWARD repeats it",
        requires=_GRADIENT, source=Source.ACT_TIMES_GRAD)
    ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), online(_ANY_SAE,
        "lat * (W_lat · g): each online latent's direct effect on the loss or trace",
        requires=_GRADIENT, source=Source.DIRECT_EFFECT)
    ONLINE_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), online(_ANY_SAE,
        "lat * (W_lat · g): each online latent's direct effect on the trace, without a backward pass", requires=_TRACE)
    ONLINE_MLP_AUTOENCODER_LATENT = auto(), raw(_PLACE.ONLINE_MLP_AUTOENCODER_LATENT,
        "lat: the latents of the MLP's autoencoder, which runs within the forward pass", Source.AUTOENCODER)
    ONLINE_MLP_AUTOENCODER_WRITE = auto(), online(_MLP_SAE,
        "lat * W_lat: the vector that each online latent of the MLP's autoencoder writes", axes.LATENTS_CHANNELS)
    ONLINE_MLP_AUTOENCODER_WRITE_NORM = auto(), online(_MLP_SAE,
        "lat * norm(W_lat): the length of what each online latent of the MLP's autoencoder writes")
    ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD = auto(), online(_MLP_SAE,
        "lat * lat': each online latent of the MLP's autoencoder times its gradient; BACKWARD repeats it",
        requires=_GRADIENT, source=Source.ACT_TIMES_GRAD)
    ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), online(_MLP_SAE,
        "lat * (W_lat · g): each online latent of the MLP's autoencoder: its direct effect on the loss or trace",
        requires=_GRADIENT, source=Source.DIRECT_EFFECT)
    ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), online(_MLP_SAE,
        "lat * (W_lat · g): the direct effect on the trace of each online latent of the MLP's autoencoder",
        requires=_TRACE)
    ONLINE_ATTENTION_AUTOENCODER_LATENT = auto(), raw(_PLACE.ONLINE_ATTENTION_AUTOENCODER_LATENT,
        "lat: the latents of attention's autoencoder, which runs within the forward pass", Source.AUTOENCODER)
    ONLINE_ATTENTION_AUTOENCODER_WRITE = auto(), online(_ATTN_SAE,
        "lat * W_lat: the vector that each online latent of attention's autoencoder writes", axes.LATENTS_CHANNELS)
    ONLINE_ATTENTION_AUTOENCODER_WRITE_NORM = auto(), online(_ATTN_SAE,
        "lat * norm(W_lat): the length of what each online latent of attention's autoencoder writes")
    ONLINE_ATTENTION_AUTOENCODER_ACT_TIMES_GRAD = auto(), online(_ATTN_SAE,
        "lat * lat': each online latent of attention's autoencoder times its gradient; BACKWARD repeats it",
        requires=_GRADIENT, source=Source.ACT_TIMES_GRAD)
    ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), online(_ATTN_SAE,
        "lat * (W_lat · g): each online latent of attention's autoencoder: its direct effect on the loss or trace",
        requires=_GRADIENT, source=Source.DIRECT_EFFECT)
    ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD = auto(), online(_ATTN_SAE,
        "lat * (W_lat · g): the direct effect on the trace of each online latent of attention's autoencoder",
        requires=_TRACE)

    # What an online autoencoder leaves unexplained.
    ONLINE_MLP_AUTOENCODER_ERROR = auto(), raw(_PLACE.ONLINE_MLP_AUTOENCODER_ERROR,
        "The neurons' activations minus their reconstruction by the MLP's autoencoder", Source.AUTOENCODER_ERROR)
    ONLINE_MLP_AUTOENCODER_ERROR_WRITE_NORM = auto(), error(_PLACE.ONLINE_MLP_AUTOENCODER_ERROR,
        "error * norm(W_out): the length of what each neuron's error writes to the residual stream")
    ONLINE_MLP_AUTOENCODER_ERROR_ACT_TIMES_GRAD = auto(), error(_PLACE.ONLINE_MLP_AUTOENCODER_ERROR,
        "error * error': each neuron's error times its gradient; BACKWARD repeats it", _GRADIENT)
    ONLINE_MLP_AUTOENCODER_ERROR_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), error(_PLACE.ONLINE_MLP_AUTOENCODER_ERROR,
        "error * (W_out · g): each neuron's error: its direct effect on the loss or trace", _GRADIENT)
    ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR = auto(), raw(_PLACE.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
        "What the MLP layer adds minus its reconstruction by the MLP's autoencoder", Source.AUTOENCODER_ERROR)
    ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR = auto(), raw(_PLACE.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
        "What the attention layer adds minus its reconstruction by attention's autoencoder", Source.AUTOENCODER_ERROR)

    # Edges between one node (`DstConfig.node_index_for_attribution`) and every other. OUT_EDGE: the others are upstream
    # and the node is downstream. IN_EDGE: the node is upstream and the others are downstream.
    SINGLE_NODE_WRITE = auto(), ScalarRow(axes.CHANNELS, None,
        "The vector that the node writes at its token; 0 at the other tokens", None, _NODE, _OF_NODE)
    SINGLE_NODE_WRITE_TO_FINAL_RESIDUAL_GRAD = auto(), ScalarRow(axes.ONE, None,
        "The vector that the node writes · g: the node's direct effect on the loss or trace",
        None, _GRADIENT_AND_NODE, _OF_NODE,
        Source.DIRECT_EFFECT)
    GRAD_OF_SINGLE_SUBNODE_ATTRIBUTION = auto(), ScalarRow(axes.CHANNELS, None,
        "The gradient of the node's act × grad (its grad held constant) at the residual stream that it reads", None,
        _GRADIENT_AND_NODE, _OF_NODE)
    ATTN_OUT_EDGE_ATTRIBUTION = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "What each upstream head writes for each pair · the gradient of the node's act × grad at what the node reads",
        None, _GRADIENT_AND_NODE)
    MLP_OUT_EDGE_ATTRIBUTION = auto(), ScalarRow(axes.NEURONS, _MLP,
        "What each upstream neuron writes · the gradient of the node's act × grad at what the node reads",
        None, _GRADIENT_AND_NODE)
    ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION = auto(), online(_ANY_SAE,
        "What each upstream online latent writes · the gradient of the node's act × grad at what the node reads",
        requires=_GRADIENT_AND_NODE, source=Source.AUTOENCODER_EDGE)
    TOKEN_OUT_EDGE_ATTRIBUTION = auto(), ScalarRow(axes.ONE, None,
        "e · the gradient of the node's act × grad at what the node reads",
        NodeType.TOKEN, _GRADIENT_AND_NODE, _NO_LAYER)
    ATTN_QUERY_IN_EDGE_ATTRIBUTION = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "a' times the change of a along the node's write, through each downstream head's query", None,
        _GRADIENT_AND_NODE)
    ATTN_KEY_IN_EDGE_ATTRIBUTION = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "a' times the change of a along the node's write, through each downstream head's key", None, _GRADIENT_AND_NODE)
    ATTN_VALUE_IN_EDGE_ATTRIBUTION = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "z' · (a times the change of v along the node's write), for each downstream head", None, _GRADIENT_AND_NODE)
    MLP_IN_EDGE_ATTRIBUTION = auto(), ScalarRow(axes.NEURONS, _MLP,
        "m' times the change of m along the node's write, for each downstream neuron", None, _GRADIENT_AND_NODE)
    ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION = auto(), online(_ANY_SAE,
        "lat' times the change of lat along the node's write, for each downstream latent",
        requires=_GRADIENT_AND_NODE, source=Source.AUTOENCODER_EDGE)
    ATTN_QUERY_IN_EDGE_ACTIVATION = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "The change of a along the node's write, through each downstream head's query", None, _NODE)
    ATTN_KEY_IN_EDGE_ACTIVATION = auto(), ScalarRow(axes.PAIRS_HEADS, _ATTN,
        "The change of a along the node's write, through each downstream head's key", None, _NODE)
    MLP_IN_EDGE_ACTIVATION = auto(), ScalarRow(axes.NEURONS, _MLP,
        "The change of m along the node's write, for each downstream neuron", None, _NODE)
    ONLINE_AUTOENCODER_IN_EDGE_ACTIVATION = auto(), online(_ANY_SAE,
        "The change of lat along the node's write, for each downstream latent",
        requires=_NODE, source=Source.AUTOENCODER_EDGE)

    # Token space.
    VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION = auto(), ScalarRow(axes.VOCABULARY, None,
        "The component before its nonlinearity if each vocabulary token's embedding were its residual stream", None,
        (Requirement.COMPONENT,), _NO_LAYER)
    # fmt: on

    def update_from_autoencoder_node_type(self, node_type: NodeType | str | None) -> "DerivedScalarType":
        """The same scalar of the autoencoder whose latents are `node_type`, to tell two autoencoders apart.

        AUTOENCODER_LATENT becomes MLP_AUTOENCODER_LATENT for NodeType.MLP_AUTOENCODER_LATENT, and so on. A type that is
        not about autoencoders, that names its autoencoder already, or that has only one form, stays as it is.

        Raises:
            UnknownNameError: the node type does not exist.
        """
        asked = None if node_type is None else member_of(NodeType, node_type, "node type")
        of_mlp, of_attention = _OF_EACH_AUTOENCODER.get(self, (self, self))
        if asked is _MLP_SAE:
            return of_mlp
        return of_attention if asked is _ATTN_SAE else self


_DST = DerivedScalarType
_OF_EACH_AUTOENCODER = {
    _DST.AUTOENCODER_LATENT: (_DST.MLP_AUTOENCODER_LATENT, _DST.ATTENTION_AUTOENCODER_LATENT),
    _DST.AUTOENCODER_WRITE_NORM: (_DST.MLP_AUTOENCODER_WRITE_NORM, _DST.ATTENTION_AUTOENCODER_WRITE_NORM),
    _DST.ONLINE_AUTOENCODER_LATENT: (
        _DST.ONLINE_MLP_AUTOENCODER_LATENT,
        _DST.ONLINE_ATTENTION_AUTOENCODER_LATENT,
    ),
    _DST.ONLINE_AUTOENCODER_WRITE: (
        _DST.ONLINE_MLP_AUTOENCODER_WRITE,
        _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE,
    ),
    _DST.ONLINE_AUTOENCODER_WRITE_NORM: (
        _DST.ONLINE_MLP_AUTOENCODER_WRITE_NORM,
        _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE_NORM,
    ),
    _DST.ONLINE_AUTOENCODER_ACT_TIMES_GRAD: (
        _DST.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD,
        _DST.ONLINE_ATTENTION_AUTOENCODER_ACT_TIMES_GRAD,
    ),
    _DST.ONLINE_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD: (
        _DST.ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    ),
    _DST.ONLINE_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD: (
        _DST.ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
        _DST.ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    ),
}
"""The forms of a scalar about the only autoencoders given, for the MLP's autoencoder and for attention's."""
