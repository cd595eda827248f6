"""The result of deriving: tensors by derived scalar, pass and layer, with the prompt's tokens."""

import inspect
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.store import arithmetic
from neuron_explainer.activations.derived_scalars.store.description import one_line
from neuron_explainer.activations.derived_scalars.store.files import STORE, read_store, write_store
from neuron_explainer.activations.derived_scalars.store.ranking import (
    TokensGiven,
    asked_tensors,
    checked_order,
    largest_numbers,
    n_rows,
)
from neuron_explainer.activations.derived_scalars.store.selection import (
    DstOrName,
    DstsGiven,
    Layers,
    numbers_at,
    selected_tensors,
    tensors_by_layer,
)
from neuron_explainer.activations.derived_scalars.store.shapes import Tensors, by_members, check_shapes
from neuron_explainer.activations.derived_scalars.store.summing import summed_over
from neuron_explainer.activations.derived_scalars.store.tables import table_of
from neuron_explainer.errors import (
    InvalidRequestError,
    UnknownNameError,
    choices_sentence,
    shown,
)
from neuron_explainer.models.devices import DeviceGiven, as_device
from neuron_explainer.models.layers.routed import values_of
from neuron_explainer.vocabulary.checks import checked_number, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_arguments import refuse_unknown
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:
    import pandas


class DerivedScalarStore:
    """The derived scalars of one prompt. The tensors are detached and have no batch axis.

    Args:
        tensors: for each derived scalar and pass, one tensor for each layer (None for scalars without layers), with the
            axes of `dst.shape_spec_per_token_sequence`.
        tokens: the prompt's token strings.
        token_ids: the prompt's token ids, if they are known.
        loss: the loss, if one was given.
        traced_activation: the traced activation, if there is a trace.
        model_name: the model's name.
        summed: the axes that `sum_over` has summed, which have length 1.
        n_beginning: how many tokens, the first ones, were put before the prompt's text, such as a
            beginning-of-sequence token.

    Raises:
        InvalidRequestError: a tensor's shape does not fit its derived scalar and these tokens, or the tensors are not
            given by derived scalar, pass and layer.
        UnknownNameError: a derived scalar type, a pass or an axis does not exist.

    >>> import neuron_explainer as ne
    >>> store = ne.derive([5, 17, 3], ["mlp_post_act", "attn_write_norm"], ne.load_model("tiny"))
    >>> [dst.value for dst in store.dsts]
    ['mlp_post_act', 'attn_write_norm']
    """

    def __init__(
        self,
        tensors: Tensors,
        tokens: Sequence[str],
        token_ids: Sequence[int] | None = None,
        loss: float | Tensor | None = None,
        traced_activation: float | Tensor | None = None,
        model_name: str | None = None,
        summed: Iterable[Dimension] = (),
        n_beginning: SupportsIndex = 0,
    ) -> None:
        self._tensors = by_members(tensors)
        self.tokens = list(tokens)
        self.token_ids = None if token_ids is None else [int(token) for token in token_ids]
        self.model_name = model_name
        self.n_beginning = min(checked_number("n_beginning", n_beginning, 0), len(self.tokens))
        self.summed = frozenset(member_of(Dimension, dimension, "axis") for dimension in summed)
        # Tensors stay tensors here, because reading a number from a GPU waits for it.
        self._loss = loss
        self._traced_activation = traced_activation
        check_shapes(self._tensors, len(self.tokens), self.summed)

    @property
    def loss(self) -> float | None:
        """The loss; None if no loss was given."""
        return None if self._loss is None else float(self._loss)

    @property
    def traced_activation(self) -> float | None:
        """The traced activation; None if nothing was traced."""
        return None if self._traced_activation is None else float(self._traced_activation)

    @property
    def dsts(self) -> list[DerivedScalarType]:
        """The derived scalar types here, each once."""
        return list(dict.fromkeys(dst for dst, _ in self._tensors))

    @property
    def kept(self) -> Tensors:
        """The tensors as they are kept: of a mixture of experts' neurons, those of the chosen experts."""
        return self._tensors

    def contents(self) -> list[tuple[DerivedScalarType, PassType, list[int | None]]]:
        """Each derived scalar type and pass, with its layers."""
        return [(dst, pass_type, list(by_layer)) for (dst, pass_type), by_layer in self._tensors.items()]

    @property
    def beginning(self) -> str:
        """What was put before the prompt's text, such as a beginning-of-sequence token; often nothing."""
        return "".join(self.tokens[: self.n_beginning])

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next((tensor.device for tensor in self._all_tensors()), torch.device("cpu"))

    def _all_tensors(self) -> Iterable[Tensor]:
        return (values_of(tensor) for by_layer in self._tensors.values() for tensor in by_layer.values())

    def __contains__(self, dst: object) -> bool:
        try:
            asked = derived_scalar_type_of(cast("DstOrName", dst))
        except UnknownNameError:
            return False
        return any(asked is derived for derived, _ in self._tensors)

    def activations(
        self, dst: DstOrName, pass_type: PassType | str = PassType.FORWARD
    ) -> dict[int | None, Float[Tensor, "..."]]:
        """One derived scalar's tensors by layer, ascending. The layer is None for scalars without layers.

        Raises:
            NotDerivedError: it was not derived.
            UnknownNameError: the type or the pass does not exist.
        """
        return tensors_by_layer(self._tensors, dst, pass_type)

    def __getitem__(self, index: DerivedScalarIndex) -> Float[Tensor, "..."]:
        """The numbers that an index names: a tensor with the axes that the index names as a whole.

        Raises:
            NotDerivedError: the scalar, or its layer, was not derived.
            IndexOutOfRangeError: a position is out of range.
            InvalidRequestError: `index` is not a DerivedScalarIndex.
        """
        return numbers_at(self._tensors, index)

    def topk(
        self,
        k: SupportsIndex,
        largest: bool = True,
        dsts: DstsGiven = None,
        layers: Layers | None = None,
        pass_type: PassType | str = PassType.FORWARD,
        *,
        tokens: TokensGiven | None = None,
    ) -> tuple[Float[Tensor, " k"], list[DerivedScalarIndex]]:
        """The k largest (or smallest) numbers and their indices, best first.

        Masked attention logits (-inf) and NaN are left out, and so are neurons of experts that the router did not
        choose. Numbers of several derived scalars are compared as they
        are, so choose `dsts` with the same unit.

        Args:
            k: how many; fewer come back if there are fewer.
            largest: False for the smallest, that is the most negative.
            dsts: the derived scalars to search; all if None.
            layers: the layers to search; all if None. None in a list stands for scalars without layers.
            pass_type: BACKWARD for gradients.
            tokens: only the numbers of these positions (of pairs: attended from them), counted from 0; all if None.

        Returns:
            The numbers, (k,), and an index for each. An index has "All" for axes that were summed.

        Raises:
            InvalidRequestError: k is not a positive whole number, or `tokens` are not positions.
            IndexOutOfRangeError: the prompt does not have one of `tokens`.
            NotDerivedError: one of `dsts`, or of `layers`, was not derived.
        """
        number_asked, descends = checked_number("k", k), checked_order(largest)
        chosen = asked_tensors(self._tensors, len(self.tokens), self.summed, dsts, layers, pass_type, tokens)
        return largest_numbers(chosen, number_asked, descends, self.summed)

    def name(self, index: DerivedScalarIndex) -> str:
        """The name of what an index names, with its token's text: `L3N17@5 ' the'`. `ne.parse_node` reads it.

        Raises:
            InvalidRequestError: `index` is not a DerivedScalarIndex.
            IndexOutOfRangeError: the prompt does not have its token.
        """
        checked_type("index", index, DerivedScalarIndex)
        return NodeName.of(index).in_prompt(self.tokens)

    def to_dataframe(
        self,
        k: SupportsIndex | None = None,
        largest: bool = True,
        dsts: DstsGiven = None,
        layers: Layers | None = None,
        pass_type: PassType | str = PassType.FORWARD,
        *,
        tokens: TokensGiven | None = None,
    ) -> "pandas.DataFrame":
        """The k largest numbers (all, largest first, if k is None) with their names and tokens, as a table.

        The columns are `name`, `value`, `derived_scalar`, `layer`, `component`, `token_index`, `token`,
        `attended_to_index` and `attended_to`; columns that do not apply are NA. The arguments are those of `topk`.

        Raises:
            InvalidRequestError: k is not a positive whole number; or it is None and there are over a million numbers.
            NotDerivedError: one of `dsts`, or of `layers`, was not derived.
        """
        if k is None:
            chosen = asked_tensors(self._tensors, len(self.tokens), self.summed, dsts, layers, pass_type, tokens)
            k = n_rows(chosen)
        values, indices = self.topk(k, largest, dsts, layers, pass_type, tokens=tokens)
        return table_of(values.tolist(), indices, self.tokens)

    def select(
        self,
        dsts: DstsGiven = None,
        layers: Layers | None = None,
        pass_type: PassType | str | None = None,
    ) -> "DerivedScalarStore":
        """A store with some of the tensors, which are not copied.

        Args:
            dsts: the derived scalars to keep; all if None.
            layers: the layers to keep; all if None. None in a list stands for scalars without layers.
            pass_type: FORWARD for values, BACKWARD for gradients; None for both.

        Raises:
            NotDerivedError: one of `dsts`, or of `layers`, was not derived.
            UnknownNameError: a type or the pass does not exist.

        >>> import neuron_explainer as ne
        >>> store = ne.derive([5, 17], ["mlp_post_act", "attn_write_norm"], ne.load_model("tiny"))
        >>> store.select("mlp_post_act", layers=[0, 3]).contents()[0][2]
        [0, 3]
        """
        asked = None if pass_type is None else member_of(PassType, pass_type, "pass type")
        return self._with(selected_tensors(self._tensors, dsts, layers, asked), self.summed)

    def difference(self, other: "DerivedScalarStore") -> "DerivedScalarStore":
        """This store's numbers minus another's: tensors, loss and traced activation. The tokens are this store's.

        Numbers that are masked (-inf) in both stay so.

        Raises:
            InvalidRequestError: the stores have different numbers of tokens, scalars, layers or shapes; the error names
                what differs.

        >>> import neuron_explainer as ne
        >>> one, other = ne.derive_batch([[5, 17], [5, 18]], "mlp_post_act", ne.load_model("tiny"))
        >>> bool(one.difference(other).activations("mlp_post_act")[0][0].any())
        False
        """
        return DerivedScalarStore(**arithmetic.difference(self, checked_type("other", other, DerivedScalarStore)))

    @classmethod
    def mean(cls, stores: Iterable["DerivedScalarStore"]) -> "DerivedScalarStore":
        """The mean of several stores' numbers: tensors, losses and traced activations.

        A token at which the prompts differ is shown as "…"; `token_ids` are kept only where all are the same.

        Raises:
            InvalidRequestError: no store is given; or they have different numbers of tokens, scalars, layers or shapes.

        >>> import neuron_explainer as ne
        >>> stores = ne.derive_batch([[5, 17], [5, 18]], "mlp_post_act", ne.load_model("tiny"))
        >>> ne.DerivedScalarStore.mean(stores).tokens[1]
        '…'
        """
        several = list(stores) if isinstance(stores, Iterable) else []
        if not several:
            raise InvalidRequestError(f"stores is {shown(stores)}. Give a list of at least one DerivedScalarStore.")
        return cls(**arithmetic.mean([checked_type("each of stores", store, DerivedScalarStore) for store in several]))

    def sum_over(self, dimension: Dimension | str) -> "DerivedScalarStore":
        """A store in which one axis is summed, to length 1, in all scalars that have it.

        Args:
            dimension: the axis: a Dimension, its name or value, or what tables call it, such as "neurons".

        Raises:
            InvalidRequestError: no scalar here has that axis.
            UnknownNameError: the axis does not exist.
        """
        axes_here = sorted({axis.label for dst in self.dsts for axis in dst.shape_spec_per_token_sequence})
        try:
            dimension = member_of(Dimension, dimension, "axis")
        except UnknownNameError:
            raise UnknownNameError("axis", dimension, axes_here) from None
        if not any(dimension in dst.shape_spec_per_token_sequence for dst in self.dsts):
            raise InvalidRequestError(f"No scalar here has the axis {dimension.label!r}. {choices_sentence(axes_here)}")
        return self._with(summed_over(self._tensors, dimension), self.summed | {dimension})

    def to(self, device: DeviceGiven) -> "DerivedScalarStore":
        """A store with the tensors on another device.

        Raises:
            InvalidRequestError: it is not a device, or is not available here.
        """
        to_device = as_device(device)
        moved = {
            key: {layer_index: tensor.to(to_device) for layer_index, tensor in by_layer.items()}
            for key, by_layer in self._tensors.items()
        }
        return self._with(moved, self.summed)

    def _with(
        self,
        tensors: Tensors,
        summed: Iterable[Dimension],
    ) -> "DerivedScalarStore":
        return type(self)(
            tensors,
            self.tokens,
            self.token_ids,
            self._loss,
            self._traced_activation,
            self.model_name,
            summed,
            self.n_beginning,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one safetensors file, which is replaced as a whole or left as it was."""
        metadata = {
            "tokens": self.tokens,
            "token_ids": self.token_ids,
            "loss": self.loss,
            "traced_activation": self.traced_activation,
            "model_name": self.model_name,
            "summed": sorted(self.summed),
            "n_beginning": self.n_beginning,
        }
        write_store(path, self._tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: DeviceGiven = "cpu") -> "DerivedScalarStore":
        """Read what `save` wrote.

        Raises:
            MissingFileError: the file does not exist.
            MalformedStoreError: it is another kind of file, or is damaged.
            InvalidRequestError: `device` is not a device, or is not available here.
        """
        tensors, metadata = read_store(path, device)
        with STORE.reading(os.fspath(path)):
            return cls(tensors, **{**metadata, "summed": [Dimension(named) for named in metadata["summed"]]})

    def plot(self, dst: DstOrName, layer: SupportsIndex | None = None, **options: Any) -> Any:
        """A plotly figure of one derived scalar; see `neuron_explainer.views.derived_scalars.plot`.

        An example, in a notebook cell: `store.plot("attn_write_norm", 2)`.

        Raises:
            NotDerivedError: `dst`, or `layer`, was not derived.
            UnknownNameError: the derived scalar type does not exist.
            InvalidRequestError: an option is out of range.
            UnknownArgumentError: an option does not exist.
        """
        from neuron_explainer.views import derived_scalars

        refuse_unknown("plot", options, list(inspect.signature(derived_scalars.plot).parameters)[1:])
        return derived_scalars.plot(self, derived_scalar_type_of(dst), layer, **options)

    def __repr__(self) -> str:
        return one_line(self._tensors, self.tokens, self.n_beginning, self.loss, self.traced_activation)

    def _repr_html_(self) -> str:
        from neuron_explainer.views import derived_scalars

        return derived_scalars.store_html(self)
