"""`ne.export_site`: from a dataset to a folder of pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from neuron_explainer._version import __version__
from neuron_explainer.activation_server.dataset_paths import explanations_path, type_of_dataset
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind, kind_of_node_type
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.components.asking import (
    SCALAR_OF_LATENTS,
    USUAL_SCALAR,
    component,
    config_given,
    model_and_dataset_given,
    scalar_of_latents,
)
from neuron_explainer.components.batches.with_tables import N_NEIGHBOURS, TabledComponent, with_tables
from neuron_explainer.components.component import Component
from neuron_explainer.components.covered import NodesGiven, components_asked, first_name, name_beside, nodes_by_layer
from neuron_explainer.components.digests import digest_of_dataset, digest_of_model
from neuron_explainer.errors import InvalidRequestError, NotAtHandError
from neuron_explainer.storage.locations import local_path
from neuron_explainer.views.site.folder import held_site, write_file
from neuron_explainer.views.site.lists import index_page, list_page, lists_of
from neuron_explainer.views.site.node_page import node_page
from neuron_explainer.views.site.plan import INDEX, OF_CHUNK, OF_FOLDER, OF_LIST, SCRIPT, SEARCH_INDEX, Chunk, SitePlan
from neuron_explainer.views.site.rows import layers_script, row_of, rows_script
from neuron_explainer.views.site.state import SiteState
from neuron_explainer.views.site.subject import SiteSubject
from neuron_explainer.views.site.wanted import digest_of_explanations
from neuron_explainer.vocabulary.checks import LayersGiven, checked_flag, checked_number, checked_text
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
    from neuron_explainer.attribution.question.settings import AutoencodersGiven

_LONGEST_TITLE, _MOST_SHOWN = 200, 100
_SCRIPT_FILE = Path(__file__).with_name("static") / SCRIPT


@dataclass(frozen=True)
class ExportedSite(os.PathLike[str]):
    """A site that was written. `open` and `pathlib.Path` take it as its folder.

    Attributes:
        path: its folder; `path / "index.html"` is its first page.
        n_pages: how many components have a page.
        n_written: how many of these pages this call wrote; the others were there.
    """

    path: Path
    n_pages: int
    n_written: int

    def __fspath__(self) -> str:
        return os.fspath(self.path)


def export_site(
    dataset: ConfigOrModel | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    layers: LayersGiven = None,
    nodes: NodesGiven = None,
    *,
    dst: DerivedScalarType | str | None = None,
    model: ConfigOrModel | str | os.PathLike[str] | None = None,
    autoencoders: AutoencodersGiven = None,
    explanations: str | os.PathLike[str] | None = None,
    examples: SupportsIndex = 6,
    neighbours: SupportsIndex = N_NEIGHBOURS,
    title: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> ExportedSite:
    """Write a static site: a page for each component, an index with a search, and lists by layer.

    The site opens from the disk or from any web server, asks for nothing outside of its folder, and works without
    scripts, but for the search. Every file is under 1 MB. A stopped export goes on where it was when it is called again
    with the same settings, and the result is the same, byte for byte.

    Args:
        dataset: the name, address or folder of a neuron dataset; or a model, whose pages have no examples then.
        folder: the folder of the site: a new or empty one, or one that has this site, unfinished or not.
        layers: the layers; None: all.
        nodes: the components, by name ("L5N131") or index; None: all. A dataset at an address needs them.
        dst: the derived scalar that is the components' activation; None: the dataset's, or of a model MLP_POST_ACT.
        model: the model, for what components write and read, and for their neighbours; "tiny" has its own.
        autoencoders: of latents, as `ne.load_autoencoders` gives them.
        explanations: the name, address or folder of published explanations; None: those of the dataset.
        examples: how many top examples a page shows, at most 100; fewer where it would be too large.
        neighbours: how many neighbours of each sort a page shows, at most 100.
        title: the site's title, at most 200 characters; None: made of the dataset's name.
        overwrite: whether another site in the folder is removed. Files of others never are.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        The folder (`path`), how many pages the site has (`n_pages`), and how many were written now (`n_written`).

    Raises:
        DatasetExistsError: the folder has a site with other settings, or files that no export wrote; or another
            export works there.
        InvalidRequestError: an argument is out of range, or the dataset has no such layer or component.
        OutOfSpaceError: the disk is full.
        UnknownDatasetError, CheckpointNotFoundError, MisconfiguredError: as `ne.component`.

    >>> import tempfile
    >>> import neuron_explainer as ne
    >>> site = ne.export_site("tiny", tempfile.mkdtemp(), nodes=["L1N355", "L2N5"])
    >>> site.n_pages, (site.path / "L2" / "L2N5.html").is_file()
    (2, True)
    """
    n_examples = checked_number("examples", examples, at_most=_MOST_SHOWN)
    n_neighbours = checked_number("neighbours", neighbours, at_most=_MOST_SHOWN)
    checked_flag("overwrite", overwrite)
    if title is not None:
        if not checked_text("title", title).strip():
            raise InvalidRequestError("title is empty. Give a text, or None for one that is made of the names.")
        if len(title) > _LONGEST_TITLE:
            raise InvalidRequestError(f"title has {len(title):,} characters; at most {_LONGEST_TITLE}.")
    target = local_path("folder", folder)
    source, model = _sources(dataset, model, autoencoders)
    scalar_type = _scalar_type(source, dst)
    if explanations is not None:
        explanations_path(explanations, scalar_type)  # refuses what is not there
    asked = nodes_by_layer(nodes, scalar_type)
    name = first_name(scalar_type, asked, _first_layer(source, scalar_type))
    first = component(source, name, dst=scalar_type, model=model, explanations=explanations)
    plan = SitePlan(first.kind, components_asked(first, layers, asked))
    subject = SiteSubject.of(first, title)
    settings = {
        "library": __version__,
        "dataset": subject.dataset,
        "dataset_digest": digest_of_dataset(first, plan.layers),
        "derived_scalar": scalar_type.value,
        "model": subject.model,
        "model_digest": digest_of_model(first),
        "explanations": digest_of_explanations(first, plan),
        "title": subject.title,
        "examples": n_examples,
        "neighbours": n_neighbours,
    }
    work = _Export(target, plan, subject, first, n_examples, n_neighbours)
    with held_site(target, SiteState(settings, plan), overwrite=overwrite):
        n_written = work.run(progress)
    return ExportedSite(target, plan.n_pages, n_written)


def _sources(source: Any, model: Any, autoencoders: AutoencodersGiven) -> tuple[Any, Any]:
    """The dataset and the model beside it, or the model and None; a model has its autoencoders.

    Raises:
        NotAtHandError: autoencoders are given without a model.
    """
    model, dataset = model_and_dataset_given(source, model, None)
    if autoencoders is not None:
        if model is None:
            raise NotAtHandError("autoencoders=", "model", "a model", "pass model=")
        model = config_given(model, autoencoders)
    return (dataset, model) if dataset is not None else (model, None)


def _scalar_type(source: Any, dst: DerivedScalarType | str | None) -> DerivedScalarType:
    """The dataset's scalar; of a model the one that is asked for, or its latents, or its neurons' activations."""
    if isinstance(source, str | os.PathLike) and model_and_dataset_given(source, None, None)[1] is not None:
        return type_of_dataset(source, dst)
    if dst is not None:
        return derived_scalar_type_of(dst)
    kinds = getattr(source, "autoencoder_kinds", ())
    if len(kinds) > 1:
        names = ", ".join(SCALAR_OF_LATENTS[kind].value for kind in kinds)
        raise InvalidRequestError(f"Several kinds of autoencoders are given. Choose one by dst: {names}.")
    if not kinds:
        return next(iter(USUAL_SCALAR.values()))
    return scalar_of_latents(source.get_autoencoder_context())


def _first_layer(source: Any, dst: DerivedScalarType) -> int:
    """A layer that a model's components of the scalar are in."""
    if not getattr(source, "autoencoder_kinds", ()) or kind_of_node_type(dst.node_type) is not NodeKind.LATENT:
        return 0
    layers: tuple[int, ...] = source.get_autoencoder_context(dst.node_type).layer_indices
    return layers[0]


@dataclass(frozen=True)
class _Export:
    """The work of one call."""

    folder: Path
    plan: SitePlan
    subject: SiteSubject
    first: Component
    n_examples: int
    n_neighbours: int

    def run(self, progress: bool | None) -> int:
        """Write what is missing; how many pages that were."""
        n_written = 0
        self._write_if_missing(SCRIPT, _SCRIPT_FILE.read_bytes())
        n_chunks = {layer: -(-len(several) // OF_CHUNK) for layer, several in self.plan.layers.items()}
        self._write_if_missing(SEARCH_INDEX, layers_script(self.plan.kind.symbol, OF_FOLDER, n_chunks))
        with passes_bar(self.plan.n_pages, progress, "writing pages", "page") as advance:
            for chunk in self.plan.chunks():
                if all(self._has(path) for path in self.plan.paths_of(chunk)):
                    advance(len(chunk.indices))
                    continue
                rows = []
                for each in self._components(chunk):
                    path = self.plan.page_of(chunk.layer, each.index)
                    if not self._has(path):
                        page = node_page(each, self.plan, self.subject, self.n_examples, self.n_neighbours)
                        write_file(self.folder, path, page)
                        n_written += 1
                    rows.append(row_of(each))
                    advance(1)
                for place, of_list in enumerate(lists_of(rows), chunk.number * OF_CHUNK // OF_LIST):
                    content = list_page(self.plan, self.subject, chunk.layer, place, of_list)
                    write_file(self.folder, self.plan.list_of(chunk.layer, place), content)
                write_file(self.folder, self.plan.rows_of(chunk), rows_script(chunk.layer, rows))
        self._write_if_missing(INDEX, index_page(self.plan, self.subject))
        return n_written

    def _components(self, chunk: Chunk) -> Iterator[TabledComponent]:
        name = name_beside(self.first, chunk.layer, chunk.indices[0])
        beginning = Component(name, self.first.dst, self.first.at_hand)
        return with_tables(beginning, chunk.indices, self.n_neighbours)

    def _has(self, path: str) -> bool:
        return (self.folder / path).is_file()

    def _write_if_missing(self, path: str, content: bytes) -> None:
        if not self._has(path):
            write_file(self.folder, path, content)
