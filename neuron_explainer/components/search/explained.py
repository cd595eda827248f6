"""Search by the words of explanations: one's own, and published ones in a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuron_explainer.activation_server.dataset_paths import dataset_subject, explanations_path
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.explanations.own_file import own_entries
from neuron_explainer.components.search.explanation_index import explanations_in
from neuron_explainer.errors import InvalidRequestError, NodeNameError, UnknownDatasetError
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

_COLUMNS = ["name", "layer", "component", "explanation", "score", "source"]
_Row = tuple[str, int, int, str, float | None, str]


def search_explanations(
    subject: str,
    dst: DerivedScalarType,
    words: str,
    n: int,
    layers: list[int] | None,
    explanations: str | None,
    progress: bool | None,
    *,
    is_model: bool = False,
) -> pandas.DataFrame:
    """The components whose explanations have all the words, the best scored first.

    Args:
        subject: the dataset or model whose components they are.
        dst: the derived scalar that they are of.
        words: the words, in upper or lower case.
        n: how many.
        layers: the layers; None: all.
        explanations: where published ones are; None: those of the dataset.
        progress: whether there is a bar while a folder is read for the first time.
        is_model: whether the subject is a model's name.

    Returns:
        The columns are name, layer, component, explanation, score, source ("published" or "own").

    Raises:
        InvalidRequestError: no explanations are known of these components, or they are at an address.
        MalformedRecordError: the file of one's own explanations is damaged.
    """
    wanted = words.casefold().split()
    rows = _own(subject if is_model else dataset_subject(subject), dst)
    folder = None if is_model and explanations is None else _folder(subject, dst, explanations)
    if folder is None and not rows:
        raise InvalidRequestError(
            f"No explanations of {subject} ({dst.value}) are known. Write some: ne.component(…).explanations.add(…). "
            "Or pass explanations=, a local folder of published ones."
        )
    if folder is not None and is_url(folder) and not rows:
        raise InvalidRequestError(
            f"The explanations at {without_secrets(folder)} cannot be searched: an address cannot be listed. Copy them "
            "to a local folder and pass explanations=, or read those of one component: ne.load_explanations."
        )
    searched = ["own explanations"] if rows else []
    if folder is not None and not is_url(folder):
        searched.append(f"the explanations in {folder}")
        rows += [
            (_name(layer, index, dst), layer, index, text, score, "published")
            for layer, index, text, score in explanations_in(Path(folder), progress)
        ]
    found = [
        row
        for row in rows
        if (layers is None or row[1] in layers) and all(word in row[3].casefold() for word in wanted)
    ]
    found.sort(key=lambda row: (row[4] is None, -(row[4] or 0.0), row[1], row[2]))
    shown = [(*row[:3], without_steering(row[3]), *row[4:]) for row in found[:n]]
    table = TokenTable(shown, columns=_COLUMNS)
    table.attrs.update(kind="explanation", source=" and ".join(searched), n_explanations=len(rows), dst=dst.value)
    return table


def _own(subject: str, dst: DerivedScalarType) -> list[_Row]:
    rows: list[_Row] = []
    for each in own_entries(subject, dst=dst.value):
        try:
            component = NodeName.parse(each.name).to_neuron_id()
        except (NodeNameError, InvalidRequestError):
            continue  # the file was written by hand
        rows.append((each.name, component.layer_index, component.neuron_index, each.text, each.score, "own"))
    return rows


def _folder(subject: str, dst: DerivedScalarType, given: str | None) -> str | None:
    """The folder or address of published explanations; None if none are known."""
    try:
        return explanations_path(subject if given is None else given, dst)
    except UnknownDatasetError:
        if given is not None:
            raise
        return None  # the name of a model
    except InvalidRequestError:
        return None


def _name(layer: int, index: int, dst: DerivedScalarType) -> str:
    return str(NodeName.of(f"{layer}:{index}", kind=dst.node_type))
