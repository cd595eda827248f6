"""Overwrite nodes, and ask the same question again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.asked_change import UNCHANGED, asked_change
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, read_prompt
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation, TensorAblation
from neuron_explainer.attribution.answering import AnswerT, answer
from neuron_explainer.attribution.changes.descriptions import described
from neuron_explainer.attribution.computing.effects import longest_prompt
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.nodes_given import NodeOrRow, known_latent, node_named, one_or_several
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.question.second_prompts import prepend_bos_as_in
from neuron_explainer.attribution.question.settings import check_ablation
from neuron_explainer.attribution.single_nodes.places import check_pair
from neuron_explainer.errors import InvalidRequestError, PromptError, shown
from neuron_explainer.models.chats.messages import is_text_or_chat
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.checks import finite_number

NodesGiven: TypeAlias = "NodeOrRow | Ablation | Iterable[NodeOrRow]"
ValueGiven: TypeAlias = Any
"""0, a number, "mean", a tensor, or another prompt."""

_VECTORS = (NodeKind.MLP, NodeKind.ATTENTION, NodeKind.EMBEDDING)


def ablated(why: AnswerT, nodes: Sequence[NodesGiven], value: ValueGiven, reference: Any) -> AnswerT:
    """The answer with nodes overwritten; see `Attribution.ablate`."""
    setting = why.asked_setting
    prompt = why.effects[0].prompt
    longest = longest_prompt(why.effects).token_strings
    given = [each for node in nodes for each in one_or_several(node)]
    if not given:
        raise InvalidRequestError('Name at least one node to overwrite, such as "L23H3".')
    made: list[Ablation] = []
    n_parts = 1 if finite_number(value) is not None else len(given) + 1  # a mean or another prompt takes passes
    for number, node in enumerate(given):
        if finite_number(node) is not None or (isinstance(node, str) and node == "mean"):
            raise InvalidRequestError(f"{shown(node)} is not a node. If it is the value, write value={shown(node)}.")
        if isinstance(node, Ablation):
            made.append(node)
        else:
            name = node_named(node, longest)
            _check_in_every_pass(why, name)
            with part_of_work(number, n_parts):
                made.append(ablation_of(setting, name, value, reference, prompt))
        check_ablation(made[-1])
    notes = [described(each, value, reference) for each in made]
    changed = replace(setting, ablations=(*setting.ablations, *made), notes=(*setting.notes, *notes))
    history = (*why.history, why.step())
    with part_of_work(n_parts - 1, n_parts), asked_change(notes[0] if len(made) == 1 else None) as asked:
        found = answer(type(why), changed, why.inquiry, history)
    if asked.changed is not False:
        return found
    told = replace(changed, notes=(*changed.notes[:-1], f"{notes[0]} {UNCHANGED}"))
    return type(why)(told, found.inquiry, found.effects, history)


def _check_in_every_pass(why: AttributionTables, name: NodeName) -> None:
    """Refuse a token that is not the same one in the passes of all answers."""
    prompts = [effects.prompt.token_ids for effects in why.effects]
    same = [len(set(tokens)) == 1 for tokens in zip(*prompts, strict=False)]
    shared = same.index(False) if False in same else len(same)
    for token in (name.token_index, name.attended_to_index):
        if len(prompts) > 1 and token is not None and token >= shared:
            raise InvalidRequestError(
                f"{name}: token {token} is one of an answer's, and the answers differ there. Choose a token from 0 to "
                f"{shared - 1}, or ask about that answer alone."
            )


def ablation_of(setting: Setting, name: NodeName, value: ValueGiven, reference: Any, asked_about: Prompt) -> Ablation:
    """The ablation that gives a node a value, in the prompt that is asked about.

    Raises:
        InvalidIndexError: the node has no place in the forward pass, or no mean.
        InvalidRequestError: such a node cannot be given the value.
        PromptError: another prompt's tokens are not as many.
    """
    name = known_latent(setting, name)
    index = name.to_activation_index()
    check_pair(name)
    if reference is not None and not (isinstance(value, str) and value == "mean"):
        raise InvalidRequestError('reference is for value="mean". Leave it out, or ask for the mean.')
    if isinstance(value, str) and value == "mean":
        return TensorAblation.mean(index, setting.config, reference)
    if isinstance(value, np.ndarray) and value.ndim > 0:
        value = torch.from_numpy(value)
    if isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
        return TensorAblation(index, value)
    number = finite_number(value)
    if number is not None:
        is_vector = name.kind in _VECTORS or (name.kind is NodeKind.HEAD and name.attended_to is None)
        if number != 0 and is_vector:
            raise InvalidRequestError(
                f'{name} writes a vector, so it cannot be set to the number {number:g}. Give 0, "mean", a tensor or '
                "another prompt; or name one attention weight, as L23H3@14<-3."
            )
        return AblationSpec(index, number)
    if is_text_or_chat(value) or isinstance(value, Tensor | Sequence):
        prepend_bos = prepend_bos_as_in(asked_about, setting.config.get_model_context(), value)
        _check_length(setting, value, prepend_bos, len(asked_about.token_ids))
        return TensorAblation.from_prompt(index, setting.config, value, prepend_bos=prepend_bos)
    raise InvalidRequestError(f'value is {shown(value)}. Give 0, "mean", a number, a tensor, or another prompt.')


def _check_length(setting: Setting, prompt: Any, prepend_bos: bool | None, n_tokens: int) -> None:
    own = len(read_prompt(setting.config.get_model_context(), prompt, prepend_bos).token_ids)
    if own != n_tokens:
        raise PromptError(
            f"value is a prompt of {own} tokens, and the prompt asked about has {n_tokens}. Give one of equal length, "
            "token by token." + (' For the mean over texts write value="mean".' if isinstance(prompt, str) else "")
        )
