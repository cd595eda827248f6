"""`ne.attention`: the attention patterns of all heads on one prompt, from one forward pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

import torch

from neuron_explainer.activations.derived_scalars.engine.prompts import read_prompt
from neuron_explainer.attribution.question.question import PromptGiven
from neuron_explainer.collation.runs.preparation import ModelGiven, model_of
from neuron_explainer.errors import NotEnoughMemoryError
from neuron_explainer.experiments.attention_patterns.attention_patterns import AttentionPatterns
from neuron_explainer.models.offload.free_memory import free_bytes
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_flag, checked_layer, checked_layers
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.wording import in_units

_PLACE = ActivationLocationType.ATTN_QK_PROBS


def attention(
    model: ModelGiven,
    prompt: PromptGiven,
    *,
    layers: SupportsIndex | Iterable[SupportsIndex] | None = None,
    skip_first: bool = False,
    prepend_bos: bool | None = None,
) -> AttentionPatterns:
    """The attention patterns of all heads on a prompt: which token attends to which, and how much.

    The weights are those of the place `attn.qk_probs`. A row is the token that attends; its weights sum to 1, or to
    less where a head has a sink. What interventions of the running contexts change is in them.

    Args:
        model: a ModelContext, or anything that `load_model` takes.
        prompt: a text, a list of messages, or token ids.
        layers: a layer or several; None: all. Layers above the last one do not run.
        skip_first: leave out attention to the first token, where many heads rest, in pictures and in the table.
        prepend_bos: for a text, whether its tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does.

    Returns:
        AttentionPatterns. A notebook shows small patterns of layers × heads, and one of them large.

    Raises:
        PromptError: the prompt is empty, too long, or has ids outside of the vocabulary; or messages are malformed.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.
        InvalidRequestError: the model does not have a layer, or an argument is of another type.
        NotEnoughMemoryError: the patterns, layers × heads × tokens² numbers, do not fit into the memory.
        StoppedError: the work is to stop.

    >>> import neuron_explainer as ne
    >>> patterns = ne.attention("tiny", "And the LORD said unto Moses")
    >>> patterns.pattern("L2H3").shape
    (7, 7)
    >>> patterns.to_dataframe(2, skip_first=True)["name"].tolist()
    ['L2H3@3<-2', 'L0H3@3<-3']
    """
    checked_flag("skip_first", skip_first)
    if prepend_bos is not None:
        checked_flag("prepend_bos", prepend_bos)
    context = model_of(model)
    n_layers = context.n_layers
    asked = (
        range(n_layers)
        if layers is None
        else sorted(checked_layer(layer, n_layers, context.model_name) for layer in checked_layers("layers", layers))
    )
    read = read_prompt(context, prompt, prepend_bos)
    transformer = context.get_or_create_model()
    _check_memory(transformer, len(asked), len(read.token_ids))
    tokens = torch.tensor([read.token_ids], dtype=torch.int64, device=transformer.device)
    recording = transformer.recording([(_PLACE, layer) for layer in asked])
    with torch.no_grad():
        transformer(tokens, logits_at=None, hooks=[recording])
    by_layer = {layer: recording[_PLACE, layer][0].detach().cpu().contiguous() for layer in asked}
    return AttentionPatterns(
        context.model_name, tuple(read.token_strings), tuple(read.token_ids), by_layer, bool(skip_first)
    )


def _check_memory(model: Transformer, n_layers: int, n_tokens: int) -> None:
    free = free_bytes(model.device)
    needed = n_layers * model.config.n_heads * n_tokens**2 * model.dtype.itemsize
    if free is not None and needed > free:
        raise NotEnoughMemoryError(
            f"The attention patterns of {n_layers} layers over {n_tokens:,} tokens take {in_units(needed)}, and "
            f"{model.device} has {in_units(free)} free. Give layers=…, or a shorter prompt.",
            needed,
            free,
        )
