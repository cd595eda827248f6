"""`ne.search`: which components fire on a text, most or against their own habit, or are explained by its words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from neuron_explainer.activation_server.dataset_paths import dataset_text, type_of_dataset
from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, kind_of_node_type
from neuron_explainer.collation.settings import check_choice
from neuron_explainer.components.asking import config_given, model_and_dataset_given, size_of_dataset
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, choices_sentence, shown
from neuron_explainer.storage.locations import path_text, without_secrets
from neuron_explainer.vocabulary.checks import (
    LayersGiven,
    checked_layer,
    checked_layers,
    checked_number,
    checked_text,
    whole_number,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.wording import nearest_first

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
    from neuron_explainer.attribution.question.settings import AutoencodersGiven
    from neuron_explainer.collation.corpus.texts import TextsGiven

SearchKind = Literal["most", "selective", "explanation"]


def search(
    source: ConfigOrModel | str | os.PathLike[str],
    text: str,
    token: str | SupportsIndex | None = None,
    kind: SearchKind = "most",
    *,
    n: SupportsIndex = 20,
    dst: DerivedScalarType | str | None = None,
    layers: LayersGiven = None,
    model: ConfigOrModel | str | os.PathLike[str] | None = None,
    autoencoders: AutoencodersGiven = None,
    reference: TextsGiven | None = None,
    explanations: str | os.PathLike[str] | None = None,
    prepend_bos: bool | None = None,
    progress: bool | None = None,
) -> pandas.DataFrame:
    """Which components fire on a text or token, among all of them.

    In a dataset, the stored examples in which the text occurs are looked at, through an index that is made once and
    kept beside the dataset. In a model, one pass over the text. The beginning-of-sequence token never counts.

    Args:
        source: a dataset or a model, as for `ne.component`. With a dataset and `model=`, the model gives the
            activations and the dataset the habits.
        text: the text. In a dataset it is found where it begins and ends at the edge of a word or token. For
            "explanation", words that all occur in an explanation, in upper or lower case.
        token: the token of the text at which activations are read: its text, or its position in the text, from the end
            if it is negative. None: any token of the text.
        kind: "most": the largest activation. "selective": the largest distance from the component's own mean, in its
            own standard deviations. "explanation": by explanations.
        n: how many components.
        dst: the derived scalar; None: the dataset's, or else neurons' activations (MLP_POST_ACT). Of scalars by pair
            of tokens, the token is the one that attends.
        layers: the layers that are searched; None: all.
        model: a model beside a dataset.
        autoencoders: of latents.
        reference: for "selective" in a model, texts that show the habits; None: those of the dataset, or else the other
            tokens of the text, at least 8.
        explanations: for "explanation", the local folder of published explanations; None: those of the dataset. One's
            own are searched as well.
        prepend_bos: whether texts begin with the beginning-of-sequence token; None: as the model's tokenizer does.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        The highest score first: name, layer, component, activation, score (the activation; for "selective" the
        distance), token, position; of stored examples also example, a piece of the text, and n_hits, in how many places
        the component's examples have the token. Of "explanation" the columns are name, layer, component, explanation,
        score, source. `attrs` says what was searched.

    Raises:
        UnknownNameError: `kind` is unknown.
        InvalidRequestError: the text is empty or lacks the token, a dataset is at an address or made of JSON files, or
            the text has too few other tokens to show habits; or no explanations are known, or they are at an address;
            or an argument has no effect on this kind of search, a layer is out of range, or `dst` is not of neurons,
            heads or latents.
        NotAtHandError: something is given that needs a model.
        MalformedDatasetError: a file of the dataset is invalid, or the folder is not a dataset.
        NonFiniteActivationError: an activation is infinite or not a number.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> ne.search(model, "And the LORD said unto Moses", " LORD", n=3)["token"].tolist()
    [' LORD', ' LORD', ' LORD']
    """
    check_choice("kind", kind, SearchKind)
    if not checked_text("text", text):
        raise InvalidRequestError("text is empty. Give a text of at least one character.")
    number = checked_number("n", n)
    if token is not None and not isinstance(token, str) and whole_number(token) is None:
        raise InvalidRequestError(f"token is {shown(token)}. Give a token's text, a position, or None.")
    place = token if token is None or isinstance(token, str) else whole_number(token)
    chosen = None if layers is None else sorted(checked_layers("layers", layers))
    model, dataset = model_and_dataset_given(source, model, None)
    name = None if dataset is None else dataset_text(dataset)
    if kind == "explanation":
        from neuron_explainer.components.search.explained import search_explanations

        if token is not None:
            raise InvalidRequestError('token is for kind="most" or "selective". Leave it out.')
        without_effect = {
            "autoencoders": autoencoders,
            "reference": reference,
            "prepend_bos": prepend_bos,
            "model": model if name is not None else None,
        }
        for argument, given in without_effect.items():
            if given is not None:
                raise InvalidRequestError(f'{argument} has no effect on kind="explanation". Leave it out.')
        scalar_type = _scalar_of(name, dst)
        if name is None:
            context = config_given(model, None).get_model_context()
            subject, n_layers = context.model_name, context.n_layers
        else:
            subject, known = name, size_of_dataset(name, scalar_type)[0]
            n_layers = max(chosen or [0]) + 1 if known is None else known
        if chosen is not None:
            for layer in chosen:
                checked_layer(layer, n_layers, without_secrets(subject))
        folder = None if explanations is None else path_text(explanations)
        return search_explanations(subject, scalar_type, text, number, chosen, folder, progress, is_model=name is None)
    if explanations is not None:
        raise InvalidRequestError('explanations are for kind="explanation". Give that kind, or leave them out.')
    if model is not None:
        if reference is not None and kind != "selective":
            raise InvalidRequestError('reference is for kind="selective". Leave it out.')
        return _live(
            model, name, text, place, kind, number, dst, chosen, autoencoders, reference, prepend_bos, progress
        )
    for argument, given in (("autoencoders", autoencoders), ("reference", reference), ("prepend_bos", prepend_bos)):
        if given is not None:
            raise NotAtHandError(f"search(…, {argument}=…)", "model", "a model", "pass model=")
    from neuron_explainer.components.search.stored import search_stored

    assert name is not None
    scalar_type = type_of_dataset(name, dst)
    return search_stored(name, scalar_type, text, place, kind == "selective", number, chosen, progress)


def _live(
    model: Any,
    dataset: str | None,
    text: str,
    token: str | int | None,
    kind: str,
    n: int,
    dst: DerivedScalarType | str | None,
    layers: list[int] | None,
    autoencoders: AutoencodersGiven,
    reference: TextsGiven | None,
    prepend_bos: bool | None,
    progress: bool | None,
) -> pandas.DataFrame:
    from neuron_explainer.components.search.live import LiveSearch, search_live

    scalar_type = _scalar_of(dataset, dst)
    _check_of_components(scalar_type)
    config = config_given(model, autoencoders)
    asked = LiveSearch(
        config, scalar_type, layers, token, kind == "selective", dataset, reference, prepend_bos, progress
    )
    return search_live(asked, text, n)


def _check_of_components(dst: DerivedScalarType) -> None:
    """Refuse a scalar whose numbers are not of neurons, heads or latents."""
    if kind_of_node_type(dst.node_type) in COMPONENTS:
        return
    choices = [each.value for each in DerivedScalarType if kind_of_node_type(each.node_type) in COMPONENTS]
    raise InvalidRequestError(
        f"{dst.value} is not of neurons, heads or latents, and a search is for them. "
        f"{choices_sentence(nearest_first(dst.value, choices))}"
    )


def _scalar_of(dataset: str | None, dst: DerivedScalarType | str | None) -> DerivedScalarType:
    if dst is not None:
        return derived_scalar_type_of(dst)
    return DerivedScalarType.MLP_POST_ACT if dataset is None else type_of_dataset(dataset, None)
