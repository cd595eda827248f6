"""`ne.steering_direction`: a direction from pairs of prompts, a component, a token, numbers or a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, DstConfig, as_config
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.prompts import read_prompt, token_id_of, token_strings_of
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName
from neuron_explainer.attribution.computing.batches import batches_of
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.nodes_given import known_latent
from neuron_explainer.attribution.question.settings import AutoencodersGiven, with_autoencoders
from neuron_explainer.attribution.single_nodes.directions import checked_latent, latent_writes, neuron_writes
from neuron_explainer.errors import InvalidIndexError, InvalidRequestError, NodeNameError, NonFiniteTensorError, shown
from neuron_explainer.experiments.steering.control_vectors import read_control_vector
from neuron_explainer.experiments.steering.direction import SteeringDirection
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.layers.token_checks import padded
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import LayersGiven, checked_layer, checked_layers, checked_number, whole_number
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.wording import counted

DirectionGiven: TypeAlias = Any
"""A SteeringDirection, a node, a tensor, tensors by layer, pairs of prompts, or a control-vector file."""

_PLACE = ActivationLocationType


def steering_direction(
    model: ConfigOrModel,
    source: DirectionGiven = None,
    *,
    token: str | SupportsIndex | None = None,
    layers: LayersGiven = None,
    autoencoders: AutoencodersGiven = None,
    prepend_bos: bool | None = None,
) -> SteeringDirection:
    """A direction in the residual stream at the end of layers (RESID_POST_MLP), for `ne.steer`.

    Args:
        model: the model, or a DstConfig with a model and autoencoders.
        source: one of

            - pairs of prompts, `[(positive, negative), …]`, each a text, messages or token ids: the mean over the pairs
              of the residual stream at the positive prompt's last token minus that at the negative one's, for every
              layer;
            - a neuron or latent, such as "L5N131" or "L5A102": what one unit of its activation writes, the scale of a
              norm behind it left at 1;
            - a tensor (d_model), for any layer; or a dict of them by layer;
            - a control-vector file: a path that ends in .gguf, or any path object. `direction.l` is layer l, from 1
              on, as llama.cpp counts: it adds it to what block l gives, counted from 0. One for block 0 is refused.
        token: instead of `source`, an output token as text or id: its row of the unembedding.
        layers: where it is used: one layer or several. None: a component's own; those of a dict or a file; else the
            layer in the middle (half of the number of layers).
        autoencoders: of latents, as `ne.load_autoencoders` gives them.
        prepend_bos: for texts of pairs, whether their tokens begin with the beginning-of-sequence token; None: as the
            model's tokenizer does.

    Raises:
        InvalidRequestError: `source` is none of these, is given beside `token`, is of another size, is a component
            that the model does not have, or has no direction for one of the layers.
        NodeNameError: a text is not the name of a node.
        InvalidIndexError: `source` is of another type.
        PromptError: a prompt is malformed.
        NonFiniteTensorError: a number is infinite or NaN.
        CheckpointError: as for control-vector files: it is missing, malformed, or of another model.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> ne.steering_direction(model, [("She was happy", "She was sad"), ("A good day", "A bad day")], layers=2)
    <SteeringDirection: the mean difference of 2 pairs of prompts; layer 2>
    >>> ne.steering_direction(model, token=" king")
    <SteeringDirection: the unembedding of ' king'; layer 2>
    """
    config = with_autoencoders(as_config(model, "model"), autoencoders)
    context = config.get_model_context()
    given = None if layers is None else checked_layers("layers", layers)
    for layer in given or ():
        checked_layer(layer, context.n_layers, context.model_name)
    if (source is None) == (token is None):
        raise InvalidRequestError("Give a source or token=, one of them and not both.")
    with torch.no_grad():
        made = _of_token(context, token) if token is not None else _of_source(config, context, source, prepend_bos)
    computed_in = torch.promote_types(context.get_or_create_model().dtype, torch.float32)
    for vector in (*made.by_layer.values(), made.anywhere):
        if vector is not None and not bool(vector.to(computed_in).isfinite().all()):
            raise NonFiniteTensorError(
                f"The direction ({made.source}) has numbers that are infinite or NaN, or too large for {computed_in}."
            )
    if given is None:
        return made
    for layer in given:
        made.at(layer)
    return SteeringDirection(made.source, given, made.by_layer, made.anywhere)


def _of_source(
    config: DstConfig, context: ModelContext, source: DirectionGiven, prepend_bos: bool | None
) -> SteeringDirection:
    if isinstance(source, SteeringDirection):
        for vector in [*source.by_layer.values(), *([] if source.anywhere is None else [source.anywhere])]:
            _checked_vector(context, vector)
        for layer in (*source.by_layer, *source.usual_layers):
            checked_layer(layer, context.n_layers, context.model_name)
        return source
    if isinstance(source, Tensor | np.ndarray):
        return SteeringDirection("a given vector", (_middle(context),), {}, _checked_vector(context, source))
    if isinstance(source, Mapping):
        by_layer = {
            checked_layer(layer, context.n_layers, context.model_name): _checked_vector(context, vector)
            for layer, vector in source.items()
        }
        if not by_layer:
            raise InvalidRequestError("The direction is an empty dict. Give a vector for at least one layer.")
        return SteeringDirection("given vectors", tuple(sorted(by_layer)), by_layer)
    if isinstance(source, os.PathLike) or (isinstance(source, str) and source.lower().endswith(".gguf")):
        by_layer = read_control_vector(source, context)
        name = os.path.basename(os.fspath(source))
        return SteeringDirection(f"control vectors of {shown(name)}", tuple(by_layer), by_layer)
    if isinstance(source, list | tuple):
        return _of_pairs(context, source, prepend_bos)
    return _of_node(config, source)


def _middle(context: ModelContext) -> int:
    return context.n_layers // 2


def _checked_vector(context: ModelContext, given: Any) -> Float[Tensor, " d_model"]:
    vector = torch.from_numpy(np.array(given)) if isinstance(given, np.ndarray) else given
    is_vector = isinstance(vector, Tensor) and vector.is_floating_point() and tuple(vector.shape) == (context.d_model,)
    if not is_vector:
        what = f"shape {tuple(vector.shape)}, {vector.dtype}" if isinstance(vector, Tensor) else shown(given)
        raise InvalidRequestError(
            f"The direction has {what}. Give a tensor of floating-point numbers, shape ({context.d_model},)."
            if isinstance(vector, Tensor)
            else f"The direction is {what}. Give a tensor of shape ({context.d_model},)."
        )
    return at_least_float32(vector.detach()).cpu()


def _of_token(context: ModelContext, token: str | SupportsIndex | None) -> SteeringDirection:
    number = token_id_of(context, token if isinstance(token, str) else whole_number(token))  # type: ignore[arg-type]
    row = context.get_or_create_model().unembedding_weight[number]
    (text,) = token_strings_of(context, [number])
    return SteeringDirection(f"the unembedding of {shown(text)}", (_middle(context),), {}, at_least_float32(row).cpu())


def _of_node(config: DstConfig, node: NodeGiven) -> SteeringDirection:
    try:
        name = NodeName.of(node).whole()
    except (NodeNameError, InvalidIndexError):
        if not isinstance(node, str):
            raise InvalidIndexError(_what_to_give(node)) from None
        if not any(letter.isdigit() for letter in node):  # a word, and not a misspelt name
            raise NodeNameError.saying(_what_to_give(node), node) from None
        raise
    if name.kind not in (NodeKind.NEURON, NodeKind.LATENT):
        raise InvalidRequestError(
            f"{name} is {name.kind.meaning}, which has no single direction that it writes. Give a neuron or a latent, "
            "such as L5N131 or L5A102."
        )
    context = config.get_model_context()
    if name.kind is NodeKind.LATENT:
        name = known_latent(Setting(config), name)
    neuron_id = name.to_neuron_id()
    layer, number = neuron_id.layer_index, neuron_id.neuron_index
    checked_layer(layer, context.n_layers, context.model_name)
    bound = BoundConfig(config, config.get_or_create_model(), (layer,))
    if name.kind is NodeKind.NEURON:
        row = neuron_writes(bound, layer, checked_number("neuron", number, 0, at_most=context.n_neurons - 1))
    else:
        node_type = name.to_node_index().node_type
        row = latent_writes(bound, node_type, layer, checked_latent(bound.autoencoder(node_type, layer), layer, number))
    return SteeringDirection(f"what {name} writes", (layer,), {}, at_least_float32(row[0]).cpu())


def _what_to_give(given: object) -> str:
    return (
        f"The direction is {shown(given)}. Give pairs of prompts, [(positive, negative), …]; a neuron or latent, such "
        "as L5N131; a tensor, or a dict of them by layer; a .gguf file; or token=, an output token."
    )


def _of_pairs(context: ModelContext, pairs: Sequence[Any], prepend_bos: bool | None) -> SteeringDirection:
    """The mean difference of the residual stream at the last token, in every layer."""
    is_pairs = pairs and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs)
    if not is_pairs or any(whole_number(each) is not None for pair in pairs for each in pair):
        raise InvalidRequestError(_what_to_give(pairs))
    prompts = [read_prompt(context, each, prepend_bos).token_ids for pair in pairs for each in pair]
    transformer = context.get_or_create_model()
    totals = torch.zeros(context.n_layers, context.d_model, dtype=torch.float64, device="cpu")
    for batch in batches_of([len(prompt) for prompt in prompts], transformer):
        tokens, attention_mask = padded([prompts[number] for number in batch])
        recording = transformer.recording([_PLACE.RESID_POST_MLP])
        transformer(tokens, attention_mask=attention_mask, logits_at=None, hooks=[recording])
        signs = torch.tensor([(1.0, -1.0)[number % 2] for number in batch], dtype=torch.float64, device="cpu")
        for layer in range(context.n_layers):
            resid = recording[_PLACE.RESID_POST_MLP, layer]
            ends = torch.stack([resid[row, len(prompts[number]) - 1] for row, number in enumerate(batch)])
            totals[layer] += signs @ ends.cpu().double()
    means = totals / len(pairs)
    if transformer.dtype is not torch.float64:
        means = means.float()
    source = f"the mean difference of {counted(len(pairs), 'pair')} of prompts"
    return SteeringDirection(source, (_middle(context),), dict(enumerate(means)))
