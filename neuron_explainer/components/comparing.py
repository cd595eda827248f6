"""`ne.compare_components`: several components on the same texts, one above the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.collation.settings import check_choice
from neuron_explainer.components.component import Component
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, shown

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, DstConfig
    from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven
    from neuron_explainer.attribution.question.settings import AutoencodersGiven
    from neuron_explainer.collation.corpus.texts import TextsGiven

StripScale = Literal["shared", "own"]


@dataclass(frozen=True, repr=False)
class ComponentComparison:
    """Several components on the same texts. In a notebook it shows a strip of each, one above the other.

    Attributes:
        components: the components.
        records: the record of each on the texts, whose top examples are the texts in order.
        scale: "shared": one colour scale for all; "own": one for each.
        labels: the name of each; with its subject where several have the same name.
    """

    components: tuple[Component, ...]
    records: tuple[NeuronRecord, ...]
    scale: StripScale
    labels: tuple[str, ...]

    def __repr__(self) -> str:
        n_texts = len(self.records[0].most_positive_activation_records)
        return f"<ComponentComparison of {', '.join(self.labels)} on {n_texts} text{'' if n_texts == 1 else 's'}>"

    def tokens(self) -> list[list[str]]:
        """The tokens of each text."""
        return [list(example.tokens) for example in self.records[0].most_positive_activation_records]

    def activations(self) -> list[list[list[float]]]:
        """The activations of each text, of each component, one for each token; see `to_dataframe`."""
        by_component = [record.most_positive_activation_records for record in self.records]
        return [[_by_token(example) for example in of_text] for of_text in zip(*by_component, strict=True)]

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each token: text (its number), position, token, and a column for each component.

        Of a head, which has a number for each pair, the largest over the tokens that the token attends to.
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
    from neuron_explainer.components.own_texts import live_record_on

    check_choice("scale", scale, StripScale)
    if isinstance(components, str | Component) or not isinstance(components, Iterable):
        raise InvalidRequestError(f"components is {shown(components)}. Give a list of components or of their names.")
    several = _components_of(list(components), model, autoencoders)
    if isinstance(texts, Iterator):
        texts = list(texts)
    records = tuple(
        live_record_on(each, texts, each.at_hand.prepend_bos if prepend_bos is None else prepend_bos)
        for each in several
    )
    labels = _labels(several)
    _check_tokens(labels, records)
    return ComponentComparison(several, records, scale, labels)


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


def _check_tokens(labels: Sequence[str], records: Sequence[NeuronRecord]) -> None:
    first = [list(example.tokens) for example in records[0].most_positive_activation_records]
    for label, record in zip(labels, records, strict=True):
        other = [list(example.tokens) for example in record.most_positive_activation_records]
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
