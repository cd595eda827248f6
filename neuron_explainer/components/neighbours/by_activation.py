"""Neighbours by co-activation: the correlation of activations on a sample of texts, in one streaming pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.collation.runs.scalar_source import entry_kind_of
from neuron_explainer.components.asking import SCALAR_OF_LATENTS, USUAL_SCALAR
from neuron_explainer.components.neighbours.stored_sequences import stored_sequences
from neuron_explainer.components.streaming import ActivationBatch, activation_batches, counted_values, streaming_job
from neuron_explainer.errors import InvalidRequestError, NotAtHandError
from neuron_explainer.vocabulary.checks import checked_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.collation.corpus.texts import TextsGiven
    from neuron_explainer.components.component import Component


def neighbours_by_activation(
    component: Component,
    n: int,
    among: NodeKind,
    layers: list[int] | None,
    texts: TextsGiven | None,
    progress: bool | None = None,
) -> pandas.DataFrame:
    """The components whose activations go with those of a component, on texts.

    The correlation is Pearson's, over all tokens but the beginning-of-sequence token (of heads over all pairs but those
    that attend to it). A component that is constant on the texts has none, and is left out.

    Args:
        component: the component; it needs a model.
        n: how many neighbours.
        among: the kind of components.
        layers: the layers that are searched; None: all.
        texts: as `ne.collate` takes them. None: at most 200 sequences that the component's packed dataset stores, token
            by token as they are stored: no beginning token is added, and a stored one does not count.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        The largest correlation first: name, layer, component, correlation, and overlap: at how many of the tokens
        where either is above 0 both are (Jaccard's index; NaN where neither ever is). `attrs["texts"]` says what the
        texts are, `attrs["n_tokens"]` how many tokens or pairs count.

    Raises:
        NotAtHandError: the component has no model, or there are no texts.
        InvalidRequestError: the stored tokens are not the model's; one kind has a number for each token, and the other
            for each pair; the component is constant on the texts, or a layer is out of range.
        NonFiniteActivationError: an activation is infinite or not a number.
    """
    checked_number("n", n)
    config = component.at_hand.config(f"{component.name}.neighbours(by='activation')")
    dst = component.dst if among is component.kind else _scalar_of(among, config)
    if entry_kind_of(dst) is not entry_kind_of(component.dst):
        raise InvalidRequestError(
            f"{component.dst.value} and {dst.value} cannot be correlated: one has a number for each token, the other "
            f"for each pair of tokens. Choose one of: among={component.kind.value!r}."
        )
    if texts is None:
        stored = stored_sequences(component, config.get_model_context())
        said, passes = stored.words, _Passes(config, (), stored.have_beginning, progress, stored.token_ids)
    else:
        said, passes = "those given", _Passes(config, texts, component.at_hand.prepend_bos, progress)
    sums = _summed(component, passes, dst, layers)
    table = TokenTable(_rows(sums, among, component), columns=["name", "layer", "component", "correlation", "overlap"])
    table = table.sort_values(["correlation", "layer", "component"], ascending=[False, True, True], kind="stable")
    table = TokenTable(table.head(n).reset_index(drop=True))
    table.attrs.update(texts=said, n_tokens=int(sums[next(iter(sums))].count))
    return table


def _scalar_of(kind: NodeKind, config: DstConfig) -> DerivedScalarType:
    if kind is not NodeKind.LATENT:
        return USUAL_SCALAR[kind]
    context = config.get_autoencoder_context()
    if context is None:
        raise NotAtHandError("neighbours among latents", "autoencoders", "an autoencoder")
    return SCALAR_OF_LATENTS[context.autoencoder_node_type]


@dataclass
class _PairSums:
    """Sums over the counted entries: of a layer's activations, and with those of the one component."""

    count: float
    total: Float[Tensor, " components"]
    squares: Float[Tensor, " components"]
    products: Float[Tensor, " components"]
    lowest: Float[Tensor, " components"]
    highest: Float[Tensor, " components"]
    active: Float[Tensor, " components"]
    both: Float[Tensor, " components"]
    shift: Float[Tensor, " components"]
    own_shift: float
    own_total: float = 0.0
    own_squares: float = 0.0
    own_active: float = 0.0

    @classmethod
    def begun(cls, values: Float[Tensor, "entries components"], own: Float[Tensor, " entries"]) -> _PairSums:
        """No sums yet. Deviations are taken from the first batch's means, so that no precision is lost."""
        zeros = [torch.zeros_like(values[0]) for _ in range(5)]
        total, squares, products, active, both = zeros
        infinite = torch.full_like(values[0], torch.inf)
        return cls(0.0, total, squares, products, infinite, -infinite, active, both, values.mean(0), float(own.mean()))

    def add(self, values: Float[Tensor, "entries components"], own: Float[Tensor, " entries"]) -> None:
        deviation, own_deviation = values - self.shift, own - self.own_shift
        above, own_above = (values > 0).double(), (own > 0).double()
        self.count += len(values)
        self.total += deviation.sum(0)
        self.squares += deviation.square().sum(0)
        self.products += own_deviation @ deviation
        self.lowest = torch.minimum(self.lowest, values.amin(0))
        self.highest = torch.maximum(self.highest, values.amax(0))
        self.active += above.sum(0)
        self.both += own_above @ above
        self.own_total += float(own_deviation.sum())
        self.own_squares += float(own_deviation.square().sum())
        self.own_active += float(own_above.sum())

    def correlation(self) -> Float[Tensor, " components"]:
        covariance = self.products - self.total * self.own_total / self.count
        spread = (self.squares - self.total**2 / self.count) * (self.own_squares - self.own_total**2 / self.count)
        result = (covariance / spread.clamp_min(0).sqrt()).clamp(-1, 1)
        return torch.where(self.highest > self.lowest, result, torch.nan)

    def overlap(self) -> Float[Tensor, " components"]:
        return self.both / (self.active + self.own_active - self.both)


@dataclass(frozen=True)
class _Passes:
    """What the model runs over: texts, or the tokens of stored sequences."""

    config: DstConfig
    texts: TextsGiven
    prepend_bos: bool | None
    progress: bool | None
    stored: list[list[int]] | None = None

    def batches(
        self, dst: DerivedScalarType, layers: list[int] | None, is_first: bool = True
    ) -> Iterator[ActivationBatch]:
        progress = self.progress if is_first else False
        job = streaming_job(self.config, dst, self.texts, layers, self.prepend_bos, progress)
        return activation_batches(job, self.stored)


def _summed(
    component: Component, passes: _Passes, dst: DerivedScalarType, layers: list[int] | None
) -> dict[int, _PairSums]:
    """The sums of each layer, in one pass, or in two that run side by side where the scalars differ."""
    is_one = dst is component.dst
    if isinstance(passes.texts, Iterator) and not is_one:
        passes = replace(passes, texts=list(passes.texts))  # they are read twice
    asked = None if layers is None else sorted({*layers, component.layer} if is_one else set(layers))
    batches = passes.batches(dst, asked)
    others = batches if is_one else passes.batches(component.dst, [component.layer], is_first=False)
    sums: dict[int, _PairSums] = {}
    with torch.no_grad():
        for batch in batches:
            beside = batch if is_one else next(others)
            at_layer = beside.by_layer[component.layer]
            own = counted_values(at_layer, beside.counted, component.layer)[:, component.index]
            for layer in sorted(batch.by_layer):
                values = counted_values(batch.by_layer.pop(layer), batch.counted, layer)
                if len(values) and (layers is None or layer in layers):
                    if layer not in sums:
                        sums[layer] = _PairSums.begun(values, own)
                    sums[layer].add(values, own)
    if not sums:
        raise InvalidRequestError("The texts contain no tokens that count. Give longer texts.")
    return sums


def _rows(sums: dict[int, _PairSums], kind: NodeKind, component: Component) -> list[tuple[str, int, int, float, float]]:
    first = next(iter(sums.values()))
    if first.own_squares - first.own_total**2 / first.count <= 1e-24 * max(1.0, first.own_shift**2):
        raise InvalidRequestError(
            f"{component.name} has the same activation everywhere in the texts, so nothing correlates with it. "
            "Give other texts."
        )
    rows = []
    for layer, of_layer in sorted(sums.items()):
        correlation, overlap = of_layer.correlation().cpu(), of_layer.overlap().cpu()
        for index in correlation.isfinite().nonzero()[:, 0].tolist():
            if kind is component.kind and (layer, index) == (component.layer, component.index):
                continue
            name = str(NodeName(kind, layer, index))
            rows.append((name, layer, index, float(correlation[index]), float(overlap[index])))
    return rows
