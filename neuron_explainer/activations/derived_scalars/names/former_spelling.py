"""Names as this library printed them first: `MLP 3:17 at " the"`, `head 5:1 from " it" to " cat"`, `MLP layer 3`."""

import re
from typing import Any

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.token_texts import unescaped

_NUMBERED: dict[str, dict[str, Any]] = {
    "head": {"kind": NodeKind.HEAD},
    "mlp": {"kind": NodeKind.NEURON},
    "latent": {"kind": NodeKind.LATENT},
    "mlp latent": {"kind": NodeKind.LATENT, "autoencoder": "mlp"},
    "attention latent": {"kind": NodeKind.LATENT, "autoencoder": "attn"},
}
_VECTORS: dict[str, dict[str, Any]] = {  # whose numbers are channels
    "autoencoder error": {"kind": NodeKind.ERROR},
    "mlp autoencoder error": {"kind": NodeKind.ERROR, "autoencoder": "mlp"},
    "attention autoencoder error": {"kind": NodeKind.ERROR, "autoencoder": "attn"},
    "channel": {"kind": NodeKind.LAYER},
}
_OF_LAYERS: dict[str, dict[str, Any]] = {
    "attention layer": {"kind": NodeKind.ATTENTION},
    "mlp layer": {"kind": NodeKind.MLP},
    "residual stream after attention": {"kind": NodeKind.MIDDLE},
    "residual stream after mlp": {"kind": NodeKind.RESIDUAL},
    "layer": {"kind": NodeKind.LAYER},
}
_N = r"\d{1,18}"
_ENTRY = rf"{_N}|all"


def _one_of(words: dict[str, dict[str, Any]]) -> str:
    return "|".join(words)


_FORMER = re.compile(
    rf"(?:(?P<numbered>{_one_of(_NUMBERED)}) (?P<layer>{_N}):(?P<component>{_ENTRY})(?: channel (?P<channel>{_ENTRY}))?"
    rf"|(?P<vector>{_one_of(_VECTORS)}) (?P<vector_layer>{_N}):(?P<number>{_ENTRY})"
    rf"|(?P<of_layer>{_one_of(_OF_LAYERS)}) (?P<its_layer>{_N})"
    rf"|vocabulary token (?P<vocab>{_ENTRY})|channel (?P<embedding_channel>{_ENTRY})|(?P<word>embedding|layer))"
    r'(?: (?:at|of) (?:"(?P<token>.*)"|all tokens)'
    r'| from (?:"(?P<source>.*?)"|all tokens) to (?:"(?P<target>.*)"|all tokens))?',
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def former_fields(text: str) -> dict[str, Any] | None:
    """The parts of a name in the former spelling; None if it is not one.

    >>> former_fields('MLP 3:17 at " the"')["token"]
    ' the'
    """
    found = _FORMER.fullmatch(text)
    if found is None:
        return None
    token = found["token"] if found["source"] is None else found["source"]
    return {**_component(found), "token": _text(token), "attended_to": _text(found["target"])}


def _component(found: re.Match[str]) -> dict[str, Any]:
    if found["numbered"]:
        place = {"layer": int(found["layer"]), "component": _entry(found["component"])}
        return {**_NUMBERED[found["numbered"].lower()], **place, "channel": _entry(found["channel"])}
    if found["vector"]:
        place = {"layer": int(found["vector_layer"]), "channel": _entry(found["number"])}
        return {**_VECTORS[found["vector"].lower()], **place}
    if found["of_layer"]:
        return {**_OF_LAYERS[found["of_layer"].lower()], "layer": int(found["its_layer"])}
    if found["vocab"]:
        return {"kind": NodeKind.VOCAB, "component": _entry(found["vocab"])}
    if found["embedding_channel"]:
        return {"kind": NodeKind.EMBEDDING, "channel": _entry(found["embedding_channel"])}
    return {"kind": NodeKind.EMBEDDING if found["word"].lower() == "embedding" else NodeKind.MODEL}


def _entry(text: str | None) -> Any:
    return None if text is None else "All" if text.lower() == "all" else int(text)


def _text(quoted: str | None) -> str | None:
    return None if quoted is None else unescaped(quoted)
