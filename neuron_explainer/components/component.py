"""`Component`: everything about one neuron, attention head or latent."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Literal, SupportsIndex

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.components.at_hand import AtHand, check_in_model
from neuron_explainer.errors import InvalidRequestError, NotAtHandError
from neuron_explainer.vocabulary.checks import LayersGiven
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:  # a record alone is shown without torch
    import pandas

    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
    from neuron_explainer.collation.corpus.texts import TextsGiven
    from neuron_explainer.components.explanations.of_component import ComponentExplanations
    from neuron_explainer.components.statistics.of_component import ComponentStatistics
    from neuron_explainer.models.autoencoder_context import AutoencoderContext
    from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
    from neuron_explainer.models.layers.block import Block
    from neuron_explainer.models.model_context import ModelContext
    from neuron_explainer.models.transformer import Transformer

NeighboursBy = Literal["write", "read", "activation"]
Among = Literal["head", "neuron", "latent"]
VocabularyGiven = str | SupportsIndex | Iterable[str] | None
"""Which tokens a head's pairs are of: those of a reference text, the first so many, or "all"; None: the default."""


class Component:
    """One neuron, attention head or latent, and all that a page about it shows. `ne.component` makes one.

    What needs a model, a dataset or texts says so where it lacks them. In a notebook it shows itself as a page.

    Attributes:
        name: its name, such as L5N131.
        dst: the derived scalar that is its activation.
        at_hand: what it can be looked at with.

    >>> import neuron_explainer as ne
    >>> node = ne.component("tiny", "L2N5")
    >>> node.record.neuron_id, len(node.writes(3))
    (NeuronId(layer_index=2, neuron_index=5), 6)
    """

    def __init__(self, name: NodeName, dst: DerivedScalarType, at_hand: AtHand) -> None:
        self.name = name
        self.dst = dst
        self.at_hand = at_hand

    @property
    def kind(self) -> NodeKind:
        """Whether it is a head, a neuron or a latent."""
        return self.name.kind

    @property
    def layer(self) -> int:
        """Its layer, from 0."""
        return self.name.to_neuron_id().layer_index

    @property
    def index(self) -> int:
        """Its number in the layer, from 0."""
        return self.name.to_neuron_id().neuron_index

    @property
    def subject(self) -> str:
        """What it is a component of: the dataset's name, address or whole path, or without one, the model's name."""
        if self.at_hand.dataset is None:
            return self.at_hand.model(f"{self.name}.subject").model_name
        from neuron_explainer.activation_server.dataset_paths import dataset_subject

        return dataset_subject(self.at_hand.dataset)

    def with_record(self, record: NeuronRecord) -> Component:
        """The same component, with a record that is known already."""
        known = Component(self.name, self.dst, self.at_hand)
        known.__dict__["record"] = record  # where the cached property looks first
        return known

    # What it is computed with. `asked` is what needs it, for the error.

    def _config(self, asked: str) -> DstConfig:
        config = self.at_hand.config(f"{self.name}.{asked}")
        check_in_model(config, self.name)  # the model may have been loaded only now
        return config

    def model(self, asked: str) -> ModelContext:
        """The model.

        Raises:
            NotAtHandError: the component has no model.
        """
        return self._config(asked).get_model_context()

    def transformer(self, asked: str) -> Transformer:
        """The model itself.

        Raises:
            NotAtHandError: the component has no model.
        """
        return self._config(asked).get_or_create_model()

    def block(self, asked: str) -> Block:
        """The model's layer that it is in.

        Raises:
            NotAtHandError: the component has no model.
        """
        return self.transformer(asked).blocks[self.layer]

    def bound(self, asked: str) -> BoundConfig:
        """The model with its autoencoders, as the derivers of scalars take it.

        Raises:
            NotAtHandError: the component has no model.
        """
        self._config(asked)
        return self.at_hand.bound(f"{self.name}.{asked}")

    def autoencoder(self, asked: str) -> Autoencoder:
        """The autoencoder that it is a latent of.

        Raises:
            NotAtHandError: the component has no model, or no autoencoders.
            InvalidRequestError: it is not a latent.
        """
        if self.kind is not NodeKind.LATENT:
            raise InvalidRequestError(f"{self.name} is {self.kind.meaning}, not a latent, so it has no autoencoder.")
        return self.autoencoders_of_latents(asked).get_autoencoder(self.layer)

    def autoencoders_of_latents(self, asked: str) -> AutoencoderContext:
        """The autoencoders whose latents are the component's kind, or of another kind of component the only ones.

        Raises:
            NotAtHandError: the component has no model, or no autoencoders.
        """
        node_type = self.dst.node_type if self.kind is NodeKind.LATENT else None
        context = self.at_hand.config(f"{self.name}.{asked}").get_autoencoder_context(node_type)
        if context is None:
            raise NotAtHandError(f"{self.name}.{asked}", "autoencoders", "an autoencoder")
        return context

    # What a page shows

    @cached_property
    def record(self) -> NeuronRecord:
        """Its record in the dataset: stored examples and statistics.

        Raises:
            NotAtHandError: the component has no dataset.
            NeuronNotFoundError, MalformedRecordError, MalformedDatasetError, DownloadError: as `ne.load_neuron`.
        """
        if self.at_hand.dataset is None:
            raise NotAtHandError(f"{self.name}.record", "dataset", "a dataset")
        from neuron_explainer.activation_server.load_by_name import load_neuron

        return load_neuron(self.at_hand.dataset, self.layer, self.index, self.dst)

    @cached_property
    def statistics(self) -> ComponentStatistics:
        """Its statistics over the dataset: frequency, moments, histogram, quantiles, tokens, places in a text.

        Raises:
            NotAtHandError: the component has no dataset.
        """
        from neuron_explainer.components.statistics.of_component import ComponentStatistics

        return ComponentStatistics.of(self)

    @cached_property
    def explanations(self) -> ComponentExplanations:
        """Its published explanations with their scores, and one's own."""
        from neuron_explainer.components.explanations.of_component import ComponentExplanations

        return ComponentExplanations(self)

    def activations(self, texts: TextsGiven, *, prepend_bos: bool | None = None) -> pandas.DataFrame:
        """Its activations on one's own texts, as the model computes them now.

        Args:
            texts: a text, or several; a list of messages is a chat.
            prepend_bos: whether texts begin with the beginning-of-sequence token; None: as the component was made.

        Returns:
            A row for each token: text (its number among those given), position, token, activation. Of a head a row for
            each pair of tokens, also with attended_to_position and attended_to. A text that is longer than the context
            is computed in parts, and positions go on: the beginning token, which each part gets, is position 0 and has
            rows only in the first; attention to it in later parts is attention to position 0. Of files and datasets,
            the 20 sequences with the highest peaks, numbered by them.

        Raises:
            NotAtHandError: the component has no model.
            InvalidRequestError, NonFiniteActivationError: as `ne.live_record`.

        >>> import neuron_explainer as ne
        >>> ne.component("tiny", "L2N5").activations("And the LORD said").columns.tolist()
        ['text', 'position', 'token', 'activation']
        """
        from neuron_explainer.components.own_texts import own_activation_table

        return own_activation_table(self, texts, self.at_hand.prepend_bos if prepend_bos is None else prepend_bos)

    def writes(
        self, n: SupportsIndex = 10, *, tokens: VocabularyGiven = None, progress: bool | None = None
    ) -> pandas.DataFrame:
        """The output tokens whose logits it raises and lowers most, per unit of activation.

        Of a neuron or latent: its write, through the gains of the norms that follow (their scales left at 1) and the
        unembedding, minus the mean over the vocabulary. Of a head: the pairs of a token that is attended to and an
        output token, through the values and the output weights (the OV circuit).

        Args:
            n: how many of the highest, and of the lowest.
            tokens: for heads, the tokens attended to: those of a reference text, the first so many of the vocabulary,
                or "all". None: the first 4,096.
            progress: for heads, whether there is a bar; None: on a terminal or in a notebook.

        Returns:
            The n highest, then the n lowest: token, token_id, value. Of a head source, source_id, token, token_id,
            value; `attrs["tokens"]` says which were looked at.

        Raises:
            NotAtHandError: the component has no model, or a latent no autoencoder.
            NonFiniteTensorError: what it reads or writes is infinite or NaN.
            InvalidRequestError: the latent reaches the residual stream through a nonlinearity, or `n` is not a whole
                number above 0.
        """
        if self.kind is NodeKind.HEAD:
            from neuron_explainer.components.heads.pairs import pairs_written

            return pairs_written(self, n, tokens, progress)
        from neuron_explainer.components.vocabulary.written import tokens_written

        return tokens_written(self, n)

    def reads(
        self,
        n: SupportsIndex = 10,
        *,
        tokens: VocabularyGiven = None,
        distance: SupportsIndex = 1,
        progress: bool | None = None,
    ) -> pandas.DataFrame:
        """The input tokens that raise and lower it most, if a token's embedding alone were the residual stream.

        Of a neuron or latent: its pre-activation, through the layer's norm (VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION). Of
        a head: the attention logit of pairs of a token that attends and one that is attended to (the QK circuit).

        Args:
            n: how many of the highest, and of the lowest.
            tokens: for heads, as for `writes`.
            distance: for heads with rotary positions, how many tokens lie from one to the other. With other positions
                it has no effect, and only the default is taken.
            progress: for heads, whether there is a bar; None: on a terminal or in a notebook.

        Returns:
            The n highest, then the n lowest: token, token_id, value. Of a gated neuron also `up`, what the activated
            gate is multiplied by. Of an expert's neuron the value is what it would be if the token were sent to its
            expert, and `router_weight` is the router's weight of that expert, 0 where the token is not sent to it. Of a
            head query, query_id, key, key_id, value, and `attrs["distance"]` (None where it has no effect).

        Raises:
            NotAtHandError: the component has no model, or a latent no autoencoder.
            NonFiniteTensorError: what it reads or writes is infinite or NaN.
            InvalidRequestError: `n` or `distance` is out of range, or `distance` has no effect on this head.
        """
        if self.kind is NodeKind.HEAD:
            from neuron_explainer.components.heads.pairs import pairs_read

            return pairs_read(self, n, tokens, distance, progress)
        from neuron_explainer.components.vocabulary.read import tokens_read

        return tokens_read(self, n)

    @property
    def copying_score(self) -> float:
        """Of a head: whether it raises the tokens that it attends to, from 1 (eigenvalues of OV all positive) to −1.

        The sum of the eigenvalues of the d_head × d_head circuit over the sum of their absolute values (Elhage et al.
        2021).

        Raises:
            NotAtHandError: the component has no model.
            InvalidRequestError: it is not a head.
            NonFiniteTensorError: its circuit is infinite or NaN.
        """
        from neuron_explainer.components.heads.copying import copying_of_head

        return copying_of_head(self)

    def neighbours(
        self,
        n: SupportsIndex = 10,
        by: NeighboursBy = "write",
        *,
        among: Among | None = None,
        layers: LayersGiven = None,
        texts: TextsGiven | None = None,
        progress: bool | None = None,
    ) -> pandas.DataFrame:
        """The components most like it, in all layers.

        Args:
            n: how many.
            by: "write" and "read": the cosine of the directions that they write or read in the residual stream (of
                heads, of their OV or QK matrices); "activation": the correlation of their activations on texts.
            among: the kind of component; None: its own. Neurons and latents may be neighbours of each other.
            layers: the layers that are searched; None: all.
            texts: for "activation", the texts. None: sequences that the packed dataset stores, as it stores them.
            progress: for "activation", whether there is a bar; None: on a terminal or in a notebook.

        Returns:
            A row for each, the most alike first: name, layer, component, and cosine or correlation. What has no
            direction, or is constant on the texts, is left out. By "write", a latent of neurons' activations has a
            column decoder_weight among neurons: what its decoder gives each neuron of its layer.

        Raises:
            NotAtHandError: the component has no model, no autoencoder, or no texts.
            UnknownNameError: `by` or `among` is unknown.
            NonFiniteTensorError: what a component reads or writes is infinite or NaN.
            InvalidRequestError: the two kinds cannot be compared, a latent has no such direction, a layer is out of
                range, or texts are given for directions.
        """
        from neuron_explainer.components.neighbours.asking import neighbours_of

        return neighbours_of(self, n, by, among=among, layers=layers, texts=texts, progress=progress)

    def __repr__(self) -> str:
        has = [
            "model" if self.at_hand.has_model else "",
            f"dataset {self.at_hand.dataset!r}" if self.at_hand.dataset else "",
        ]
        return f"<Component {self.name}: {self.kind.meaning}, {self.dst.value}; {', '.join(filter(None, has))}>"

    def to_html(self) -> str:
        """Its page as static HTML: what is at hand of record, writes, reads, neighbours, statistics, explanations."""
        from neuron_explainer.views.components.page import component_html

        return component_html(self)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write its page to a file of its own, which needs no network and runs no script.

        >>> import neuron_explainer as ne
        >>> ne.component("tiny", "L2N5").save_html("L2N5.html")
        """
        from neuron_explainer.storage.atomic import write_bytes_atomically
        from neuron_explainer.storage.locations import local_path
        from neuron_explainer.views.document import html_document

        write_bytes_atomically(local_path("path", path), html_document(self.to_html(), f"{self.name}").encode())

    def _repr_html_(self) -> str:
        return self.to_html()
