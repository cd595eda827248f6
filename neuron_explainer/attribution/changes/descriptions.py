"""What ablations do, in words."""

from dataclasses import replace
from typing import Any

from neuron_explainer.activations.derived_scalars.indexing import AblationSpec
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation
from neuron_explainer.errors import shown
from neuron_explainer.models.chats.messages import is_chat


def described(ablation: Ablation, value: Any = None, reference: Any = None) -> str:
    """What an ablation does, in words."""
    name = replace(NodeName.of(ablation.index), channel=None)
    where = "" if ablation.tokens is None else f" at {', '.join(f'@{token}' for token in ablation.tokens)}"
    if isinstance(ablation, AblationSpec):
        if ablation.value == "mean":
            return f"{name}{where} = mean over the embedded sample"
        return f"{name}{where} = {ablation.value:g}"
    if isinstance(value, str) and value == "mean":
        return f"{name}{where} = mean over {'the embedded sample' if reference is None else 'the reference texts'}"
    if is_chat(value):
        return f"{name}{where} = its activation in another chat"
    if isinstance(value, str):
        return f"{name}{where} = its activation in {shown(value)}"
    if value is not None and ablation.n_tokens is not None:
        return f"{name}{where} = its activation in another prompt"
    return f"{name}{where} = given numbers"
