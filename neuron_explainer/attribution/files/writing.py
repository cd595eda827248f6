"""Write an answer to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from neuron_explainer.activations.derived_scalars.indexing import AblationSpec
from neuron_explainer.activations.derived_scalars.store.named_tensors import write_named
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.files.layout import (
    ATTRIBUTION,
    NodeRow,
    PartRow,
    SavedAblation,
    SavedAnswer,
    SavedAttribution,
    SavedPass,
    SavedStep,
)
from neuron_explainer.attribution.files.saved_inquiry import SavedInquiry
from neuron_explainer.attribution.files.tables import records_of
from neuron_explainer.attribution.files.tensors import tensors_of
from neuron_explainer.attribution.history import Step
from neuron_explainer.attribution.inquiry import AskedPass, Inquiry
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.question.metrics import Metric
from neuron_explainer.attribution.question.question import Question
from neuron_explainer.models.layers.routed import Neurons

N_TEXTS = 200
"""The texts of so many tokens are kept, the likeliest ones."""


def write_attribution(why: AttributionTables, path: str | os.PathLike[str]) -> None:
    """Write an answer; see `Attribution.save`."""
    inquiry = why.inquiry
    setting = why.kept if why.setting is None else why.setting
    ablations = () if setting is None else setting.ablations
    tensors: dict[str, Neurons] = {
        f"{number}|{name}": tensor
        for number, effects in enumerate(why.effects)
        for name, tensor in tensors_of(effects).items()
    }
    for number, ablation in enumerate(ablations):
        if not isinstance(ablation, AblationSpec):
            tensors[f"ablation|{number}"] = ablation.values
    saved = SavedAttribution(
        request=inquiry.request,
        title=inquiry.title,
        is_linear=inquiry.is_linear,
        hints=list(inquiry.hints),
        model_name=why.stores[0].model_name,
        prompt_ids=_prompt_ids(inquiry),
        answers=[
            SavedAnswer(each.text, list(each.token_ids), each.is_target, each.is_text) for each in inquiry.answers
        ],
        passes=[_pass(effects, asked) for effects, asked in zip(why.effects, inquiry.passes, strict=True)],
        ablations=[_ablation(*each) for each in zip(ablations, why.ablated, strict=True)],
        history=[_step(step) for step in why.history],
        texts={str(token): text for token, text in _texts(why)},
    )
    write_named(path, ATTRIBUTION, tensors, msgspec.to_builtins(saved))


def _prompt_ids(inquiry: Inquiry) -> list[int] | None:
    """The prompt of a question that can be asked again."""
    if isinstance(inquiry, SavedInquiry):
        return inquiry.prompt_ids
    is_named = isinstance(inquiry, Question) and isinstance(inquiry.metric, Metric)
    return list(inquiry.prompt.token_ids) if isinstance(inquiry, Question) and is_named else None


def _pass(effects: Effects, asked: AskedPass) -> SavedPass:
    prompt = effects.prompt
    return SavedPass(
        token_ids=list(prompt.token_ids),
        tokens=list(prompt.token_strings),
        n_beginning=prompt.n_beginning,
        coefficient=asked.coefficient,
        answer=asked.answer,
        rows=list(effects.rows),
        value=effects.value,
        linear_value=effects.linear_value,
        capped_value=effects.capped_value,
        constants=effects.constants,
        logits_softcap=effects.logits_softcap,
        latent_scales=[(kind.value, layer) for kind, layer in effects.latent_scales],
    )


def _ablation(ablation: Ablation, note: str) -> SavedAblation:
    if isinstance(ablation, AblationSpec):
        return SavedAblation(ablation.to_json(), note)
    spec: dict[str, Any] = {"index": ablation.index.to_json(), "tokens": ablation.tokens}
    return SavedAblation(spec, note, ablation.n_tokens)


def _step(step: Step) -> SavedStep:
    parts = msgspec.convert(records_of(step.parts), list[PartRow])
    nodes = msgspec.convert(records_of(step.nodes), list[NodeRow])
    return SavedStep(dict(step.request), step.title, step.value, parts, nodes)


def _texts(why: AttributionTables) -> Iterator[tuple[int, str]]:
    """The texts of the likeliest tokens, and of those that are asked about."""
    if why.setting is None:
        yield from () if why.kept is None else why.kept.texts.items()
        return
    tokens = set(why.inquiry.asked_tokens)
    for effects in why.effects:
        if effects.logits is not None and len(effects.logits):
            best = effects.logits.topk(min(N_TEXTS, effects.logits.shape[-1])).indices
            tokens.update(best.flatten().tolist())
    yield from zip(sorted(tokens), why.texts_of(sorted(tokens)), strict=True)
