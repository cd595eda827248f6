r"""The text of a name, read: `L23H3@14<-1`, `L5A102/mlp@' Mary'`, `23:3` where the kind is known.

A name is a component (`L23H3`), then if wanted its autoencoder or part (`/mlp`, `/q`), a channel (`.12`), a token
(`@7`, `@' Mary'`) and the token attended to (`<-3`). After a position its text may stand, for readers: `@7 ' Mary'`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from neuron_explainer.activations.derived_scalars.names.fields import NodeFields
from neuron_explainer.activations.derived_scalars.names.former_spelling import former_fields
from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind
from neuron_explainer.activations.derived_scalars.names.token_texts import QUOTED, unescaped
from neuron_explainer.errors import InvalidIndexError, NodeNameError, nearest_first
from neuron_explainer.wording import N_NEAREST, shown

_N = r"\d{1,18}"
_LAYERED = rf"L(?P<layer>{_N})(?:(?P<letter>[HNA])(?P<component>{_N}|\*)|(?P<word>MLP|ATTN|RESID|MID|START|ERR))?"
_PAIR = rf"(?P<pair_layer>{_N}):(?P<pair_component>{_N})"
_WITHOUT_LAYER = rf"V(?P<vocab>{_N}|\*)|(?P<model_word>EMB|FINAL|MODEL)"
_SUFFIXES = rf"(?:/(?P<autoencoder>mlp|attn)|/(?P<part>qk|q|k|v))?(?:/h(?P<head>{_N}))?(?:\.(?P<channel>{_N}|\*))?"


def _token(name: str) -> str:
    return rf"(?:(?P<{name}>-?{_N})(?:\s*(?P<{name}_said>{QUOTED}))?|(?P<{name}_text>{QUOTED}))"


_NAME = re.compile(
    rf"(?:{_LAYERED}|{_PAIR}|{_WITHOUT_LAYER}){_SUFFIXES}"
    rf"\s*(?:@\s*{_token('token')})?\s*(?:(?:<-|←)\s*{_token('attended_to')})?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_KIND_OF_SYMBOL = {kind.symbol: kind for kind in NodeKind}
_FORMS = (
    "Write L23H3 (head), L26N1262 (neuron), L5A102 (latent; L5A102/mlp or /attn where a layer has two autoencoders), "
    "L5MLP, L5ATTN, L5RESID, EMB or V1234 (vocabulary token), then @7 or @' Mary' for a token, <-3 for the token "
    "attended to."
)


@dataclass(frozen=True)
class ReadName:
    """The parts of a name that was read.

    Attributes:
        fields: the arguments of NodeFields.
        said: the texts that stand after positions, by the field of the position.
    """

    fields: dict[str, Any]
    said: dict[str, str] = field(default_factory=dict)


def read_name(text: str, kind: NodeKind | None = None, kind_of_pair: NodeKind | None = None) -> ReadName:
    """Read a name.

    Args:
        text: the name, in this spelling in any case, or in the former one.
        kind: the kind that the node must have, if it is known.
        kind_of_pair: the kind of a node written as `23:3`, if another kind of node may also be written.

    Raises:
        NodeNameError: it is not a node's name, is that of another kind of node, or has several readings.
    """
    stripped = text.strip()
    read = _read(stripped, kind or kind_of_pair)
    try:
        node = NodeFields(**read.fields)
    except InvalidIndexError as error:
        raise NodeNameError.saying(f"{shown(text)} is not a node's name: {error}", text) from None
    if kind is not None and node.kind is not kind:
        raise NodeNameError.saying(
            f"{shown(text)} names {node.kind.meaning}, but {kind.meaning} is asked for, such as {kind.example}.",
            text,
            [kind.example],
        )
    return read


def _read(text: str, kind: NodeKind | None) -> ReadName:
    found = _NAME.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        former = former_fields(text) if len(text) <= _LONGEST else None
        if former is None:
            raise _unreadable(text)
        return ReadName(former)
    parts = found.groupdict()
    fields: dict[str, Any] = {
        "channel": _number_or_all(parts["channel"]),
        "autoencoder": _lower(parts["autoencoder"]),
        "part": _lower(parts["part"]),
        "head": _number_or_all(parts["head"]),
    }
    if parts["pair_layer"] is not None:
        layer, component = int(parts["pair_layer"]), int(parts["pair_component"])
        if kind not in COMPONENTS:
            raise _several_readings(text, layer, component) if kind is None else _unreadable(text)
        fields |= {"kind": kind, "layer": layer, "component": component}
    elif parts["vocab"] is not None:
        fields |= {"kind": NodeKind.VOCAB, "component": _number_or_all(parts["vocab"])}
    else:
        symbol = parts["letter"] or parts["word"] or parts["model_word"] or ""
        layer_text = parts["layer"]
        fields |= {
            "kind": _KIND_OF_SYMBOL[symbol.upper()],
            "layer": None if layer_text is None else int(layer_text),
            "component": _number_or_all(parts["component"]),
        }
    said = {}
    for name in ("token", "attended_to"):
        position, quoted, beside = parts[name], parts[f"{name}_text"], parts[f"{name}_said"]
        fields[name] = int(position) if position is not None else _unquoted(quoted)
        if beside is not None:
            said[name] = unescaped(beside[1:-1])
    return ReadName(fields, said)


_LONGEST = 2000  # tokens' texts included


def _number_or_all(text: str | None) -> Any:
    return "All" if text == "*" else None if text is None else int(text)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _unquoted(quoted: str | None) -> str | None:
    return None if quoted is None else unescaped(quoted[1:-1])


def _several_readings(text: str, layer: int, component: int) -> NodeNameError:
    readings = [str(NodeFields(kind, layer, component)) for kind in COMPONENTS]
    said = [f"{name} ({kind.meaning})" for name, kind in zip(readings, COMPONENTS, strict=True)]
    return NodeNameError.saying(
        f"{shown(text)} can be read as {', '.join(said[:-1])} or {said[-1]}. Write one of these.", text, readings
    )


def _unreadable(text: str) -> NodeNameError:
    nearest = nearest_first(text[:100], _alike(text))[:N_NEAREST]
    return NodeNameError.saying(
        f"{shown(text)} is not a node's name. Did you mean: {', '.join(nearest)}? {_FORMS}", text, nearest
    )


def _alike(text: str) -> Sequence[str]:
    """Names with the numbers of the text."""
    numbers = [int(number) for number in re.findall(r"\d{1,9}", text[:100], re.ASCII)[:2]]
    if not numbers:
        return [kind.example for kind in (*COMPONENTS, NodeKind.MLP, NodeKind.EMBEDDING)]
    layer = numbers[0]
    kinds = (NodeKind.MLP, NodeKind.ATTENTION, NodeKind.RESIDUAL)
    names = [str(NodeFields(kind, layer)) for kind in kinds]
    return [*(str(NodeFields(kind, layer, component)) for component in numbers[1:] for kind in COMPONENTS), *names]
