"""What an answer knows of one node: its numbers, its component over the prompt, and what its write does to logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName, parse_node
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    MisconfiguredError,
    NeuronExplainerError,
    NodeNameError,
    UnknownNameError,
    shown,
)
from neuron_explainer.views.attribution.cells import (
    frame_html,
    is_missing,
    node_mark,
    section,
    side_by_side,
    signed,
    token_cell,
    token_mark,
)
from neuron_explainer.views.attribution.node_tables import effect_scales
from neuron_explainer.views.attribution.pattern import in_pass, of_pass, pattern_content
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import format_value, heatmap_text, legend
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas

    from neuron_explainer.attribution.attribution import Attribution

_COLUMNS = ("activation", "write_norm", "direct_effect", "total_effect")
_LAYER_COLUMNS = {NodeKind.ATTENTION: ("attention_from", "attention_to"), NodeKind.MLP: ("mlp",)}
_N_PLACES, _N_WRITTEN, _N_TOKENS = 5, 8, 200
_SMALL = f"color:{MUTED};font-size:12px"


def node_html(
    why: Attribution,
    node: str,
    verified: pandas.DataFrame | None = None,
    *,
    skip_first: bool = False,
    answer: str | None = None,
) -> str:
    """One node of an answer as static HTML.

    It shows the node's name in words and its numbers, here or where they are largest; its component's activations over
    the prompt, or a head's pattern; the tokens whose logits its write raises and lowers most; and what was verified.

    Args:
        why: the answer.
        node: its name: a head, neuron, latent, embedding, or a layer's MLP or attention; with or without a token.
        verified: a table of `verify`; its rows of this node are shown.
        skip_first: a head's pattern without attention to the first token.
        answer: of answers of several tokens, the one in whose pass the node is; None: the first whose prompt has it.

    Raises:
        NodeNameError: the name cannot be read, or the prompt has no such token.
        IndexOutOfRangeError: the prompt has no such position.
        InvalidRequestError: there is no such node in this answer.
        UnknownNameError: `answer` is none of the answers.
    """
    name, number = _read(why, node, answer)
    parts = [
        _heading(why, name, number),
        _numbers(why, name, number),
        _verified(name, verified),
        _over_prompt(why, name, number, skip_first),
        _writes(why, name, number),
    ]
    return card("".join(parts), "ne-node")


def _read(why: Attribution, node: str, answer: str | None) -> tuple[NodeName, int]:
    """The node's name, its tokens as positions, and the number of the pass that it is in."""
    passes = [number for number, asked in enumerate(why.inquiry.passes) if answer in (None, asked.answer)]
    wrong: NeuronExplainerError | None = None
    for number in passes:
        try:
            return parse_node(node, tokens=why.effects[number].prompt.token_strings), number
        except (NodeNameError, IndexOutOfRangeError) as error:
            wrong = error if wrong is None else wrong
    answers = list(dict.fromkeys(str(asked.answer) for asked in why.inquiry.passes))
    raise wrong or UnknownNameError("answer", shown(answer), answers)


def _heading(why: Attribution, name: NodeName, number: int) -> str:
    marked = f'<b {node_mark(str(name))} style="font-size:16px">{escaped(str(name))}</b>'
    words = [_in_words(name, why.effects[number].prompt.token_strings), escaped(of_pass(why, number))]
    said = ", ".join(filter(None, words))
    return f'<div role="heading" aria-level="3">{marked} {said}</div>'


def _in_words(name: NodeName, tokens: Sequence[str]) -> str:
    """ "attention head 3 of layer 2 at ·unto (5), attending to ·the (1)"; HTML."""
    article, _, what = name.kind.meaning.partition(" ")
    if name.kind in COMPONENTS:
        what = f"{what} {name.component}"
    elif article == "a":  # "a layer's MLP"
        what = what.removeprefix("layer's ")
    words = escaped(what if name.layer is None else f"{what} of layer {name.layer}")
    token, attended_to = name.token_index, name.attended_to_index
    if token is not None:
        words += f" at {token_cell(tokens[token])} ({token})"
    if attended_to is not None:
        words += f", attending to {token_cell(tokens[attended_to])} ({attended_to})"
    return words


def _numbers(why: Attribution, name: NodeName, number: int) -> str:
    """The node's numbers; of several nodes, those with the largest effects."""
    if name.kind in _LAYER_COLUMNS:
        return _numbers_of_layer(why, name, number)
    frame = why.nodes(_N_PLACES, ("total_effect", "direct_effect", "activation"), names=str(name))
    frame = _of_pass(why, frame, number).head(_N_PLACES)
    if not len(frame):
        return f'<div style="{_SMALL}">All its numbers are 0.</div>'
    if len(frame) > 1 or frame["name"].iloc[0] != str(name):
        return section("Where it matters most", frame_html(frame, effect_scales(frame)), space=10)
    row = frame.iloc[0]
    return _named_numbers({column.replace("_", " "): row[column] for column in _COLUMNS if not is_missing(row[column])})


def _of_pass(why: Attribution, frame: pandas.DataFrame, number: int) -> pandas.DataFrame:
    """A table's rows of one pass."""
    return frame[frame["answer"] == why.inquiry.passes[number].answer] if "answer" in frame.columns else frame


def _numbers_of_layer(why: Attribution, name: NodeName, number: int) -> str:
    """Total effects of a layer's attention or MLPs, at its token or summed over all."""
    frame = _of_pass(why, why.tokens(by_layer=True), number)
    own = frame[frame["layer"] == name.layer]
    if name.token_index is not None:
        own = own[own["position"] == name.token_index]
    if not len(own):
        raise InvalidRequestError(f"{name} is not among the parts of this answer.")
    label = "total effect of its neurons" if name.kind is NodeKind.MLP else "total effect of {}"
    named = {label.format(column.replace("_", " ")): float(own[column].sum()) for column in _LAYER_COLUMNS[name.kind]}
    return _named_numbers(named)


def _named_numbers(numbers: Mapping[str, float]) -> str:
    cells = "".join(
        f'<span style="padding-right:18px;white-space:nowrap"><span style="{_SMALL}">{escaped(label)}</span> '
        f"<b>{signed(number) if 'effect' in label else format_value(number)}</b></span> "
        for label, number in numbers.items()
    )
    return f'<div class="ne-numbers" style="display:flex;flex-wrap:wrap;margin:4px 0">{cells}</div>'


def _verified(name: NodeName, verified: pandas.DataFrame | None) -> str:
    """The estimate beside the measured change, if this node was verified."""
    if verified is None:
        return ""
    own = verified[verified["name"] == str(name)]
    ranks = [column for column in own.columns if column.endswith("_rank")]
    table = frame_html(own.drop(columns=ranks), effect_scales(verified, ["estimate", "measured"]))
    return section("Verified", table, "the estimated effect, and what the node's removal really takes away", space=10)


def _over_prompt(why: Attribution, name: NodeName, number: int, skip_first: bool) -> str:
    if name.kind is NodeKind.HEAD:
        return pattern_content(why, str(name), skip_first, number, space=14)
    if name.kind not in COMPONENTS:
        return ""
    frame = why.activations_of(in_pass(why, name, number))
    return section(f"{name.component_name} over the prompt", _strips(frame), space=14)


def _strips(frame: pandas.DataFrame) -> str:
    strips = []
    for column in ("activation", "total_effect"):
        values = frame[column].tolist()
        scale = ColourScale.of(values)
        text = heatmap_text(frame["token"].tolist(), values, scale, _N_TOKENS, token_mark)
        strips.append(f'<div style="margin-top:6px">{legend(scale, note=column.replace("_", " "))}{text}</div>')
    return "".join(strips)


def _writes(why: Attribution, name: NodeName, number: int) -> str:
    """The tokens that its write raises and lowers most; why there are none, where it has no single write."""
    title = "What it writes"
    try:
        frame = why.writes(in_pass(why, name, number), _N_WRITTEN)
    except (InvalidRequestError, MisconfiguredError) as error:
        return section(title, f'<div style="{_SMALL}">{escaped(str(error))}</div>', space=14)
    if not frame["logit"].any():
        return section(
            title, f'<div style="{_SMALL}">Nothing here: its activation is 0, or was overwritten.</div>', space=14
        )
    scale = ColourScale.of(frame["logit"])
    half = len(frame) // 2
    raised, lowered = frame.iloc[:half], frame.iloc[half:].iloc[::-1]
    tables = [
        f'<div style="{_SMALL};margin-top:4px">{label}</div>{frame_html(each, {"logit": scale}, ["token", "logit"])}'
        for label, each in (("raises most", raised), ("lowers most", lowered))
    ]
    where = frame.attrs.get("node", str(name))
    note = f"logits that {where} writes at its own token, minus their mean; scales of norms held constant"
    return section(title, side_by_side(*tables), note, space=14)
