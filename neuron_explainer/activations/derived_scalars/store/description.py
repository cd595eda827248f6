"""A DerivedScalarStore in one line."""

import json
from collections.abc import Sequence

from neuron_explainer.activations.derived_scalars.store.shapes import Tensors
from neuron_explainer.errors import shown


def one_line(
    tensors: Tensors, tokens: Sequence[str], n_beginning: int, loss: float | None, traced: float | None
) -> str:
    """What a store shows itself as: its tokens, loss, traced activation, and the first of its derived scalars."""
    derived = ", ".join(f"{dst.value} ({len(by_layer)})" for (dst, _), by_layer in list(tensors.items())[:4])
    more = f", … {len(tensors)} in all" if len(tensors) > 4 else ""
    outcome = "" if loss is None else f", loss {loss:.4g}"
    if traced is not None:
        outcome += f", traced activation {traced:.4g}"
    if n_beginning:
        outcome = f", {shown(''.join(tokens[:n_beginning]))} put before the text" + outcome
    text = json.dumps("".join(tokens), ensure_ascii=False)
    return f"<DerivedScalarStore: {len(tokens)} tokens {text:.40}{outcome}; tensors of {derived}{more}>"
