"""What a file holds beside its tensors, as types that are checked when it is read."""

from typing import Annotated, Any

import msgspec

from neuron_explainer.activations.derived_scalars.store.named_tensors import FileKind

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class SavedPass(msgspec.Struct, forbid_unknown_fields=True):
    """One pass: its tokens, and the numbers of its Effects."""

    token_ids: Annotated[list[Count], msgspec.Meta(min_length=1)]
    tokens: list[str]
    n_beginning: Count
    coefficient: float
    answer: str | None
    rows: list[Count]
    value: float
    linear_value: float
    capped_value: float
    constants: dict[str, float]
    logits_softcap: float | None
    latent_scales: list[tuple[str, Count]]
    """The kind and layer of each; their tensors may be missing."""


class SavedAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A target or distractor."""

    text: str
    token_ids: Annotated[list[Count], msgspec.Meta(min_length=1)]
    is_target: bool
    is_text: bool


class SavedAblation(msgspec.Struct, forbid_unknown_fields=True):
    """An ablation. The numbers of a TensorAblation are a tensor of the file; `spec` then has no value."""

    spec: dict[str, Any]
    note: str
    n_tokens: Count | None = None


class PartRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row of a table of parts; the last two only where answers of several tokens are compared."""

    part: str
    layer: Count | None
    direct_effect: float
    answer: str | msgspec.UnsetType | None = msgspec.UNSET
    predicting_position: Count | msgspec.UnsetType | None = msgspec.UNSET


class NodeRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row of a table of nodes; the last two only where answers of several tokens are compared."""

    name: str
    token: str | None
    attended_to: str | None
    activation: float | None
    write_norm: float
    direct_effect: float
    total_effect: float
    answer: str | msgspec.UnsetType | None = msgspec.UNSET
    predicting_position: Count | msgspec.UnsetType | None = msgspec.UNSET


class SavedStep(msgspec.Struct, forbid_unknown_fields=True):
    """An earlier answer; its tables as records."""

    request: dict[str, Any]
    title: str
    value: float
    parts: list[PartRow]
    nodes: list[NodeRow]


class SavedAttribution(msgspec.Struct, forbid_unknown_fields=True):
    """An answer."""

    request: dict[str, Any]
    title: str
    is_linear: bool
    hints: list[str]
    model_name: str | None
    prompt_ids: list[Count] | None
    """The prompt that the question is about; None of a trace, and of a metric that is a function."""
    answers: list[SavedAnswer]
    passes: Annotated[list[SavedPass], msgspec.Meta(min_length=1)]
    ablations: list[SavedAblation]
    history: list[SavedStep]
    texts: dict[str, str]
    """The texts of tokens by id."""


ATTRIBUTION = FileKind("neuron_explainer attribution 1", "saved attribution", SavedAttribution)
