"""A DerivedScalarStore in one line."""

import json

from neuron_explainer.activations.derived_scalars.store.arithmetic import StoreLike
from neuron_explainer.errors import shown


def one_line(store: StoreLike) -> str:
    """What a store shows itself as: its tokens, loss, and the first of its derived scalars."""
    derived = ", ".join(f"{dst.value} ({len(by_layer)})" for (dst, _), by_layer in list(store.kept.items())[:4])
    more = f", … {len(store.kept)} in all" if len(store.kept) > 4 else ""
    outcome = "" if store.loss is None else f", loss {store.loss:.4g}"
    if store.traced_activation is not None:
        outcome += f", traced activation {store.traced_activation:.4g}"
    if store.n_beginning:
        outcome = f", {shown(''.join(store.tokens[: store.n_beginning]))} put before the text" + outcome
    text = json.dumps("".join(store.tokens), ensure_ascii=False)
    return f"<DerivedScalarStore: {len(store.tokens)} tokens {text:.40}{outcome}; tensors of {derived}{more}>"
