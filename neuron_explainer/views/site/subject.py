"""What a site says that it is of: names for people, without the folders of the computer that made it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from neuron_explainer.activation_server.dataset_paths import dataset_text, resolve_neuron_dataset
from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.components.component import Component
from neuron_explainer.errors import shown
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.token_text import escaped
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

_LONGEST = 120


@dataclass(frozen=True)
class SiteSubject:
    """What a site is of.

    Attributes:
        title: the site's title.
        dataset, model: their names; None without one.
        dst: the derived scalar.
        hidden: paths that pages do not show, and what they show instead.
    """

    title: str
    dataset: str | None
    model: str | None
    dst: DerivedScalarType
    hidden: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, component: Component, title: str | None) -> SiteSubject:
        """The subject of a site.

        Args:
            component: one of its components.
            title: the title; None: made of the names.
        """
        at_hand, hidden = component.at_hand, []
        dataset = model = None
        if at_hand.dataset is not None:
            dataset, path = _dataset_name(at_hand.dataset, component.dst)
            hidden += [(each, dataset) for each in (path, at_hand.dataset) if os.path.isabs(each) or os.sep in each]
        if at_hand.has_model:
            given = component.model("page").model_name
            model = os.path.basename(os.path.normpath(given)) if os.path.exists(given) else given
            hidden += [(given, model)] if model != given else []
        if at_hand.explanations is not None and os.path.exists(at_hand.explanations):
            hidden.append((at_hand.explanations, os.path.basename(os.path.normpath(at_hand.explanations))))
        made = f"{component_kind(component.dst).capitalize()}s of {_cut(dataset or model or 'a model')}"
        return cls(made if title is None else title, dataset, model, component.dst, tuple(hidden))

    @property
    def about(self) -> str:
        """The names on one line; HTML."""
        model = None if self.model is None else f"model {_cut(self.model)}"
        dataset = None if self.dataset is None else f"dataset {_cut(self.dataset)}"
        return " · ".join(escaped(each) for each in (dataset, model, self.dst.value) if each)

    def without_paths(self, html: str) -> str:
        """HTML whose paths of this computer are replaced by names."""
        for path, name in self.hidden:
            html = html.replace(escaped(path), escaped(_cut(name)))
        return html


def _dataset_name(dataset: str, dst: DerivedScalarType) -> tuple[str, str]:
    """A dataset's name for people, and its path."""
    path = resolve_neuron_dataset(dataset, dst)
    if is_url(path):
        return without_secrets(dataset), path
    if path != dataset_text(dataset):
        return dataset, path  # a registered name
    named = open_packed_dataset(path).info.user_visible_name if is_packed_dataset(path) else ""
    return named or os.path.basename(os.path.normpath(os.path.abspath(path))), path


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else shown(text, _LONGEST)
