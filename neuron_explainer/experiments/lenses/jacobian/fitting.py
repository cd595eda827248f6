"""`fit_jacobian_lens`: a Jacobian lens from texts, prompt by prompt."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import as_config
from neuron_explainer.activations.derived_scalars.engine.prompts import read_prompt
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.attribution.question.question import PromptGiven
from neuron_explainer.collation.runs.provenance import weights_fingerprint
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, MisconfiguredError, PromptError, shown
from neuron_explainer.experiments.lenses.jacobian.files import form_of
from neuron_explainer.experiments.lenses.jacobian.fit_state import (
    FitSettings,
    FitState,
    digest_with,
    read_fit_state,
    state_path,
)
from neuron_explainer.experiments.lenses.jacobian.fit_time import FitTime
from neuron_explainer.experiments.lenses.jacobian.jacobian_lens import JacobianLens
from neuron_explainer.experiments.lenses.jacobian.one_prompt import jacobians_of_prompt
from neuron_explainer.models.beginning import encoded
from neuron_explainer.models.chats.messages import is_text_or_chat
from neuron_explainer.models.layers.token_checks import as_token_ids, only_prompt
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.storage.locations import local_path
from neuron_explainer.vocabulary.checks import checked_layers, checked_number, is_several
from neuron_explainer.wording import no_layer

DIM_BATCH = 8
_SECONDS_BETWEEN_SAVES = 20.0


def fit_jacobian_lens(
    model: ModelContext,
    texts: Iterable[PromptGiven],
    out: str | os.PathLike[str],
    *,
    n_prompts: SupportsIndex | None = None,
    layers: SupportsIndex | Iterable[SupportsIndex] | None = None,
    target_layer: SupportsIndex | None = None,
    max_tokens: SupportsIndex = 128,
    skip_first: SupportsIndex = 16,
    dim_batch: SupportsIndex = DIM_BATCH,
    prepend_bos: bool | None = None,
    progress: bool | None = None,
) -> JacobianLens:
    """Fit a Jacobian lens: for each layer, the mean Jacobian of the last residual stream by that layer's output.

    Row i of a layer's matrix is the gradient of output dimension i, summed over the positions that count, by the
    layer's output, averaged over the same positions and over the prompts. The positions that count are those from
    `skip_first` to the last but one: the first tokens of a text are unlike all others, and the last one predicts
    nothing that is known.

    A prompt takes one forward pass and d_model / `dim_batch` backward passes over `dim_batch` copies of it. How long
    that takes is measured on the first of these and said before the rest runs. The sums so far are kept in a file
    beside `out` (its name and `.state`): a call with the same arguments goes on where another one was stopped or
    killed.

    Args:
        model: the model.
        texts: texts, chats, or token ids; each is a prompt, cut after `max_tokens`. Those with fewer than
            `skip_first` + 2 tokens are left out. About a hundred prompts give a usable lens; the more, the better.
        out: where the lens is written, in the end; a name that ends in `.safetensors` (float32: for shards that
            `merge_jacobian_lenses` joins) or `.pt` (the public form, float16).
        n_prompts: how many prompts are used; None: all.
        layers: which layers get a matrix; None: all below `target_layer`.
        target_layer: whose output is differentiated; None: the last layer's.
        max_tokens: the most tokens of a prompt.
        skip_first: how many positions at the beginning do not count.
        dim_batch: how many copies of a prompt, each for a dimension of its own, share a pass.
        prepend_bos: for texts, whether their tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does.
        progress: whether there is a bar, and a line that says how long it will take; None: on a terminal or in a
            notebook.

    Returns:
        The lens, as it was written.

    Raises:
        PromptError: no text is long enough, or one is malformed or has ids outside of the vocabulary.
        InvalidRequestError: `out` exists, or ends otherwise; or a number is out of range.
        IndexOutOfRangeError: the model has no such layer.
        MisconfiguredError: a stopped fit had other settings or other texts.
        MalformedCheckpointError: the file of a stopped fit is damaged.
        StoppedError: watched work was stopped; what is done is kept.

    >>> import tempfile, neuron_explainer as ne
    >>> model, text = ne.load_model("tiny"), "In the beginning God created the heaven and the earth. " * 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lens = ne.fit_jacobian_lens(model, [text], f"{folder}/lens.pt", layers=2, max_tokens=20, dim_batch=64)
    >>> lens
    <JacobianLens of tiny: layers 2, 128 channels, fitted on 1 prompt>
    """
    context = as_config(model, "model").get_model_context()
    form_of(out)
    path = local_path("out", out)
    most_tokens = checked_number("max_tokens", max_tokens, 2)
    skipped = checked_number("skip_first", skip_first, 0)
    if skipped + 2 > most_tokens:
        raise InvalidRequestError(f"max_tokens is {most_tokens}; with skip_first={skipped} it must be {skipped + 2}.")
    most_prompts = None if n_prompts is None else checked_number("n_prompts", n_prompts)
    copies = checked_number("dim_batch", dim_batch)
    if path.exists():
        raise InvalidRequestError(f"{path} exists. Read it by ne.load_jacobian_lens, or choose another `out`.")
    if isinstance(texts, str) or not is_several(texts):
        raise InvalidRequestError(f"texts is {shown(texts)}. Give a list of texts, or of token ids.")
    settings = _settings(context, layers, target_layer, most_tokens, skipped)
    n_texts = len(texts) if isinstance(texts, Sized) else None
    n_known = min((number for number in (most_prompts, n_texts) if number is not None), default=None)
    prompts = _prompts(context, texts, settings, prepend_bos)
    with torch.inference_mode(False):  # within a user's, sums could not be added to between backward passes
        state = read_fit_state(path, settings)
        _fit(context, prompts, path, state, most_prompts, n_known, copies, progress)
        matrices = state.means()
    last = context.get_or_create_model().config.n_layers - 1
    target = None if settings.target_layer == last else settings.target_layer
    lens = JacobianLens(matrices, state.n_done, target, context.model_name)
    try:
        lens.save(path)
    except BaseException:
        state.write(path)  # what took hours is not lost to a full disk
        raise
    state_path(path).unlink(missing_ok=True)
    return lens


def _settings(
    context: ModelContext, layers: Any, target_layer: SupportsIndex | None, max_tokens: int, skip_first: int
) -> FitSettings:
    config = context.get_or_create_model().config
    target = config.n_layers - 1 if target_layer is None else checked_number("target_layer", target_layer, 0)
    asked = range(target) if layers is None else checked_layers("layers", layers)
    for layer in (target, *asked):
        if not 0 <= layer < config.n_layers:
            raise IndexOutOfRangeError(no_layer(context.model_name, layer, range(config.n_layers)))
    if not asked or max(asked) > target:
        raise InvalidRequestError(
            f"Layers {list(asked)} are not all below the target, layer {target}. Choose layers below it."
        )
    width = min(max_tokens, context.max_context_length)
    transformer = context.get_or_create_model()
    weights = f"{str(transformer.dtype).removeprefix('torch.')} {weights_fingerprint(transformer)}"
    layers_asked = tuple(sorted(set(asked)))
    return FitSettings(context.model_name, weights, config.d_model, layers_asked, target, width, skip_first)


def _prompts(
    context: ModelContext, texts: Iterable[PromptGiven], settings: FitSettings, prepend_bos: bool | None
) -> Iterator[list[int]]:
    """The tokens of the texts that are long enough."""
    for text in texts:
        if is_text_or_chat(text):
            token_ids = encoded(context, text, prepend_bos)[0]
        else:
            token_ids = as_token_ids(
                only_prompt(text, "give one prompt each"), "a text or a flat sequence of token ids"
            )
        if len(token_ids) >= settings.skip_first + 2:
            yield read_prompt(context, token_ids[: settings.max_tokens]).token_ids


def _fit(
    context: ModelContext,
    prompts: Iterator[list[int]],
    out: Path,
    state: FitState,
    most_prompts: int | None,
    n_known: int | None,
    dim_batch: int,
    progress: bool | None,
) -> None:
    """Take in prompts, from the first that a stopped fit has not had."""
    settings = state.settings
    _skip_those_done(prompts, state, most_prompts)
    left = None if n_known is None else max(0, n_known - state.n_done)
    total = None if left is None else left * settings.d_model
    saved_at, n_saved = time.monotonic(), state.n_done
    with passes_bar(total, progress, "fitting the lens", "dimension") as told:
        fit_time = FitTime(settings.d_model, left, told, progress)
        try:
            while (most_prompts is None or state.n_done < most_prompts) and (token_ids := next(prompts, None)):
                state.add(_jacobians(context, token_ids, settings, dim_batch, fit_time), token_ids)
                if time.monotonic() - saved_at > _SECONDS_BETWEEN_SAVES:
                    state.write(out)
                    saved_at, n_saved = time.monotonic(), state.n_done
        except BaseException:
            if state.n_done > n_saved and state.is_whole:
                state.write(out)
            raise
    if not state.n_done:
        raise PromptError(
            f"No text has at least {settings.skip_first + 2} tokens, so there is nothing to fit on. Give longer texts, "
            "or a smaller skip_first."
        )


def _jacobians(
    context: ModelContext, token_ids: Sequence[int], settings: FitSettings, dim_batch: int, fit_time: FitTime
) -> dict[int, Tensor]:
    positions = range(settings.skip_first, len(token_ids) - 1)
    fit_time.begin_prompt()
    return jacobians_of_prompt(
        context.get_or_create_model(),
        token_ids,
        settings.layers,
        settings.target_layer,
        positions,
        dim_batch,
        fit_time.done,
    )


def _skip_those_done(prompts: Iterator[list[int]], state: FitState, most_prompts: int | None) -> None:
    """Pass over the prompts that are in the sums already.

    Raises:
        MisconfiguredError: they are not those.
    """
    digest = ""
    for _ in range(state.n_done):
        token_ids = next(prompts, None)
        if token_ids is None:
            break
        digest = digest_with(digest, token_ids)
    if digest != state.digest or (most_prompts is not None and state.n_done > most_prompts):
        raise MisconfiguredError(
            f"The fit that was stopped had taken in {state.n_done} prompts, and these texts do not begin with them, or "
            "are fewer. Give the same texts, or another `out`; or delete its .state file to begin anew."
        )
