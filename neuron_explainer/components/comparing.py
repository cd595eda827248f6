"""`ne.compare_components`: several components on the same texts, one above the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np

from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.collation.corpus.places import SequencePlace, kept_in_memory
from neuron_explainer.collation.settings import check_choice
from neuron_explainer.components.component import Component
from neuron_explainer.components.own_texts import LiveTexts, is_shown, live_on_texts
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, shown
from neuron_explainer.wording import counted

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, DstConfig
    from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven
    from neuron_explainer.attribution.question.settings import AutoencodersGiven
    from neuron_explainer.collation.corpus.texts import TextsGiven

T = TypeVar("T")
StripScale = Literal["shared", "own"]


@dataclass(frozen=True, repr=False)
class ComponentComparison:
    """Several components on the same texts. In a notebook it shows a strip of each, one above the other.

    Attributes:
        components: the components.
        records: the record of each on the texts, whose top examples are the texts' parts in order. A text that is
            longer than the context has several.
        scale: "shared": one colour scale for all; "own": one for each.
        labels: the name of each; with its subject where several have the same name.
        places: of each component where the parts lie: in which text, and how far from its beginning.
        n_texts: how many texts were given.
    """

    components: tuple[Component, ...]
    records: tuple[NeuronRecord, ...]
    scale: StripScale
    labels: tuple[str, ...]
    places: tuple[tuple[SequencePlace, ...], ...]
    n_texts: int

    def __repr__(self) -> str:
        return f"<ComponentComparison of {', '.join(self.labels)} on {counted(self.n_texts, 'text')}>"

    def tokens(self) -> list[list[str]]:
        """The tokens of each text that was given; none of a text without tokens.

        A beginning token that each part of a long text gets is there once.
        """
        return _by_text(self.records[0], self.places[0], self.n_texts, lambda example: list(example.tokens))

    def activations(self) -> list[list[list[float]]]:
        """The activations of each text, of each component, one for each token; see `to_dataframe`."""
        by_component = [
            _by_text(record, places, self.n_texts, _by_token)
            for record, places in zip(self.records, self.places, strict=True)
        ]
        return [list(of_text) for of_text in zip(*by_component, strict=True)]

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each token: text (its number), position, token, and a column for each component.

        Texts are numbered as they were given, also where one of them has no tokens. Positions go on where a text is
        longer than the context. Of a head, which has a number for each pair, the largest over the tokens that the token
        attends to.
        """
        import pandas

        tables = [
            TokenTable(
                {"text": number, "position": range(len(tokens)), "token": tokens}
                | dict(zip(self.labels, values, strict=True))
            )
            for number, (tokens, values) in enumerate(zip(self.tokens(), self.activations(), strict=True))
        ]
        return TokenTable(pandas.concat(tables, ignore_index=True))

    def to_html(self) -> str:
        """The strips as static HTML."""
        from neuron_explainer.views.components.comparison import strips_html

        return strips_html(self)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the strips to a file of their own, which needs no network and runs no script."""
        from neuron_explainer.storage.atomic import write_bytes_atomically
        from neuron_explainer.storage.locations import local_path
        from neuron_explainer.views.document import html_document

        title = ", ".join(self.labels)
        write_bytes_atomically(local_path("path", path), html_document(self.to_html(), title).encode())

    def _repr_html_(self) -> str:
        return self.to_html()


def compare_components(
    components: Iterable[Component | NodeGiven],
    texts: TextsGiven,
    *,
    model: ConfigOrModel | str | os.PathLike[str] | None = None,
    autoencoders: AutoencodersGiven = None,
    scale: StripScale = "shared",
    prepend_bos: bool | None = None,
) -> ComponentComparison:
    """Several components on the same texts, as the models compute them now.

    Args:
        components: components, as `ne.component` makes them; or names, with `model=`. They may be of several models
            that cut the texts into the same tokens.
        texts: a text, or several; a list of messages is a chat.
        model: the model of components that are given by name.
        autoencoders: of latents that are given by name.
        scale: "shared": one colour scale for all; "own": one for each.
        prepend_bos: whether texts begin with the beginning-of-sequence token; None: as each component was made.

    Raises:
        InvalidRequestError: no components are given, or one is neither a component nor a name; or the texts' tokens
            differ.
        NotAtHandError: a component has no model, or names are given without one.
        UnknownNameError: `scale` is unknown.
        NonFiniteActivationError: as `ne.live_record`.

    >>> import neuron_explainer as ne
    >>> ne.compare_components(["L2N5", "L1N3"], "And the LORD said", model="tiny").to_dataframe().columns.tolist()
    ['text', 'position', 'token', 'L2N5', 'L1N3']
    """
    check_choice("scale", scale, StripScale)
    if isinstance(components, str | Component) or not isinstance(components, Iterable):
        raise InvalidRequestError(f"components is {shown(components)}. Give a list of components or of their names.")
    several = _components_of(list(components), model, autoencoders)
    texts = kept_in_memory(texts)
    if isinstance(texts, Iterator):
        texts = list(texts)  # they are read several times
    live = tuple(
        live_on_texts(each, texts, each.at_hand.prepend_bos if prepend_bos is None else prepend_bos) for each in several
    )
    labels = _labels(several)
    _check_tokens(labels, live)
    records, places = tuple(each.record for each in live), tuple(each.places for each in live)
    return ComponentComparison(several, records, scale, labels, places, live[0].n_texts)


def _components_of(given: Sequence[Any], model: Any, autoencoders: Any) -> tuple[Component, ...]:
    from neuron_explainer.components.asking import component, config_given

    if not given:
        raise InvalidRequestError("components is empty. Give at least one component.")
    named = [each for each in given if not isinstance(each, Component)]
    if named and model is None:
        raise NotAtHandError(f"compare_components([{named[0]!r}, …])", "model", "a model", "pass model=")
    config = config_given(model, autoencoders) if named else None
    return tuple(each if isinstance(each, Component) else component(cast("DstConfig", config), each) for each in given)


def _labels(components: Sequence[Component]) -> tuple[str, ...]:
    """The name of each component; where two share one, with the model's name, then with a number."""
    names = [str(each.name) for each in components]
    if len(set(names)) < len(names):
        names = [
            name if names.count(name) == 1 else f"{name} of {each.subject}"
            for name, each in zip(names, components, strict=True)
        ]
    return tuple(
        name if names.count(name) == 1 else f"{name} ({names[:number].count(name) + 1})"
        for number, name in enumerate(names)
    )


def _by_text(
    record: NeuronRecord,
    places: Sequence[SequencePlace],
    n_texts: int,
    entries_of: Callable[[ActivationRecord], list[T]],
) -> list[list[T]]:
    """One entry for each token of each text, its parts joined."""
    texts: list[list[T]] = [[] for _ in range(n_texts)]
    for example, place in zip(record.most_positive_activation_records, places, strict=True):
        of_part = zip(entries_of(example), is_shown(place, len(example.tokens)), strict=True)
        texts[place.text] += [entry for entry, is_wanted in of_part if is_wanted]
    return texts


def _check_tokens(labels: Sequence[str], live: Sequence[LiveTexts]) -> None:
    several = [_by_text(each.record, each.places, each.n_texts, lambda example: list(example.tokens)) for each in live]
    first = several[0]
    for label, other in zip(labels, several, strict=True):
        if other != first:
            differing = [pair for pair in zip(first, other, strict=False) if pair[0] != pair[1]]
            one, two = differing[0] if differing else (first[-1], other[-1])
            raise InvalidRequestError(
                f"The models cut the texts into different tokens: for {labels[0]} into {shown(one)}, for {label} into "
                f"{shown(two)}. Compare components of models with the same tokens."
            )


def _by_token(example: ActivationRecord) -> list[float]:
    """An activation for each token; of pairs the largest of the token that attends."""
    n_tokens = len(example.tokens)
    if len(example.activations) == n_tokens:
        return list(example.activations)
    starts = np.arange(n_tokens) * np.arange(1, n_tokens + 1) // 2
    return [float(value) for value in np.maximum.reduceat(np.asarray(example.activations, np.float64), starts)]
