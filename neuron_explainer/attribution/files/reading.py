"""Read an answer from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, as_config
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex
from neuron_explainer.activations.derived_scalars.store.named_tensors import read_named
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation, TensorAblation
from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.files.checks import check_passes
from neuron_explainer.attribution.files.kept import KeptSetting
from neuron_explainer.attribution.files.layout import ATTRIBUTION, SavedAblation, SavedAttribution, SavedStep
from neuron_explainer.attribution.files.saved_inquiry import SavedInquiry
from neuron_explainer.attribution.files.tables import nodes_from, parts_from
from neuron_explainer.attribution.files.tensors import effects_from
from neuron_explainer.attribution.files.with_model import inquiry_with_model, setting_with_model
from neuron_explainer.attribution.history import Step
from neuron_explainer.attribution.inquiry import AskedPass
from neuron_explainer.attribution.question.answers import Answer
from neuron_explainer.attribution.question.settings import AutoencodersGiven, check_ablation
from neuron_explainer.errors import MisconfiguredError
from neuron_explainer.models.layers.routed import Neurons
from neuron_explainer.wording import without_steering


def load_attribution(
    path: str | os.PathLike[str], model: ConfigOrModel | None = None, *, autoencoders: AutoencodersGiven = None
) -> Attribution:
    """Read the answer that `Attribution.save` wrote. Nothing in the file is run.

    Without the model the answer has its numbers, tables (norms of writes are NaN in them) and page. With it `ablate`,
    `trace`, `verify` and `compare` work, too; those of a trace, and of a metric that was a function, say how to ask
    again.

    Args:
        path: the file.
        model: the model that the answer was about; or a DstConfig with it and its autoencoders.
        autoencoders: those that the question was asked with, as for `attribute`.

    Returns:
        The answer, its tensors on the device of the model, or on the CPU.

    Raises:
        MissingFileError: the file does not exist.
        MalformedStoreError: it is another kind of file, or is damaged.
        MisconfiguredError: the model, or the autoencoders, are not those that the answer was about; or autoencoders are
            given without the model.

    >>> import tempfile, neuron_explainer as ne
    >>> why = ne.attribute(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     why.save(f"{folder}/why.safetensors")
    ...     again = ne.load_attribution(f"{folder}/why.safetensors")
    >>> again.heads(3).equals(why.heads(3))
    True
    """
    if autoencoders is not None and model is None:
        raise MisconfiguredError("autoencoders are given without their model. Give both, or neither.")
    config = None if model is None else as_config(model, "model")
    device = "cpu" if config is None else config.get_or_create_model().device
    source, tensors, saved = read_named(path, ATTRIBUTION, device)
    with ATTRIBUTION.reading(source):
        answers = tuple(
            Answer(each.text, tuple(each.token_ids), each.is_target, each.is_text) for each in saved.answers
        )
        effects = _effects(saved, tensors)
        check_passes(effects, answers)
        inquiry = _inquiry(saved, answers)
        history = tuple(map(_step, saved.history))
        kept = KeptSetting(
            {int(token): text for token, text in saved.texts.items()},
            tuple(_ablation(each, tensors.get(f"ablation|{number}")) for number, each in enumerate(saved.ablations)),
            tuple(without_steering(each.note) for each in saved.ablations),
        )
    if config is None:
        return Attribution(None, inquiry, effects, history, kept)
    setting = setting_with_model(config, autoencoders, kept, inquiry, effects)
    return Attribution(setting, inquiry_with_model(setting, inquiry), effects, history)


def _effects(saved: SavedAttribution, tensors: Mapping[str, Neurons]) -> list[Effects]:
    by_pass: list[dict[str, Neurons]] = [{} for _ in saved.passes]
    known = {f"ablation|{number}" for number in range(len(saved.ablations))}
    for name, tensor in tensors.items():
        number, _, rest = name.partition("|")
        if name not in known:
            by_pass[int(number)][rest] = tensor
    return [effects_from(*each, saved.model_name) for each in zip(saved.passes, by_pass, strict=True)]


def _inquiry(saved: SavedAttribution, answers: tuple[Answer, ...]) -> SavedInquiry:
    passes = [
        AskedPass(Prompt(each.token_ids, each.tokens, each.n_beginning), each.coefficient, each.answer)
        for each in saved.passes
    ]
    return SavedInquiry(
        saved.request,
        without_steering(saved.title),
        tuple(passes),
        saved.is_linear,
        answers,
        tuple(map(without_steering, saved.hints)),
        saved.prompt_ids,
    )


def _ablation(saved: SavedAblation, values: Neurons | None) -> Ablation:
    if values is None:
        ablation: Ablation = AblationSpec.from_json(saved.spec)
    elif isinstance(values, Tensor):
        index, tokens = ActivationIndex.from_json(saved.spec["index"]), saved.spec["tokens"]
        ablation = TensorAblation(index, values, tokens, saved.n_tokens)
    else:
        raise ValueError("an ablation is not of numbers")
    check_ablation(ablation)
    return ablation


def _step(saved: SavedStep) -> Step:
    title = without_steering(saved.title)
    return Step(saved.request, title, saved.value, parts_from(saved.parts), nodes_from(saved.nodes))
