"""A saved answer and its model, together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, token_strings_of
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.passes import LATENTS, Setting
from neuron_explainer.attribution.files.checks import Sizes, sizes_of
from neuron_explainer.attribution.files.kept import KeptSetting
from neuron_explainer.attribution.files.saved_inquiry import SavedInquiry
from neuron_explainer.attribution.inquiry import Inquiry
from neuron_explainer.attribution.question.question import Question, read_question
from neuron_explainer.attribution.question.settings import AutoencodersGiven, read_setting
from neuron_explainer.attribution.tracing.asking import bound_of
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, NotOneTokenError, UnknownNameError, shown
from neuron_explainer.models.autoencoders.origin import same_base_model
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.dimensions import Dimension


class _Request(msgspec.Struct):
    """What a question's request says; `prompt` is not read again."""

    prompt: str | list[int | dict[str, Any]]
    target: list[str | list[int]]
    distractor: list[str | list[int]]
    metric: str
    positions: list[int] | None


def setting_with_model(
    config: DstConfig,
    autoencoders: AutoencodersGiven,
    kept: KeptSetting,
    inquiry: SavedInquiry,
    passes: Sequence[Effects],
) -> Setting:
    """The setting of a saved answer.

    Raises:
        MisconfiguredError: the model, or the autoencoders, are not those that the answer was about.
    """
    setting = replace(read_setting(config, autoencoders, kept.ablations), notes=kept.notes)
    sizes = sizes_of(passes[0])
    n_layers = sum(kind == "heads" for kind, _ in sizes)
    _check_model(setting.config.get_model_context(), inquiry, passes, sizes, n_layers)
    if inquiry.is_trace:
        setting = setting.limited_to(range(n_layers))
    _check_autoencoders(setting, sizes)
    return setting


def _check_model(
    model: ModelContext, inquiry: SavedInquiry, passes: Sequence[Effects], sizes: Sizes, n_layers: int
) -> None:
    saved_name = passes[0].store.model_name
    if saved_name is not None and not same_base_model(saved_name, model.model_name):
        raise MisconfiguredError(
            f"The answer was about {shown(saved_name)}, but the model is {shown(model.model_name)}. If that is "
            "the same model, load it under that name: ne.load_model(…, name=…)."
        )
    found = {
        "layers": (n_layers, min(n_layers, model.n_layers) if inquiry.is_trace else model.n_layers),
        "channels": (sizes["channels", None], model.get_dim_size(Dimension.RESIDUAL_STREAM_CHANNELS)),
        "heads": (sizes["heads", 0], model.get_dim_size(Dimension.ATTN_HEADS)),
        "neurons": (sizes["neurons", 0], model.get_dim_size(Dimension.MLP_ACTS)),
    }
    for what, (saved, of_model) in found.items():
        if saved != of_model:
            raise MisconfiguredError(
                f"The answer was about a model with {saved} {what}, but {model.model_name} has {of_model}. Give the "
                "model that it was about."
            )
    for effects in passes:
        prompt = effects.prompt
        largest = max(prompt.token_ids)
        if largest >= model.vocab_size:
            raise MisconfiguredError(
                f"The answer's prompt has the token {largest}, but {model.model_name} has {model.vocab_size} tokens. "
                "Give the model that it was about."
            )
        if token_strings_of(model, prompt.token_ids) != prompt.token_strings:
            raise MisconfiguredError(
                f"The tokens of {model.model_name} have other texts than those of the answer's prompt. Give the model "
                "that it was about, with its tokenizer."
            )


def _check_autoencoders(setting: Setting, sizes: Sizes) -> None:
    bound = bound_of(setting)
    given = {
        (kind.value, layer): bound.autoencoder_context(kind).get_autoencoder(layer).n_latents
        for kind in bound.autoencoder_kinds
        for layer in bound.autoencoder_context(kind).layer_indices
        if ("heads", layer) in sizes
    }
    saved = {key: size for key, size in sizes.items() if key[0] in {kind.value for kind in LATENTS}}
    if given != saved:
        has, asked = (
            ", ".join(f"{size} of layer {layer}" for (_, layer), size in each.items()) or "none"
            for each in (given, saved)
        )
        raise MisconfiguredError(
            f"The answer was asked with latents: {asked}; the autoencoders given have: {has}. Give those that it was "
            "asked with: autoencoders=…."
        )


def inquiry_with_model(setting: Setting, inquiry: SavedInquiry) -> Inquiry:
    """The question, read again; a trace, or a question whose metric was a function, as it was saved.

    Raises:
        MisconfiguredError: read with this model it would be another question.
    """
    if inquiry.prompt_ids is None:
        return inquiry
    model = setting.config.get_model_context()
    try:
        question = _read_again(model, inquiry, inquiry.prompt_ids)
        request = question.request
    except (msgspec.ValidationError, InvalidRequestError, NotOneTokenError, UnknownNameError) as error:
        raise MisconfiguredError(f"The question cannot be asked of {model.model_name} again: {error}") from None
    is_same = (
        question.answers == inquiry.answers
        and question.passes == inquiry.passes
        and question.is_linear == inquiry.is_linear
        and request == inquiry.request
    )
    if not is_same:
        raise MisconfiguredError(
            f"Read with {model.model_name}, the question of this answer has other tokens. Give the model that it was "
            "about, with its tokenizer."
        )
    return question


def _read_again(model: ModelContext, inquiry: SavedInquiry, prompt_ids: list[int]) -> Question:
    request = msgspec.convert(inquiry.request, _Request)
    question = read_question(
        model,
        prompt_ids,
        request.target or None,
        request.distractor or None,
        metric=request.metric if request.target or request.distractor else None,
        positions=request.positions,
    )
    n_beginning = inquiry.passes[0].prompt.n_beginning
    passes = tuple(replace(each, prompt=_beginning(each.prompt, n_beginning)) for each in question.passes)
    return replace(
        question,
        prompt=_beginning(question.prompt, n_beginning),
        given_prompt=request.prompt,
        passes=passes,
        hints=inquiry.hints,
    )


def _beginning(prompt: Prompt, n_beginning: int) -> Prompt:
    return replace(prompt, n_beginning=n_beginning)
