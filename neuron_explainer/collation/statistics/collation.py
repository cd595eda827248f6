"""A collation: the statistics and examples of all layers, and the sequences of the examples."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neuron_explainer.collation.corpus.windows import Batch
from neuron_explainer.collation.settings import DEFAULT_EXAMPLE_TOKENS, CollateSettings
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.collation.statistics.layer_state import LayerState
from neuron_explainer.collation.statistics.layer_threads import for_each_layer
from neuron_explainer.collation.statistics.restoring import check_layer, check_sequences, check_values
from neuron_explainer.collation.statistics.sequence_table import SequenceTable
from neuron_explainer.errors import CollateError, shown
from neuron_explainer.vocabulary.checks import check_covered

_MOST_DIGITS = 6
"""How many digits the number of a layer has at most."""

Activations = dict[int, Float[Tensor, "sequences entries components"]]
RunModel = Callable[[Int64[Tensor, "sequences tokens"], Bool[Tensor, "sequences tokens"]], Activations]
"""Runs a model: tokens and their mask, both on the CPU, to the activations of every layer, on the model's device."""


@dataclass
class Collation:
    """Every layer's statistics and examples, and the tokens of the examples' sequences.

    The collations of two disjoint sets of sequences merge into the collation of both.

    Attributes:
        settings: what is kept, and how much.
        entry_kind: whether there is one activation for each token or for each token pair.
        components: for each layer the indices of the components to cover; None: all.
        layers: the state of each layer; empty before the first batch.
        sequences: the tokens of the sequences.
    """

    settings: CollateSettings
    entry_kind: EntryKind
    components: dict[int, list[int]] | None = None
    layers: dict[int, LayerState] = field(default_factory=dict)
    sequences: SequenceTable = field(default_factory=SequenceTable)

    @torch.no_grad()
    def add_batch(self, batch: Batch, run_model: RunModel) -> None:
        """Run a batch through the model and add its activations.

        Raises:
            NonFiniteActivationError: an activation is infinite or not a number.
            InvalidRequestError: a layer lacks one of `components`.
        """
        width = batch.tokens.shape[1]
        real = torch.arange(width, dtype=torch.int64, device=batch.lengths.device) < batch.lengths[:, None]
        activations_by_layer = run_model(batch.tokens, real)
        counted = self.entry_kind.counted(batch.lengths, width, skip_first_token=bool(self.settings.prepend_bos))
        lengths, sequence_index = self.entry_kind.counts(batch.lengths), batch.sequence_index
        layers = sorted(activations_by_layer)
        device = next((each.device for each in dict.values(activations_by_layer)), batch.tokens.device)

        counted, lengths, sequence_index = (each.to(device) for each in (counted, lengths, sequence_index))

        def updated(layer: int) -> LayerState:
            # Each layer's activations are freed before the thread's next layer's are used.
            activations = activations_by_layer.pop(layer)
            if self.components is not None:
                activations = activations[:, :, self._covered(layer, activations.shape[2])]
            state = self.layers.get(layer) or self._empty(layer, activations.shape[2], device)
            state.update(activations, counted, lengths, sequence_index)
            return state

        self.layers |= zip(layers, for_each_layer(updated, layers, device), strict=True)
        self.sequences.add(batch)
        if self.sequences.is_full:
            self.prune()

    def _covered(self, layer: int, n_components: int) -> list[int]:
        assert self.components is not None
        covered = self.components[layer]
        check_covered("component", max(covered), range(n_components), f"Layer {layer}")
        return covered

    def prune(self) -> None:
        """Drop the sequences that no example uses."""
        self.sequences.keep_only(
            examples.sequence_index() for state in self.layers.values() for examples in (state.top, state.sample)
        )

    def _empty(self, layer: int, n_components: int, device: torch.device) -> LayerState:
        settings = self.settings
        covered = range(n_components) if self.components is None else self.components.get(layer, ())
        return LayerState.empty(
            layer=layer,
            component=torch.tensor(list(covered), dtype=torch.int64, device=device),
            seed=settings.seed,
            n_top=settings.top_k,
            n_sample=settings.sample_size,
            top_width=self.entry_kind.of_tokens(example_tokens(settings, self.entry_kind)),
            sample_width=self.entry_kind.of_tokens(random_example_tokens(settings, self.entry_kind)),
            n_bins=settings.histogram_bins,
        )

    def merge(self, other: "Collation") -> "Collation":
        """The collation of the sequences of both; they must be disjoint."""
        layers = {
            layer: self.layers[layer].merge(other.layers[layer])
            if layer in self.layers and layer in other.layers
            else (self.layers.get(layer) or other.layers[layer])
            for layer in sorted(self.layers.keys() | other.layers.keys())
        }
        merged = Collation(
            self.settings, self.entry_kind, self.components, layers, self.sequences.merge(other.sequences)
        )
        merged.prune()
        return merged

    def tensors(self) -> dict[str, Tensor]:
        """The whole state as named tensors, on the CPU."""
        named = {f"sequences.{name}": tensor for name, tensor in self.sequences.tensors().items()}
        for layer, state in self.layers.items():
            named |= {f"{layer}.{name}": tensor.cpu().contiguous() for name, tensor in state.tensors().items()}
        return named

    def restore(self, named: dict[str, Any], device: torch.device) -> None:
        """Set the state to that of `tensors`.

        Raises:
            CollateError: a collation with these settings cannot have made the tensors.
        """
        by_layer: dict[int, dict[str, Tensor]] = {}
        sequences: dict[str, Tensor] = {}
        for name, tensor in named.items():
            owner, _, rest = name.partition(".")
            if owner == "sequences":
                sequences[rest] = tensor
            elif not (owner.isdecimal() and len(owner) <= _MOST_DIGITS):
                raise CollateError(f"The saved state is damaged: it has a tensor {shown(name)}.")
            else:
                # The tensors may be views of a file that is replaced while the run goes on.
                by_layer.setdefault(int(owner), {})[rest] = tensor.clone().to(device)
        for layer, tensors in by_layer.items():
            n_components = tensors["component"].numel() if "component" in tensors else 0
            # Without memory: the number of components is the file's.
            check_layer(tensors, self._empty(layer, n_components, torch.device("meta")))
        check_sequences(sequences)
        self.layers = {
            layer: LayerState.from_tensors(layer, self.settings.seed, by_layer[layer]) for layer in sorted(by_layer)
        }
        self.sequences = SequenceTable.from_tensors(sequences)
        check_values(self.layers.values(), sequences["number"].tolist())


def example_tokens(settings: CollateSettings, entry_kind: EntryKind) -> int:
    """How many tokens of its sequence a top example shows, at most."""
    if entry_kind is EntryKind.TOKEN_PAIRS:
        return settings.context_length
    return min(settings.example_tokens or DEFAULT_EXAMPLE_TOKENS, settings.context_length)


def random_example_tokens(settings: CollateSettings, entry_kind: EntryKind) -> int:
    """How many tokens of its sequence a random example shows, at most."""
    of_top_example = example_tokens(settings, entry_kind)
    if entry_kind is EntryKind.TOKEN_PAIRS:
        return of_top_example
    return min(settings.random_example_tokens or of_top_example, of_top_example)
