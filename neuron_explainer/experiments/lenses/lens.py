"""`ne.lens`: what the model would say at each layer, and `ne.lens_of_vector`: what any vector says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import as_config
from neuron_explainer.activations.derived_scalars.engine.prompts import read_prompt, token_id_of, token_strings_of
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.attribution.question.positions import PositionsGiven, read_positions
from neuron_explainer.attribution.question.question import PromptGiven
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, MisconfiguredError, shown
from neuron_explainer.experiments.lenses.jacobian.jacobian_lens import JacobianLens
from neuron_explainer.experiments.lenses.kinds import KindOfLens, read_kind
from neuron_explainer.experiments.lenses.logits_read import lens_logits, read_tokens, tokens_of_logits, write_logits
from neuron_explainer.experiments.lenses.reading import LensReading
from neuron_explainer.experiments.lenses.stream import LensOf, read_stream
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import (
    checked_layers,
    checked_number,
    checked_type,
    finite_number,
    is_several,
    whole_number,
)
from neuron_explainer.wording import no_layer

TokensGiven = str | SupportsIndex | Iterable[str | SupportsIndex] | None
_MOST_VECTORS = 4096


def lens(
    model: ModelContext,
    prompt: PromptGiven,
    *,
    kind: KindOfLens = "logit",
    of: LensOf = "resid",
    positions: PositionsGiven = None,
    layers: SupportsIndex | Iterable[SupportsIndex] | None = None,
    top: SupportsIndex = 5,
    tokens: TokensGiven = None,
    prepend_bos: bool | None = None,
    progress: bool | None = None,
) -> LensReading:
    """Read the residual stream, or what is written to it, as tokens: at every layer and position.

    The logit lens reads the residual stream h after each layer as the model reads it after the last one:
    `unembed(final_norm(h))`, with whatever scale or soft cap the model's logits have. So after the last layer it gives
    the model's own output. A Jacobian lens reads `unembed(final_norm(J @ h))`; see `JacobianLens`.

    What attention, the MLP or a head *writes* is read with the final norm's scale held at that of the whole residual
    stream at the same position, without biases and before a soft cap: the difference of two tokens' logits is the
    write's direct effect in `ne.attribute`.

    One forward pass is made. Logits are made in blocks of a few ten megabytes. What contexts of this thread replace in
    the layers takes part.

    Args:
        model: the model.
        prompt: a text, a list of messages, or token ids.
        kind: "logit"; a fitted `JacobianLens` or its file; or "jacobian": the one that comes with the model, which
            "tiny" has. Through a Jacobian lens its own layers and the last one are read.
        of: what is read of each layer: "resid", the residual stream after it; or the write of "attn", "mlp" or each of
            the "heads".
        positions: a position or several, from the end if negative, or a token as "@' Mary'"; None: all.
        layers: a layer or several; None: all.
        top: how many of the likeliest tokens are kept.
        tokens: tokens whose rank and probability are wanted everywhere, as text (one token each) or ids.
        prepend_bos: for a text, whether its tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        A LensReading.

    Raises:
        PromptError: the prompt is malformed, empty or too long.
        UnknownNameError: `kind` or `of` is unknown.
        InvalidRequestError: no Jacobian lens comes with the model; a number or token is invalid; or an intervention
            changes the final norm or the logits.
        IndexOutOfRangeError: the model, the lens or the prompt does not have a layer or position.
        MisconfiguredError: the lens is of a model of other sizes, or a write is asked for through a Jacobian lens.
        NotOneTokenError: a token's text is not one token.
        MissingFileError, MalformedCheckpointError: the file of a lens cannot be read.
        StoppedError: watched work was stopped.

    >>> import neuron_explainer as ne
    >>> reading = ne.lens(ne.load_model("tiny"), "And the LORD said unto", positions=-1, top=1)
    >>> reading.to_dataframe()[["layer", "top_token"]].values.tolist()
    [[0, ' the'], [1, ' the'], [2, ' her'], [3, ' him']]
    """
    context = as_config(model, "model").get_model_context()
    given = read_prompt(context, prompt, prepend_bos)
    own_lens = read_kind(context, kind)
    if own_lens is not None and of != "resid":
        raise MisconfiguredError(
            f"A Jacobian lens reads the residual stream, so it does not go with of={shown(of)}. Use kind='logit', or "
            "ne.lens_of_vector for one vector."
        )
    transformer = context.get_or_create_model()
    where = tuple(range(len(given.token_ids))) if positions is None else read_positions(positions, given.token_strings)
    read_layers = _layers(context, own_lens, layers)
    n_top = min(checked_number("top", top), context.vocab_size)
    asked = _token_ids(context, tokens)
    n_reads = len(read_layers) * len(where)
    with passes_bar(n_reads, progress, "reading", "place") as told, torch.no_grad():
        stream = read_stream(transformer, given.token_ids, of, read_layers, where)
        read = read_tokens(stream, own_lens, n_top, asked, told)
    return LensReading(context, given, of, own_lens, read_layers, where, asked, read)


def lens_of_vector(
    model: ModelContext,
    vector: Tensor,
    *,
    kind: KindOfLens = "logit",
    layer: SupportsIndex | None = None,
    scale: float | None = None,
    top: SupportsIndex = 10,
    tokens: TokensGiven = None,
) -> TokenTable:
    """Read any vector of the residual stream as tokens: a state, a steering direction, a row of a decoder.

    Args:
        model: the model.
        vector: (d_model,), or several, (vectors, d_model).
        kind: as for `ne.lens`. Through a Jacobian lens the vector is one of the output of `layer`.
        layer: the layer whose output the vector is of, for a Jacobian lens.
        scale: None: the vector is read as a whole residual stream, so the final norm takes its own scale, and the size
            of the vector hardly matters. A number: it is read as a write to one, the norm's scale held at this number,
            without biases and before a soft cap; logits are then in proportion to the vector.
        top: how many of the likeliest tokens are given.
        tokens: tokens that are given as well, as text (one token each) or ids.

    Returns:
        The columns are `vector` (its number, where several are given), `rank` (from 1), `top_token`, `token_id`,
        `logit` and `probability`.

    Raises:
        InvalidRequestError: the vector is not of finite numbers or has another shape; or a number or token is invalid.
        MisconfiguredError: a Jacobian lens is given without `layer`, or is of a model of other sizes.
        UnknownNameError: `kind` is unknown.
        IndexOutOfRangeError: the lens does not have the layer.
        NotOneTokenError: a token's text is not one token.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny")
    >>> moses = model.get_or_create_model().unembedding_weight[model.encode_token_str(" Moses")]
    >>> ne.lens_of_vector(model, moses, top=1).top_token.tolist()
    [' Moses']
    """
    context = as_config(model, "model").get_model_context()
    transformer = context.get_or_create_model()
    vectors = _vectors(vector, transformer.config.d_model).to(transformer.device, transformer.dtype)
    if not bool(vectors.isfinite().all()):
        raise InvalidRequestError(f"vector has numbers that are too large for {transformer.dtype}, the model's dtype.")
    own_lens = read_kind(context, kind)
    n_top, asked = min(checked_number("top", top), context.vocab_size), _token_ids(context, tokens)
    if own_lens is not None:
        if layer is None:
            raise MisconfiguredError("A Jacobian lens has a matrix for each layer. Say of which layer the vector is.")
        if whole_number(layer) is None:
            raise InvalidRequestError(f"layer is {shown(layer)}. Give one layer.")
        (of_layer,) = _layers(context, own_lens, layer)
        if of_layer in own_lens.matrices:
            vectors = own_lens.transported(of_layer, vectors)
    held = None if scale is None else finite_number(scale)
    if scale is not None and (held is None or held <= 0):
        raise InvalidRequestError(f"scale is {shown(scale)}. Give a number above 0, or None.")
    tables = []
    with torch.no_grad():
        for number, row in enumerate(vectors):
            if held is None:
                logits = lens_logits(transformer, row[None, None])
            else:
                scales = torch.full((1, 1), held, device=row.device, dtype=at_least_float32(row).dtype)
                logits = write_logits(transformer, row[None, None], scales)
            read = tokens_of_logits(logits, n_top, asked, None)
            ranks = [*range(1, n_top + 1), *read.asked_ranks.flatten().tolist()]
            ids = [*read.token_ids.flatten().tolist(), *asked]
            tops = [*read.logits.flatten().tolist(), *read.asked_logits.flatten().tolist()]
            shares = [*read.probabilities.flatten().tolist(), *read.asked_probabilities.flatten().tolist()]
            later = [place for place in range(n_top, len(ids)) if ids[place] not in ids[:n_top]]
            kept = sorted([*range(n_top), *later], key=lambda place: ranks[place])
            tables += [(number, ranks[place], ids[place], tops[place], shares[place]) for place in kept]
    numbers, ranks, ids, logits_of, shares = (list(column) for column in zip(*tables, strict=True))
    table = TokenTable(
        {
            "vector": numbers,
            "rank": ranks,
            "top_token": token_strings_of(context, ids),
            "token_id": ids,
            "logit": logits_of,
            "probability": shares,
        }
    )
    return table if vector.ndim == 2 else TokenTable(table.drop(columns="vector"))


def _vectors(vector: Any, d_model: int) -> Tensor:
    checked_type("vector", vector, Tensor)
    if vector.ndim not in (1, 2) or vector.shape[-1] != d_model or not 0 < vector.numel() <= _MOST_VECTORS * d_model:
        raise InvalidRequestError(
            f"vector has shape {tuple(vector.shape)}; it must be ({d_model},), or (vectors, {d_model}) with at most "
            f"{_MOST_VECTORS:,} vectors."
        )
    if not vector.is_floating_point() or not vector.isfinite().all():
        raise InvalidRequestError("vector must hold finite floating-point numbers.")
    return vector.detach().reshape(-1, d_model)


def _layers(context: ModelContext, own_lens: JacobianLens | None, given: Any) -> tuple[int, ...]:
    """The layers that are read, ascending; through a Jacobian lens those that it has, and the last one."""
    n_layers = context.get_or_create_model().config.n_layers
    known = sorted({*own_lens.layers, n_layers - 1}) if own_lens is not None else range(n_layers)
    if given is None:
        return tuple(known)
    asked = sorted(set(checked_layers("layers", given)))
    for layer in asked:
        if layer not in known:
            subject = context.model_name if own_lens is None else "the Jacobian lens"
            raise IndexOutOfRangeError(no_layer(subject, layer, known))
    if not asked:
        raise InvalidRequestError("layers is an empty list. Give at least one, or leave it out.")
    return tuple(asked)


def _token_ids(context: ModelContext, given: TokensGiven) -> tuple[int, ...]:
    """The tokens that are asked about, each once, in the order given."""
    if given is None:
        return ()
    several: Any = [given] if isinstance(given, str) or whole_number(given) is not None else given
    if not is_several(several):
        raise InvalidRequestError(f"tokens is {shown(given)}. Give a token, or a list of them.")
    return tuple(dict.fromkeys(token_id_of(context, each) for each in several))
