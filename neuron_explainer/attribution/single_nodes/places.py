"""At which token, or pair of tokens, a node is meant: where a name says none, at that with the largest total effect."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.tables.groups import Group, entries
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.routed import Neurons, values_of


def at_one_place(name: NodeName, group: Group) -> NodeName:
    """The node at one token; a head at one pair of tokens.

    Raises:
        InvalidRequestError: a head attends to a later token.
    """
    check_pair(name)
    if name.token_index is not None and (name.kind is not NodeKind.HEAD or name.attended_to_index is not None):
        return name
    by_token = of_component(group.total, int(name.component)).abs()  # type: ignore[arg-type]
    if not bool(by_token.any()):  # where all effects are 0, the activation
        by_token = of_component(group.activation, int(name.component)).abs()  # type: ignore[arg-type]
    if name.kind is not NodeKind.HEAD:
        return replace(name, token=int(by_token.argmax()))
    allowed = torch.ones_like(by_token, dtype=torch.bool).tril()
    if name.token_index is not None:
        allowed[: name.token_index] = False
        allowed[name.token_index + 1 :] = False
    if name.attended_to_index is not None:
        allowed[:, : name.attended_to_index] = False
        allowed[:, name.attended_to_index + 1 :] = False
    best = int(by_token.masked_fill(~allowed, -1).argmax())
    return replace(name, token=best // by_token.shape[1], attended_to=best % by_token.shape[1])


def check_pair(name: NodeName) -> None:
    """Refuse a head that attends to a later token.

    Raises:
        InvalidRequestError: it does.
    """
    token, attended_to = name.token_index, name.attended_to_index
    if token is not None and attended_to is not None and attended_to > token:
        raise InvalidRequestError(f"{name}: token {token} cannot attend to the later token {attended_to}.")


def of_component(numbers: Neurons, component: int) -> Tensor:
    """One component's numbers at all tokens."""
    n_tokens = len(values_of(numbers))
    if isinstance(numbers, Tensor):
        return numbers[..., component]
    tokens = torch.arange(n_tokens, dtype=torch.int64, device=numbers.device)
    return entries(numbers, (tokens, torch.full_like(tokens, component)))
