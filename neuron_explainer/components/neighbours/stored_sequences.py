"""The token sequences that a component's packed dataset stores, to run a model over them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuron_explainer.activations.packed.dataset import PackedDataset, is_packed_dataset
from neuron_explainer.components.search.example_index import first_counted
from neuron_explainer.errors import InvalidRequestError, MalformedDatasetError, NotAtHandError, shown

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component
    from neuron_explainer.models.model_context import ModelContext

_MOST_SEQUENCES = 200


@dataclass(frozen=True)
class StoredSequences:
    """Sequences of a dataset.

    Attributes:
        token_ids: the tokens of each, as they are stored.
        have_beginning: whether each begins with the beginning-of-sequence token, which does not count.
        words: what they are, in words.
    """

    token_ids: list[list[int]]
    have_beginning: bool
    words: str


def stored_sequences(component: Component, context: ModelContext) -> StoredSequences:
    """At most 200 sequences that a component's packed dataset stores of its layer.

    Args:
        component: the component.
        context: the model that is to run over them.

    Raises:
        NotAtHandError: the component has no packed dataset in a local folder.
        InvalidRequestError: the model has other tokens than the dataset, or reads only shorter sequences.
        NeuronNotFoundError, MalformedDatasetError: the dataset's files are missing or invalid.
    """
    from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
    from neuron_explainer.storage.locations import is_url

    path = component.at_hand.dataset and resolve_neuron_dataset(component.at_hand.dataset, component.dst)
    if not path or is_url(path) or not is_packed_dataset(path):
        asked = f"{component.name}.neighbours(by='activation')"
        raise NotAtHandError(asked, "texts", "texts", "pass texts=, a text or several")
    dataset = PackedDataset.open(path)
    reader = dataset.layer_reader(component.layer)
    n_sequences = min(len(reader.sequences), _MOST_SEQUENCES)
    found = []
    for number in range(n_sequences):
        ids = reader.sequences[number, : max(0, int(reader.sequence_lengths[number]))].tolist()
        if any(not 0 <= token_id < len(dataset.token_strings) for token_id in ids):
            raise MalformedDatasetError(f"sequence {number} has a token id out of range", str(reader.path))
        if ids:
            found.append(ids)
    _check_same_tokens(dataset, context, found)
    words = f"the first {n_sequences} sequences that the dataset stores of layer {component.layer}"
    return StoredSequences(found, bool(first_counted(dataset.info)), words)


def _check_same_tokens(dataset: PackedDataset, context: ModelContext, sequences: list[list[int]]) -> None:
    """Refuse sequences that mean another text to the model, or that are too long for it."""
    longest = max(map(len, sequences), default=0)
    if longest > context.max_context_length:
        raise InvalidRequestError(
            f"{dataset.path} stores sequences of {longest} tokens, but {context.model_name} reads at most "
            f"{context.max_context_length}. Pass texts=, a text or several."
        )
    n_tokens = context.get_or_create_model().config.vocab_size
    has_names = getattr(context, "has_tokenizer", True)
    for token_id in sorted({token_id for sequence in sequences for token_id in sequence}):
        stored = dataset.token_strings[token_id]
        of_model = None if token_id >= n_tokens else context.decode_token(token_id) if has_names else stored
        if of_model != stored:
            missing = "missing" if of_model is None else shown(of_model)
            raise InvalidRequestError(
                f"{dataset.path} stores tokens of another vocabulary than that of {context.model_name}: token "
                f"{token_id} is {shown(stored)} in the dataset, and {missing} in the model. Pass texts=, a text or "
                "several."
            )
