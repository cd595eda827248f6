"""Ask upstream of a node."""

from __future__ import annotations

from dataclasses import replace

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.requests import parse_requests
from neuron_explainer.activations.derived_scalars.indexing import AttentionTraceType
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.answering import AnswerT, answer
from neuron_explainer.attribution.computing.attention_parts import summed_by
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.computing.rows import before_post_norm
from neuron_explainer.attribution.nodes_given import NodeOrRow, pass_of_row
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.question.question import Question
from neuron_explainer.attribution.single_nodes.given import component_given
from neuron_explainer.attribution.single_nodes.places import at_one_place
from neuron_explainer.attribution.tracing.inquiry import TraceInquiry
from neuron_explainer.attribution.tracing.of_heads import AttentionLogitTrace, ValueTrace
from neuron_explainer.attribution.tracing.of_neurons import LatentTrace, NeuronTrace
from neuron_explainer.attribution.tracing.trace_objective import TraceObjective
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import NodeType

_DST = DerivedScalarType
_V = AttentionTraceType.V


def traced(why: AnswerT, node: NodeOrRow, through: str | None = None, downstream: NodeOrRow | None = None) -> AnswerT:
    """The answer upstream of a node; see `Attribution.trace`."""
    whole, why = why, _of_its_pass(why, node)
    setting, name = why.asked_setting, at_one_place(*component_given(why, node, "activation to trace"))
    is_head = name.kind is NodeKind.HEAD
    if through is not None and name.part is not None and str(through).lower() != name.part:
        raise InvalidRequestError(f"{name} says {name.part!r}, and through is {through!r}. Say it once.")
    asked = through if through is not None or name.part is None else name.part
    if asked is not None and not is_head:
        raise InvalidRequestError(f"{name} is not a head, so it is not traced through {asked!r}. Leave through out.")
    kind = member_of(AttentionTraceType, "QK" if asked is None else asked, "input of a head") if is_head else None
    if downstream is not None and kind is not _V:
        raise InvalidRequestError(
            'downstream is for a head traced through its value. Say through="v", or leave it out.'
        )
    reader: str | None = None
    objective: TraceObjective
    if kind is _V:
        objective, reader = _through_value(why, name, downstream)
    else:
        objective = _objective(bound_of(setting), why, name, kind)
    inquiry = TraceInquiry(name, kind, reader, why.effects[0].prompt, objective)
    layers = range(int(name.layer or 0) + 1)
    n_parts = 1 if downstream is None else 2
    with part_of_work(n_parts - 1, n_parts):
        return answer(type(why), setting.limited_to(layers), inquiry, (*whole.history, whole.step()))


def _of_its_pass(why: AnswerT, node: NodeOrRow) -> AnswerT:
    """The part of an answer that is about the pass that a row of its table is of."""
    number, inquiry = pass_of_row(why.inquiry.passes, node), why.inquiry
    if number == 0 or not isinstance(inquiry, Question):
        return why
    alone = replace(inquiry, passes=(inquiry.passes[number],), readings=(inquiry.readings[number],))
    return type(why)(why.setting, alone, [why.effects[number]], why.history)


def bound_of(setting: Setting) -> BoundConfig:
    """The setting, bound to its model."""
    return parse_requests(_DST.ALWAYS_ONE, setting.config, None, setting.ablations)[0].bound


def _objective(
    bound: BoundConfig, why: AttributionTables, name: NodeName, kind: AttentionTraceType | None
) -> TraceObjective:
    layer, token, component = _numbers(name)
    if kind is not None:
        return AttentionLogitTrace(bound, layer, token, _position(name.attended_to_index), component, kind)
    if name.kind is NodeKind.NEURON:
        return NeuronTrace(bound, layer, token, component)
    return LatentTrace(bound, name.to_node_index().node_type, layer, token, component)


def _through_value(why: AttributionTables, name: NodeName, downstream: NodeOrRow | None) -> tuple[ValueTrace, str]:
    """The trace through a head's value, and what its write is projected on, in words."""
    bound, effects = bound_of(why.asked_setting), why.effects[0]
    layer, token, head = _numbers(name)
    attended_to = _position(name.attended_to_index)
    if downstream is None:
        answer_of_pass = why.inquiry.passes[0].answer
        title = why.inquiry.title if answer_of_pass is None else f"log-probability of {shown(answer_of_pass)}"
        rows, directions, reader = effects.rows, effects.directions, f"the metric ({title})"
    else:
        with part_of_work(0, 2):
            below = traced(why, downstream)
        reader = str(below.inquiry.request["trace"])
        rows, directions = below.effects[0].rows, below.effects[0].directions
        position = bound.read_by(NodeType.ATTENTION_HEAD, layer)[1]
        if below.inquiry.of_node.position <= position:  # type: ignore[attr-defined]
            raise InvalidRequestError(f"{reader} is not downstream of {name}, so nothing of its write is read there.")
    if token not in rows:
        read = ", ".join(map(str, rows))
        raise InvalidRequestError(
            f"{name} writes at token {token}, and {reader} reads the residual stream at {read} alone. Choose a "
            "head's pair that starts there, or another downstream node."
        )
    direction = directions[rows.index(token)]
    weights = effects.store.activations(_DST.ATTN_QK_PROBS)[layer]
    values = effects.store.activations(_DST.ATTN_VALUE)[layer]
    summed = summed_by(weights[None, token : token + 1], values[None])
    post_norm = bound.block(layer).attention_post_norm_at(summed)
    direction = before_post_norm(direction[None, None], post_norm)[0, 0]
    weight = float(weights[token, attended_to, head])
    return ValueTrace(bound, layer, token, attended_to, head, weight, direction), reader


def _numbers(name: NodeName) -> tuple[int, int, int]:
    """The layer, the token and the component."""
    return _position(name.layer), _position(name.token_index), _position(name.component)


def _position(number: object) -> int:
    if not isinstance(number, int):
        raise InvalidRequestError("A trace is of one node at one token.")
    return number
