"""A component as people write it: `L5N131`, `5:131`, "layer 5 neuron 131", a number, or a pasted link."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from neuron_explainer.activations.derived_scalars.names.fields import NodeFields
from neuron_explainer.activations.derived_scalars.names.grammar import read_name
from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind
from neuron_explainer.activations.neuron_ids import MAX_INDEX
from neuron_explainer.components.pasted_links import PastedLink, is_link, read_link
from neuron_explainer.errors import NodeNameError, shown
from neuron_explainer.vocabulary.checks import checked_text
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

FORMS = (
    'Write "L5N131", "5:131", "layer 5 neuron 131" or the number of a component in the present layer, or paste the '
    "address of a record or a link to Neuronpedia."
)
_LONGEST = 2000
_LONGEST_WORDS = 200

_KIND_OF_WORD = {
    "neuron": NodeKind.NEURON,
    "n": NodeKind.NEURON,
    "head": NodeKind.HEAD,
    "h": NodeKind.HEAD,
    "latent": NodeKind.LATENT,
    "feature": NodeKind.LATENT,
    "a": NodeKind.LATENT,
    "component": None,
    "unit": None,
}
_AUTOENCODER_OF_WORD: dict[str, Literal["mlp", "attn"]] = {"mlp": "mlp", "attention": "attn", "attn": "attn"}
_LAYER_WORDS = frozenset({"layer", "l", "block"})
_FILLERS = frozenset({"of", "in", "the", "at", "and", "no", "nr", "number", "index", "sae", "autoencoder"})
_PIECE = re.compile(r"\d+\s*[:/]\s*\d+|\d+\.\d+|\d+|[a-z]+|[^\s\w,;.#=()]|\w", re.ASCII)
_LIKE_THOUSANDS = re.compile(r"\d{1,3},\d{3}", re.ASCII)


@dataclass(frozen=True)
class TypedName:
    """What a person typed.

    Attributes:
        layer: the layer; None: the present one.
        index: the neuron, head or latent in the layer.
        kind: which of these; None: whatever the present records are of.
        autoencoder: for a latent, the autoencoder, where a layer has two.
        dataset: for a link, the dataset that it is of: a registered short name, an address or a folder.
        dst: for a link into a registered dataset, the derived scalar type of its records.
    """

    layer: int | None
    index: int
    kind: NodeKind | None = None
    autoencoder: Literal["mlp", "attn"] | None = None
    dataset: str | None = None
    dst: DerivedScalarType | None = None


def read_typed(text: str) -> TypedName:
    """Read a component as people write it.

    Args:
        text: a name (`L5N131`, `L3H2`, `L5A102/mlp`), a pair (`5:131`), words ("layer 5, neuron 131", "head 3 of layer
            5"), a number, the address of a record or of explanations, or a link to Neuronpedia. Case and spaces do not
            matter.

    Raises:
        NodeNameError: it is none of these, or has several readings; the error shows what is understood.
        InvalidRequestError: `text` is not a text.

    >>> read_typed("Layer 5, neuron 131") == read_typed("L5N131")
    True
    >>> read_typed("https://www.neuronpedia.org/gpt2-small/5-res-jb/131").dataset
    'gpt2-small/5-res-jb'
    """
    checked_text("text", text)
    stripped = text.strip()
    if not stripped or len(stripped) > _LONGEST:
        raise _unreadable(text)
    if is_link(stripped):
        return _checked(text, _of_link(text, read_link(stripped)))
    try:
        node = NodeFields(**read_name(stripped).fields)
    except NodeNameError as error:
        typed = _of_words(stripped) if len(stripped) <= _LONGEST_WORDS else None
        if typed is None:
            raise _unreadable(text) from error
        return _checked(text, typed)
    if node.kind not in COMPONENTS or node.layer is None or not isinstance(node.component, int):
        raise NodeNameError.saying(
            f"{shown(text)} names {node.kind.meaning}, not one head, neuron or latent. {FORMS}", text, ["L5N131"]
        )
    return _checked(text, TypedName(node.layer, node.component, node.kind, node.autoencoder))


def _of_link(text: str, link: PastedLink | None) -> TypedName:
    if link is None:
        raise NodeNameError.saying(
            f"{shown(text, 200)} is not an address that is understood. Paste one like "
            "https://host/data/5/131.json or https://www.neuronpedia.org/gpt2-small/5-res-jb/131, or write L5N131.",
            text,
            ["L5N131"],
        )
    return TypedName(link.layer, link.index, link.kind, None, link.dataset, link.dst)


def _of_words(text: str) -> TypedName | None:
    """What words and numbers say; None if they say no component."""
    if _LIKE_THOUSANDS.fullmatch(text):
        one, two = text.split(",")
        readings = [f"{int(one)}:{int(two)}", f"{one}{two}"]
        raise NodeNameError.saying(
            f"{shown(text)} can be read as component {int(two)} of layer {int(one)}, which is written {readings[0]}, "
            f"or as component {readings[1]} of the present layer. Write one of these.",
            text,
            readings,
        )
    said = _Said()
    for piece in _PIECE.findall(text.lower()):
        if not said.takes(piece):
            return None
    return said.result()


class _Said:
    """What the pieces of a text have said so far."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # by what they are of: "layer", "component"
        self._bare: list[int] = []
        self._kinds: set[NodeKind] = set()
        self._autoencoders: set[Literal["mlp", "attn"]] = set()
        self._awaited: str | None = None  # what the next number is of

    def takes(self, piece: str) -> bool:
        """Take the next piece. Whether it makes sense."""
        if "." in piece:  # a decimal number is neither a pair nor a component
            return False
        if piece[0] in "0123456789":
            return self._takes_number(piece)
        word = piece if piece in _LAYER_WORDS or piece in _KIND_OF_WORD else piece.removesuffix("s")
        if word in _LAYER_WORDS or word in _KIND_OF_WORD:
            if self._awaited is not None:
                return False
            self._awaited = "layer" if word in _LAYER_WORDS else "component"
            kind = _KIND_OF_WORD.get(word)
            self._kinds |= set() if kind is None else {kind}
            return True
        if piece in _AUTOENCODER_OF_WORD:
            self._autoencoders.add(_AUTOENCODER_OF_WORD[piece])
            return True
        return piece in _FILLERS

    def _takes_number(self, piece: str) -> bool:
        numbers = [int(each) if len(each) < 12 else MAX_INDEX + 1 for each in re.findall(r"\d+", piece, re.ASCII)]
        if len(numbers) == 2:
            if self._awaited == "layer" or self._numbers or self._bare:
                return False
            self._numbers = {"layer": numbers[0], "component": numbers[1]}
        elif self._awaited is None:
            self._bare += numbers
        elif self._awaited in self._numbers:
            return False
        else:
            self._numbers[self._awaited] = numbers[0]
        self._awaited = None
        return True

    def result(self) -> TypedName | None:
        """The component; None if something is missing, too much, or contradicts."""
        layer, index, bare = self._numbers.get("layer"), self._numbers.get("component"), self._bare
        if index is None:
            if layer is None and len(bare) == 2:
                layer = bare.pop(0)
            index = bare.pop(0) if bare else None
        if index is None or bare or self._awaited is not None or len(self._kinds) > 1 or len(self._autoencoders) > 1:
            return None
        kind, autoencoder = next(iter(self._kinds), None), next(iter(self._autoencoders), None)
        if (kind, autoencoder) in ((NodeKind.NEURON, "attn"), (NodeKind.HEAD, "mlp")):
            return None
        return TypedName(layer, index, kind, autoencoder if kind is NodeKind.LATENT else None)


def _checked(text: str, typed: TypedName) -> TypedName:
    if max(typed.layer or 0, typed.index) > MAX_INDEX:
        raise NodeNameError.saying(f"{shown(text)} has a number above {MAX_INDEX:,}. {FORMS}", text, ["L5N131"])
    return typed


def _unreadable(text: str) -> NodeNameError:
    return NodeNameError.saying(f"{shown(text)} is not understood. {FORMS}", text, ["L5N131"])
