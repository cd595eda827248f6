"""The table of models that have a name, for people who look for one."""

from typing import TYPE_CHECKING

from neuron_explainer.models.hub.names import HUB_MODELS
from neuron_explainer.models.model_registry import EMBEDDED_FOLDER, MODEL_REGISTRY, OTHER_NAMES
from neuron_explainer.vocabulary.checks import checked_type
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas


def known_models(search: str | None = None) -> "pandas.DataFrame":
    """The models that `load_model` knows by name, one row each. Names are taken in any case.

    A model on the hub needs no name: its hub id, `owner/name`, will do.

    Args:
        search: words, in any order and case; only rows that contain all of them are given. None: all rows.

    Returns:
        The columns, all texts, are `name`; `other_names`, with commas between them; `family` (the `model_type` of the
        model's config; "" for models that are not on the hub or were registered); and `where` (a hub id; without one, a
        path or a package).

    Raises:
        InvalidRequestError: `search` is not a text.

    >>> import neuron_explainer as ne
    >>> ne.known_models("tiny stories 33M instruct").name.tolist()
    ['tiny-stories-instruct-33M', 'tiny-stories-instruct-2L-33M']
    """
    import pandas as pd

    words = [] if search is None else checked_type("search", search, str).lower().split()
    family_by_name = {model.name: model.family for model in HUB_MODELS}
    others: dict[str, list[str]] = {}
    for other, name in OTHER_NAMES.items():
        others.setdefault(name, []).append(other)
    rows = [
        {
            "name": name,
            "other_names": ", ".join(others.get(name, ())),
            "family": family_by_name.get(name, ""),
            "where": "this library"
            if model.path == EMBEDDED_FOLDER
            else str(model.hub_id or model.path or model.package),
        }
        for name, model in MODEL_REGISTRY.items()
    ]
    found = [row for row in rows if all(word in " ".join(row.values()).lower() for word in words)]
    shown = [{column: without_steering(text) for column, text in row.items()} for row in found]
    return pd.DataFrame(shown, columns=list(rows[0]))
