"""Search in a model: which components fire on a text, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neuron_explainer.collation.runs.scalar_source import ScalarSource, entry_kind_of, layers_of
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.components.search.habits import MomentsByLayer, dataset_moments, least_others, moments_on
from neuron_explainer.components.search.results import Found, found_table
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, NonFiniteActivationError
from neuron_explainer.models.beginning import encoded
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.wording import nearest_first, shown

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.collation.corpus.texts import TextsGiven


@dataclass(frozen=True)
class LiveSearch:
    """What is searched for in a model.

    Attributes:
        config: the model, with autoencoders.
        dst: the scalar.
        layers: the layers; None: all.
        token: the token, or its position; None: any.
        selective: whether activations are compared with the component's habit.
        dataset: the name or folder of the dataset that has the habits; None: none.
        reference: the texts that have the habits; None: none.
        prepend_bos: whether texts begin with the beginning-of-sequence token.
        progress: whether there is a bar.
    """

    config: DstConfig
    dst: DerivedScalarType
    layers: list[int] | None
    token: str | int | None
    selective: bool
    dataset: str | None
    reference: TextsGiven | None
    prepend_bos: bool | None
    progress: bool | None


def search_live(asked: LiveSearch, text: Any, n: int) -> pandas.DataFrame:
    """The n components with the highest scores at the tokens asked for. See `search`."""
    context = asked.config.get_model_context()
    ids, n_beginning = encoded(context, text, asked.prepend_bos)
    tokens = context.decode_token_list(ids)
    if len(ids) <= n_beginning:
        raise InvalidRequestError("The text has no tokens. Give a text of at least one token.")
    wanted = positions_searched(asked.token, tokens, n_beginning)
    dst, layers = asked.dst, asked.layers
    habits: MomentsByLayer | None = None
    habit = None
    if asked.selective and asked.reference is not None:
        habits, habit = moments_on(asked.config, dst, asked.reference, layers, asked.prepend_bos, asked.progress)
    elif asked.selective and asked.dataset is not None:
        habits, habit = dataset_moments(asked.dataset, dst, layers)
    elif asked.selective:
        habit = least_others(len(ids) - n_beginning, 1 if asked.token is None else len(wanted))
    found = []
    covered = _layers(asked)
    source = ScalarSource(context, dst, covered, asked.config)
    row = torch.tensor([ids], dtype=torch.int64, device="cpu")
    with torch.no_grad():
        by_layer = source(row, torch.ones_like(row, dtype=torch.bool))
        for layer in sorted(by_layer):
            values = _by_token(by_layer.pop(layer)[0], len(ids), n_beginning, dst)
            _check_finite(values, layer, n_beginning)
            found.append(_found_in(values, layer, wanted, n_beginning, asked, None if habits is None else habits, n))
    return found_table(
        found,
        n,
        dst,
        lambda position: {"token": tokens[position], "position": position},
        kind="selective" if asked.selective else "most",
        source=f"one pass of {context.model_name} over the text",
        habit=habit,
    )


def _layers(asked: LiveSearch) -> list[int]:
    context = asked.config.get_model_context()
    if asked.layers is None and asked.dst.node_type.is_autoencoder_latent:
        autoencoders = asked.config.get_autoencoder_context()
        if autoencoders is not None:
            return sorted(autoencoders.layer_indices or range(context.n_layers))
    return layers_of(asked.dst, asked.layers, context.n_layers)


def positions_searched(token: str | int | None, tokens: list[str], n_beginning: int = 0) -> list[int]:
    """The positions of the tokens asked for, never of those that begin a text.

    Args:
        token: a position, from the end if it is negative; a token's text, at all its positions; None: any token.
        tokens: the text's tokens.
        n_beginning: how many tokens come before the text.

    Raises:
        IndexOutOfRangeError: the text has no such position.
        InvalidRequestError: it has no such token.

    >>> positions_searched(" a", ["<s>", " a", "b", " a"], 1), positions_searched(-1, ["a", "b"])
    ([1, 3], [1])
    """
    if token is None:
        return list(range(n_beginning, len(tokens)))
    number = whole_number(token)
    if number is not None:
        position = number if number >= 0 else number + len(tokens)
        if not n_beginning <= position < len(tokens):
            raise IndexOutOfRangeError(
                f"The text has no token {number}. Choose a position from {n_beginning} to {len(tokens) - 1}."
            )
        return [position]
    found = [position for position in range(n_beginning, len(tokens)) if tokens[position] == token]
    if not found:
        nearest = nearest_first(str(token), list(dict.fromkeys(tokens[n_beginning:])))[:5]
        raise InvalidRequestError(
            f"{shown(token)} is not a token of the text. Choose one of: {', '.join(map(shown, nearest))}."
        )
    return found


def _by_token(
    values: Float[Tensor, "entries components"], n_tokens: int, n_beginning: int, dst: DerivedScalarType
) -> Float[Tensor, "tokens components"]:
    """An activation for each token; of pairs the largest of the token that attends."""
    values = values.double() if values.dtype == torch.float64 else values.float()
    if entry_kind_of(dst) is EntryKind.TOKENS:
        return values[:n_tokens]
    rows = torch.full((n_tokens, values.shape[1]), -torch.inf, dtype=values.dtype, device=values.device)
    for position in range(n_beginning, n_tokens):
        first = position * (position + 1) // 2
        rows[position] = values[first + n_beginning : first + position + 1].amax(0)
    return rows


def _check_finite(values: Float[Tensor, "tokens components"], layer: int, n_beginning: int) -> None:
    wrong = ~values[n_beginning:].isfinite()
    if bool(wrong.any()):
        token, component = wrong.nonzero()[0].tolist()
        value = float(values[token + n_beginning, component])
        raise NonFiniteActivationError(layer, component, 0, token + n_beginning, value)


def _found_in(
    values: Float[Tensor, "tokens components"],
    layer: int,
    wanted: list[int],
    n_beginning: int,
    asked: LiveSearch,
    habits: MomentsByLayer | None,
    n: int,
) -> Found:
    """The best of a layer."""
    at = torch.tensor(wanted, dtype=torch.int64, device=values.device)
    peak, place = values[at].max(dim=0)
    positions = at[place]
    activation = _numbers(peak)
    score = activation
    if asked.selective:
        if habits is not None:
            mean, variance = habits.of(layer, len(activation))
        else:
            mean, variance = map(_numbers, _others(values.double(), positions, wanted, n_beginning, asked.token))
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.where(variance > 0, (activation - mean) / np.sqrt(variance), np.nan)
    return Found.best(layer, activation, score, positions.cpu().numpy(), n)


def _others(
    values: Float[Tensor, "tokens components"],
    positions: Tensor,
    wanted: list[int],
    n_beginning: int,
    token: str | int | None,
) -> tuple[Tensor, Tensor]:
    """Mean and variance of each component at the other tokens of the text: those not asked for, or not its peak."""
    is_other = torch.ones(values.shape, dtype=torch.bool, device=values.device)
    is_other[:n_beginning] = False
    if token is None:
        is_other.scatter_(0, positions[None, :], False)
    else:
        is_other[torch.tensor(wanted, dtype=torch.int64, device=values.device)] = False
    count = is_other.sum(0)
    mean = torch.where(is_other, values, 0.0).sum(0) / count
    variance = torch.where(is_other, (values - mean).square(), 0.0).sum(0) / count
    return mean, variance


def _numbers(values: Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()
