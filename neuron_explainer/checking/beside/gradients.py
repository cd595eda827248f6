"""Gradients of the residual stream, beside those of the reference's own backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from neuron_explainer.checking.beside.evaluation import evaluating
from neuron_explainer.checking.comparison import finding_of, place_differences
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.checking.logit_sums import sum_of_logits
from neuron_explainer.checking.probes import Probe
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.block import residual_before
from neuron_explainer.models.parity.reference import ObservedModules
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.wording import in_a_sentence

_SEED = 2


def gradients_beside(model: Transformer, hf_model: Any, probe: Probe, allowed: float) -> Iterator[Finding]:
    """Whether gradients with respect to the residual stream are the reference's.

    They are of the sum of the last token's logits, each times a random number.

    Args:
        model: the model.
        hf_model: the reference.
        probe: the prompts, of which the first is used.
        allowed: how far they may be apart.
    """
    name = "gradients beside the reference"
    alone = probe.alone(0)
    keys = [residual_before(layer) for layer in range(model.config.n_layers + 1)]
    with model.record(sorted({place for place, _ in keys}, key=str), gradients=True) as recording:
        recording.backward(sum_of_logits(model(alone.tokens), _SEED)[0])
        ours = {key: recording.gradient(*key) for key in keys}
    try:
        theirs = _theirs(hf_model, alone)
    except RuntimeError as error:  # as where a kernel has no backward pass
        yield not_checked(name, f"The reference has no backward pass here: {in_a_sentence(error)}")
        return
    yield finding_of(
        name,
        # backward: what is nearest to the logits comes first
        place_differences(ours, theirs, reversed(keys), alone.real),
        allowed,
        "Gradients with respect to the residual stream of every layer are those of the reference.",
        "Going back from the logits, gradients differ first at",
    )


def _theirs(hf_model: Any, probe: Probe) -> dict[PlaceAndLayer, Tensor]:
    paths = ObservedModules(hf_model).paths_of_stream()
    device = next(hf_model.parameters()).device
    read: dict[int, Tensor] = {}

    def keeper(number: int) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            read[number] = arguments[0] if arguments else next(iter(keywords.values()))

        return keep

    def with_graph(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        return output.detach().requires_grad_()

    with ExitStack() as stack:
        stack.enter_context(evaluating(hf_model))
        stack.enter_context(torch.enable_grad())
        stack.callback(hf_model.get_input_embeddings().register_forward_hook(with_graph).remove)
        for number, path in enumerate(paths):
            hook = hf_model.get_submodule(path).register_forward_pre_hook(keeper(number), with_kwargs=True)
            stack.callback(hook.remove)
        logits = hf_model(input_ids=probe.tokens.to(device), use_cache=False).logits
        tensors = [read[number] for number in range(len(paths))]
        found = torch.autograd.grad(sum_of_logits(logits, _SEED)[0], tensors)
    return {residual_before(number): each.detach() for number, each in enumerate(found)}
