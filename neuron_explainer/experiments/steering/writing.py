"""Continuations of a prompt, one for each strength of a direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from neuron_explainer.attribution.computing.batches import batches_of_rows
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.models.generation.generate import stream
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.model_context import ModelContext, StandardModelContext
from neuron_explainer.vocabulary.places import ActivationLocationType

FunctionOfText = Callable[[Sequence[float | None], int], Callable[..., Tensor]]


def continuations(
    model: ModelContext,
    token_ids: Sequence[int],
    strengths: Sequence[float | None],
    function_of: FunctionOfText,
    layers: tuple[int, ...],
    max_new_tokens: int,
    sampling: Sampling | None,
    progress: bool | None,
) -> list[list[int]]:
    """The new tokens with each strength. Those that are sampled are generated alone, with the same random numbers.

    Args:
        model: the model.
        token_ids: the prompt.
        strengths: one for each continuation; None: without the direction.
        function_of: the intervention's function, for rows of these strengths and texts of at most so many tokens.
        layers: the steered layers.
        max_new_tokens: the largest number of new tokens.
        sampling: how tokens are chosen; None: the likeliest.
        progress: whether there is a bar; None: on a terminal or in a notebook.
    """
    transformer = model.get_or_create_model()
    n_read = len(token_ids) + max_new_tokens - 1
    batches = list(batches_of_rows(len(strengths), n_read, model.vocab_size, transformer))
    if sampling is not None:
        batches = [[row] for row in range(len(strengths))]
    texts: list[list[int]] = [[] for _ in strengths]
    with passes_bar(len(batches) * max_new_tokens, progress, "steering", "token") as done:
        for rows in batches:
            function = function_of([strengths[row] for row in rows], n_read)
            steps = stream(
                transformer,
                [list(token_ids)] * len(rows),
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                stop_tokens=end_tokens(model),
            )
            place = ActivationLocationType.RESID_POST_MLP
            with transformer.intervene(place, layers, function, notes_change=False):
                for step in steps:
                    done(1)
                    for row, token in zip(rows, step, strict=True):
                        if token is not None:
                            texts[row].append(token)
    return texts


def end_tokens(model: ModelContext) -> list[int]:
    """The tokens that end a text; none of a model that knows none."""
    return list(model.end_token_ids) if isinstance(model, StandardModelContext) else []
