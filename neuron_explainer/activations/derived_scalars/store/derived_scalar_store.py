"""The result of deriving: tensors by derived scalar, pass and layer, with the tokens they are about."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.index_fields import TensorIndex
from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.activations.derived_scalars.store.component_names import (
    component_name,
    index_name,
    tokens_and_components,
)
from neuron_explainer.activations.derived_scalars.store.files import read_store, write_store
from neuron_explainer.activations.derived_scalars.store.top_k import top_k
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, MalformedStoreError, NotDerivedError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:
    import pandas

_MOST_ROWS = 1_000_000  # of a DataFrame of everything: some 100 MB


def _layer_order(layer_index: int | None) -> int:
    return -1 if layer_index is None else layer_index


class DerivedScalarStore:
    """What was derived from one prompt. The tensors are detached, without a batch axis, and hold no graph.

    Args:
        tensors: for each derived scalar and pass, a tensor for each layer (None for scalars without layers), with the
            axes of `dst.shape_spec_per_token_sequence`.
        tokens: the prompt's token strings.
        token_ids: their numbers, where they are known.
        loss: the loss that the backward pass started at, if one did.
        traced_activation: the activation that it started at, if one did.
        model_name: the model's name.
        summed: the axes that `sum_over` has summed, which have length 1.

    Raises:
        InvalidRequestError: a tensor's axes are not those of its derived scalar and these tokens.
    """

    def __init__(
        self,
        tensors: Mapping[tuple[DerivedScalarType, PassType], Mapping[int | None, Tensor]],
        tokens: Sequence[str],
        token_ids: Sequence[int] | None = None,
        loss: float | Tensor | None = None,
        traced_activation: float | Tensor | None = None,
        model_name: str | None = None,
        summed: Iterable[Dimension] = (),
    ) -> None:
        self._tensors = {
            key: {layer_index: by_layer[layer_index].detach() for layer_index in sorted(by_layer, key=_layer_order)}
            for key, by_layer in tensors.items()
        }
        self.tokens = list(tokens)
        self.token_ids = None if token_ids is None else [int(token) for token in token_ids]
        self.model_name = model_name
        self.summed = frozenset(summed)
        # Kept as tensors if they came so: reading them would make a GPU wait.
        self._loss = loss
        self._traced_activation = traced_activation
        self._check_shapes()

    def _check_shapes(self) -> None:
        n_tokens = len(self.tokens)
        lengths = {
            Dimension.SEQUENCE_TOKENS: n_tokens,
            Dimension.ATTENDED_TO_SEQUENCE_TOKENS: n_tokens,
            Dimension.SEQUENCE_TOKEN_PAIRS: n_tokens * (n_tokens + 1) // 2,
            Dimension.SINGLETON: 1,
            **dict.fromkeys(self.summed, 1),
        }
        for (dst, _), by_layer in self._tensors.items():
            dimensions = dst.shape_spec_per_token_sequence
            for layer_index, tensor in by_layer.items():
                fits = tensor.ndim == len(dimensions) and all(
                    lengths.get(dimension, length) == length
                    for dimension, length in zip(dimensions, tensor.shape, strict=True)
                )
                if not fits:
                    raise InvalidRequestError(
                        f"{dst.value} of layer {layer_index} is {tuple(tensor.shape)}; for {n_tokens} tokens its axes "
                        f"are {[str(dimension) for dimension in dimensions]}."
                    )

    @property
    def loss(self) -> float | None:
        """The loss that the backward pass started at; None if there was none."""
        return None if self._loss is None else float(self._loss)

    @property
    def traced_activation(self) -> float | None:
        """The activation that the backward pass started at; None if it started at a loss, or there was none."""
        return None if self._traced_activation is None else float(self._traced_activation)

    @property
    def dsts(self) -> list[DerivedScalarType]:
        """What was derived, each once."""
        return list(dict.fromkeys(dst for dst, _ in self._tensors))

    def contents(self) -> list[tuple[DerivedScalarType, PassType, list[int | None]]]:
        """What was derived: each derived scalar and pass, with its layers."""
        return [(dst, pass_type, list(by_layer)) for (dst, pass_type), by_layer in self._tensors.items()]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next((tensor.device for tensor in self._all_tensors()), torch.device("cpu"))

    def _all_tensors(self) -> Iterable[Tensor]:
        return (tensor for by_layer in self._tensors.values() for tensor in by_layer.values())

    def __contains__(self, dst: object) -> bool:
        return any(dst == derived for derived, _ in self._tensors)

    def activations(
        self, dst: DerivedScalarType, pass_type: PassType = PassType.FORWARD
    ) -> dict[int | None, Float[Tensor, "..."]]:
        """One derived scalar's tensors by layer, ascending; the layer is None for scalars without layers.

        Raises:
            NotDerivedError: it was not derived.
        """
        key = (derived_scalar_type_of(dst), PassType(pass_type))
        if key not in self._tensors:
            choices = [f"{derived.value} ({derived_pass.value})" for derived, derived_pass in self._tensors]
            raise NotDerivedError("result", f"{key[0].value} ({key[1].value})", choices)
        return dict(self._tensors[key])

    def __getitem__(self, index: DerivedScalarIndex) -> Float[Tensor, "..."]:
        """The numbers that an index names: a tensor with its whole axes, or without axes.

        Raises:
            NotDerivedError: the scalar, or its layer, was not derived.
            IndexOutOfRangeError: a position is not there.
            InvalidRequestError: `index` is no DerivedScalarIndex.
        """
        if not isinstance(index, DerivedScalarIndex):
            raise InvalidRequestError(
                f"store[…] takes a DerivedScalarIndex, not {index!r}; store.activations(dst) gives a scalar by layer."
            )
        by_layer = self.activations(index.dst, index.pass_type)
        if index.layer_index not in by_layer:
            raise NotDerivedError(
                f"layer of {index.dst.value}", str(index.layer_index), [str(layer_index) for layer_index in by_layer]
            )
        tensor = by_layer[index.layer_index]
        for entry, length, dimension in zip(index.tensor_indices, tensor.shape, index.dimensions, strict=True):
            if isinstance(entry, int) and entry >= length:
                raise IndexOutOfRangeError(f"{index}: the axis {dimension} has {length} (0 to {length - 1}).")
        return tensor[index.slices]

    def topk(
        self,
        k: int,
        largest: bool = True,
        dsts: DerivedScalarType | Iterable[DerivedScalarType] | None = None,
        layers: int | Iterable[int | None] | None = None,
        pass_type: PassType = PassType.FORWARD,
    ) -> tuple[Float[Tensor, " k"], list[DerivedScalarIndex]]:
        """The k largest numbers (or smallest) and where they are, best first.

        Masked attention logits (-inf) and NaN are left out. Numbers of several derived scalars are ranked as they are,
        so let `dsts` be of one unit.

        Args:
            k: how many; fewer come back if there are fewer. An index has "All" for axes that were summed.
            largest: False for the smallest, that is the most negative.
            dsts: among which derived scalars; all that were derived if None.
            layers: among which layers; all if None. None in an iterable stands for scalars without layers.
            pass_type: BACKWARD for gradients.

        Raises:
            InvalidRequestError: k is no positive integer.
            NotDerivedError: one of `dsts`, or of `layers`, was not derived.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InvalidRequestError(f"topk gives k ≥ 1 numbers; k is {k!r}.")
        selected = self._selected(dsts, layers, pass_type)
        ranked = top_k([tensor for _, _, tensor in selected], k, largest)
        indices = []
        places = zip(ranked.tensor.tolist(), ranked.row.tolist(), ranked.column.tolist(), strict=True)
        for number, row, column in places:
            dst, layer_index, tensor = selected[number]
            others = [int(entry) for entry in torch.unravel_index(torch.tensor(column), tensor.shape[1:])]
            entries = self._without_summed(dst, (row, *others))
            indices.append(DerivedScalarIndex(dst, layer_index, entries, pass_type))
        return ranked.values, indices

    def _without_summed(self, dst: DerivedScalarType, entries: Iterable[int]) -> tuple[TensorIndex, ...]:
        """The positions of a number; where an axis was summed, it is about the whole of it, not about the first."""
        dimensions = dst.shape_spec_per_token_sequence
        return tuple(
            "All" if dimension in self.summed else entry for entry, dimension in zip(entries, dimensions, strict=True)
        )

    def _selected(
        self,
        dsts: DerivedScalarType | Iterable[DerivedScalarType] | None,
        layers: int | Iterable[int | None] | None,
        pass_type: PassType,
    ) -> list[tuple[DerivedScalarType, int | None, Tensor]]:
        if dsts is None:
            dsts = [dst for dst, derived_pass in self._tensors if derived_pass is PassType(pass_type)]
        elif isinstance(dsts, str):
            dsts = [derived_scalar_type_of(dsts)]
        wanted = None if layers is None else {layers} if isinstance(layers, int) else set(layers)
        selected = [
            (derived_scalar_type_of(dst), layer_index, tensor)
            for dst in dsts
            for layer_index, tensor in self.activations(dst, pass_type).items()
            if (wanted is None or layer_index in wanted) and tensor.numel()
        ]
        missing = (wanted or set()) - {layer_index for _, layer_index, _ in selected}
        if missing or not selected:
            there = sorted({str(layer_index) for by_layer in self._tensors.values() for layer_index in by_layer})
            raise NotDerivedError("layer", ", ".join(map(str, missing)) or "any", there)
        return selected

    def name(self, index: DerivedScalarIndex) -> str:
        """What people call the place that an index names, such as `MLP 3:17 at " the"`."""
        return index_name(index, self.tokens)

    def to_dataframe(
        self,
        k: int | None = None,
        largest: bool = True,
        dsts: DerivedScalarType | Iterable[DerivedScalarType] | None = None,
        layers: int | Iterable[int | None] | None = None,
        pass_type: PassType = PassType.FORWARD,
    ) -> "pandas.DataFrame":
        """The k largest numbers (all of them, largest first, if k is None) with their names and tokens.

        The columns are `name`, `value`, `derived_scalar`, `layer`, `component`, `token_index`, `token`,
        `attended_to_index` and `attended_to`; what does not apply is missing (NA). The other arguments are `topk`'s.

        Raises:
            InvalidRequestError: k is no positive integer; or is None, and there are more than a million numbers.
            NotDerivedError: one of `dsts`, or of `layers`, was not derived.
        """
        import pandas

        if k is None:
            k = sum(tensor.numel() for _, _, tensor in self._selected(dsts, layers, pass_type))
            if k > _MOST_ROWS:
                raise InvalidRequestError(f"That is a DataFrame of {k} rows; give k, or fewer dsts or layers.")
        values, indices = self.topk(k, largest, dsts, layers, pass_type)
        rows = []
        for value, index in zip(values.tolist(), indices, strict=True):
            position = tokens_and_components(index)
            rows.append(
                {
                    "name": index_name(index, self.tokens),
                    "value": value,
                    "derived_scalar": index.dst.value,
                    "layer": index.layer_index,
                    "component": component_name(index),
                    "token_index": position.token,
                    "token": None if position.token is None else self.tokens[position.token],
                    "attended_to_index": position.attended_to,
                    "attended_to": None if position.attended_to is None else self.tokens[position.attended_to],
                }
            )
        columns = ["name", "value", "derived_scalar", "layer", "component"]
        columns += ["token_index", "token", "attended_to_index", "attended_to"]
        frame = pandas.DataFrame(rows, columns=columns)
        return frame.astype({"layer": "Int64", "token_index": "Int64", "attended_to_index": "Int64"})

    def sum_over(self, dimension: Dimension) -> "DerivedScalarStore":
        """The same with one axis summed, to length 1, wherever it is; other scalars stay as they are.

        Raises:
            InvalidRequestError: nothing that was derived has that axis.
        """
        dimension = Dimension(dimension)
        summed: dict[tuple[DerivedScalarType, PassType], dict[int | None, Tensor]] = {}
        for key, by_layer in self._tensors.items():
            axes = [axis for axis, named in enumerate(key[0].shape_spec_per_token_sequence) if named is dimension]
            summed[key] = {
                layer_index: tensor.sum(dim=axes, keepdim=True) if axes else tensor
                for layer_index, tensor in by_layer.items()
            }
        if not any(dimension in dst.shape_spec_per_token_sequence for dst in self.dsts):
            there = sorted({named.value for dst in self.dsts for named in dst.shape_spec_per_token_sequence})
            raise InvalidRequestError(f"Nothing here has the axis {dimension.value}; there are {', '.join(there)}.")
        return self._with(summed, self.summed | {dimension})

    def to(self, device: torch.device | str) -> "DerivedScalarStore":
        """The same on another device."""
        moved = {
            key: {layer_index: tensor.to(device) for layer_index, tensor in by_layer.items()}
            for key, by_layer in self._tensors.items()
        }
        return self._with(moved, self.summed)

    def _with(
        self,
        tensors: Mapping[tuple[DerivedScalarType, PassType], Mapping[int | None, Tensor]],
        summed: Iterable[Dimension],
    ) -> "DerivedScalarStore":
        return type(self)(
            tensors, self.tokens, self.token_ids, self._loss, self._traced_activation, self.model_name, summed
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one safetensors file, which is either wholly there or as it was before."""
        metadata = {
            "tokens": self.tokens,
            "token_ids": self.token_ids,
            "loss": self.loss,
            "traced_activation": self.traced_activation,
            "model_name": self.model_name,
            "summed": sorted(self.summed),
        }
        write_store(path, self._tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> "DerivedScalarStore":
        """What `save` wrote.

        Raises:
            MissingFileError: there is no such file.
            MalformedStoreError: it holds no derived scalars, or is damaged.
        """
        tensors, metadata = read_store(path, device)
        try:
            return cls(tensors, **{**metadata, "summed": [Dimension(named) for named in metadata["summed"]]})
        except (TypeError, KeyError, ValueError) as error:
            raise MalformedStoreError(os.fspath(path), str(error)) from error

    def plot(self, dst: DerivedScalarType, layer: int | None = None, **options: Any) -> Any:
        """A plotly figure of one derived scalar; see `neuron_explainer.views.derived_scalars.plot`."""
        from neuron_explainer.views import derived_scalars

        return derived_scalars.plot(self, dst, layer, **options)

    def __repr__(self) -> str:
        derived = ", ".join(f"{dst.value} ({len(by_layer)})" for (dst, _), by_layer in list(self._tensors.items())[:4])
        more = f", … {len(self._tensors)} in all" if len(self._tensors) > 4 else ""
        outcome = "" if self.loss is None else f", loss {self.loss:.4g}"
        if self.traced_activation is not None:
            outcome += f", traced activation {self.traced_activation:.4g}"
        text = json.dumps("".join(self.tokens), ensure_ascii=False)
        return f"<DerivedScalarStore: {len(self.tokens)} tokens {text:.40}{outcome}; tensors of {derived}{more}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views import derived_scalars

        return derived_scalars.store_html(self)
