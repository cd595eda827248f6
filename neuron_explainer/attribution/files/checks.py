"""The checks that the tensors of a file belong together, so that every table can be made of them."""

from collections.abc import Iterator, Sequence

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.passes import LATENTS, NODES
from neuron_explainer.attribution.question.answers import Answer
from neuron_explainer.models.devices import is_plain_float
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, values_of
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType

_DST = DerivedScalarType
Sizes = dict[tuple[str, int | None], int]
"""How many components there are of each kind in each layer; and how many channels, and tokens of the vocabulary."""


def check_passes(passes: Sequence[Effects], answers: Sequence[Answer]) -> None:
    """Refuse passes of which no tables can be made.

    Raises:
        ValueError: something is missing, or has another shape; the message says what.
    """
    sizes = [sizes_of(effects) for effects in passes]
    if any(each != sizes[0] for each in sizes):
        raise ValueError("its passes are of models of different sizes")
    for effects, own in zip(passes, sizes, strict=True):
        _check_tokens(effects)
        for name, tensor, shape in _expected(effects, own):
            _check(name, tensor, shape)
    n_vocab = sizes[0].get(("vocabulary", None))
    if n_vocab == 0:
        raise ValueError("its vocabulary is empty")
    for number, answer in enumerate(answers):
        if n_vocab is not None and max(answer.token_ids) >= n_vocab:
            raise ValueError(f"an answer has the token {max(answer.token_ids)}, beyond the vocabulary of {n_vocab}")
        if len(passes) > 1 or not answer.is_one_token:
            _check_pass_of(passes, number, answer)


def _check_pass_of(passes: Sequence[Effects], number: int, answer: Answer) -> None:
    """An answer of several tokens, and those beside it, have passes of their own, with a row for each token."""
    if number >= len(passes) or len(passes[number].rows) != len(answer.token_ids):
        raise ValueError("an answer of several tokens lacks a row for each of them")


def _check_tokens(effects: Effects) -> None:
    prompt, rows = effects.prompt, effects.rows
    n_tokens = len(prompt.token_ids)
    if len(prompt.token_strings) != n_tokens or prompt.n_beginning > n_tokens:
        raise ValueError(
            f"{n_tokens} tokens have {len(prompt.token_strings)} texts, {prompt.n_beginning} of a beginning"
        )
    if list(rows) != sorted(set(rows)) or any(row >= n_tokens for row in rows):
        raise ValueError(f"its rows are not positions of {n_tokens} tokens, ascending")


def sizes_of(effects: Effects) -> Sizes:
    """The sizes of the model that a pass was of; those of layers that a trace did not reach are not among them.

    Raises:
        ValueError: what an answer keeps of every node is not there.
    """
    store = effects.store
    kinds = [pair for pair in LATENTS.values() if any(dst in store for dst in pair)]
    kept = {dst: dict(store.activations(dst).kept()) for dst in (*NODES, *(dst for pair in kinds for dst in pair))}  # type: ignore[attr-defined]
    if {(dst, PassType.FORWARD) for dst in kept} != {(dst, pass_type) for dst, pass_type, _ in store.contents()}:
        raise ValueError("its derived scalars are not those of an answer")
    probs = kept[_DST.ATTN_QK_PROBS]
    if list(probs) != list(range(len(probs))):
        raise ValueError("its layers are not 0, 1, 2, …")
    for dst, by_layer in kept.items():
        is_of_neurons = dst in (_DST.MLP_POST_ACT, _DST.MLP_ACT_TIMES_GRAD)
        if any(isinstance(each, RoutedTensor) and not (is_of_neurons and each.ndim == 2) for each in by_layer.values()):
            raise ValueError(f"{dst.value} is not of experts")
        is_of_layers = dst not in (_DST.TOKEN_ATTRIBUTION, _DST.RESID_POST_EMBEDDING_NORM)
        is_of_latents = any(dst in pair for pair in kinds)
        has_all = by_layer.keys() <= probs.keys() if is_of_latents else by_layer.keys() == probs.keys()
        if not (has_all if is_of_layers else list(by_layer) == [None]):
            raise ValueError(f"{dst.value} is not of the layers of the others")
    _same_shapes(kept[_DST.ATTN_QK_PROBS], kept[_DST.UNFLATTENED_ATTN_ACT_TIMES_GRAD])
    _same_shapes(kept[_DST.MLP_POST_ACT], kept[_DST.MLP_ACT_TIMES_GRAD])
    sizes: Sizes = {("channels", None): effects.directions.shape[-1] if effects.directions.ndim else 0}
    if effects.logits is not None:
        sizes["vocabulary", None] = effects.logits.shape[-1] if effects.logits.ndim else 0
    for kind, tensors in (("heads", probs), ("neurons", kept[_DST.MLP_POST_ACT])):
        sizes.update({(kind, layer): numbers.shape[-1] for layer, numbers in tensors.items()})
    for node_type, (latents, total) in LATENTS.items():
        if latents in kept:
            _same_shapes(kept[latents], kept[total])
            sizes.update({(node_type.value, layer): each.shape[-1] for layer, each in kept[latents].items()})
    return sizes


def _same_shapes(one: dict[int | None, Neurons], other: dict[int | None, Neurons]) -> None:
    if {layer: each.shape for layer, each in one.items()} != {layer: each.shape for layer, each in other.items()}:
        raise ValueError("activations and their effects have different shapes")


def _expected(effects: Effects, sizes: Sizes) -> Iterator[tuple[str, Neurons | None, tuple[int, ...]]]:
    """Each tensor with the shape that it must have; a size that is not known is -1, which no tensor has."""
    n_tokens, n_rows = len(effects.prompt.token_ids), len(effects.rows)
    channels = sizes["channels", None]
    yield "directions", effects.directions, (n_rows, channels)
    yield "logits", effects.logits, (n_rows, sizes.get(("vocabulary", None), -1))
    if effects.embedding is not None:
        yield "embedding", effects.embedding.tokens, (n_rows,)
        yield "positions", effects.embedding.positions, (n_rows,)
    for layer, attention in effects.attention.items():
        heads = sizes.get(("heads", layer), -1)
        yield f"attention {layer}", attention.by_pair, (n_rows, n_tokens, heads)
        yield f"attention {layer}", attention.as_set, (n_rows, heads)
        for each in (attention.layer_as_set, attention.bias):
            yield f"attention {layer}", each, (n_rows,)
    for of_layer, values in effects.store.activations(_DST.ATTN_VALUE).items():
        yield f"values {of_layer}", values, (n_tokens, sizes.get(("heads", of_layer), -1), values.shape[-1])
    for layer, mlp in effects.mlp.items():
        yield f"neurons {layer}", mlp.neurons, (n_rows, sizes.get(("neurons", layer), -1))
        for each in (mlp.layer_as_set, mlp.bias):
            yield f"MLP {layer}", each, (n_rows,)
    for (kind, layer), latents in effects.latents.items():
        yield f"latents {layer}", latents.latents, (n_rows, sizes.get((kind.value, layer), -1))
        for each in (latents.decoder_bias, latents.skip, latents.error, latents.output_bias):
            yield f"latents {layer}", each, (n_rows,)
    if {(kind.value, layer) for kind, layer in effects.latent_scales} != {key for key in sizes if _is_latent(key[0])}:
        raise ValueError("its autoencoders lack scales")
    for (_, layer), scale in effects.latent_scales.items():
        yield f"scale {layer}", scale.gain, (channels,)
        yield f"scale {layer}", scale.factor, (n_tokens, 1)


def _is_latent(kind: str) -> bool:
    return kind in {node_type.value for node_type in LATENTS}


def _check(name: str, tensor: Neurons | None, shape: tuple[int, ...]) -> None:
    if tensor is None:
        return
    if isinstance(tensor, RoutedTensor) and not name.startswith("neurons"):
        raise ValueError(f"{name} is not of experts")
    if not is_plain_float(values_of(tensor)) or tuple(tensor.shape) != shape:
        raise ValueError(
            f"{name} has the shape {tuple(tensor.shape)} of {values_of(tensor).dtype}, not {shape} of floats"
        )
