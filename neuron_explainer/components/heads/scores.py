"""`ne.head_scores`: what every head of a model attends to, in numbers, from one pass over texts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, SupportsIndex

import torch
from torch import Tensor

from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.collation.corpus.texts import TextsGiven
from neuron_explainer.collation.corpus.windows import Batch
from neuron_explainer.collation.runs.preparation import ModelGiven, model_of, refuse_interventions
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.components.finite_weights import check_finite_rows
from neuron_explainer.components.heads.copying import copying_scores
from neuron_explainer.components.heads.head_table import HeadScores
from neuron_explainer.components.heads.score_sums import COLUMNS, PairsOfBatch, ScoreSums
from neuron_explainer.components.heads.score_texts import repeated_batches, text_batches
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.vocabulary.checks import MOST_SEED, checked_flag, checked_number
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext

_LONGEST_CONTEXT = 256
_READ = ActivationLocationType.RESID_POST_MLP_LAYER_NORM


def head_scores(
    model: ModelGiven,
    texts: TextsGiven | None = None,
    *,
    context_length: SupportsIndex | None = None,
    max_tokens: SupportsIndex | None = None,
    prepend_bos: bool | None = None,
    n_sequences: SupportsIndex = 10,
    length: SupportsIndex = 50,
    seed: SupportsIndex = 0,
    batch_tokens: SupportsIndex = 2048,
    progress: bool | None = None,
) -> HeadScores:
    """What each attention head attends to, and whether it copies; one row per head.

    The first token of a sequence (the beginning token, if there is one) can attend only to itself, so it is not
    counted; it is attended to all the same. Texts are read once, a batch at a time, so memory does not grow with them.

    Args:
        model: a ModelContext, or anything that `load_model` takes.
        texts: as for `collate`. None: random tokens, each sequence twice in a row, as the field looks for induction
            heads.
        context_length: tokens in a sequence of the texts, at most; None: 256, or the model's context if it is shorter.
        max_tokens: tokens of the texts to use; None: all.
        prepend_bos: whether sequences begin with the beginning-of-sequence token; None: as the model's tokenizer does.
        n_sequences, length, seed: without texts, how many sequences of how many different tokens are drawn, and the
            seed.
        batch_tokens: tokens that run through the model at a time, padding included.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        A DataFrame that shows itself with pictures of layers × heads. The columns are name, layer, component, which
        are the head, and these numbers. `previous`, `self` and `first`: the mean attention to the token before, to
        the token itself, to the first token. `duplicate`: of tokens that have occurred before, the mean attention to
        earlier occurrences, all together. `induction`: of the same tokens, the mean attention to the tokens after
        earlier occurrences, the token itself left out; both are NaN where no token repeats. `entropy`: of the
        pattern, in nats, the mean over tokens. `distance` and `distance_spread`: how many tokens back attention goes,
        mean and standard deviation over all pairs, weighted by attention. `copying`: the sum of the eigenvalues of
        the OV circuit over the sum of their absolute values, see `Component.copying_score`. `attrs` says on what they
        were computed: "texts" in words, "n_tokens" and "n_repeated".

    Raises:
        InvalidRequestError: an argument is out of range, the texts have no sequence of two tokens, or an intervention
            is active.
        NonFiniteTensorError: a head's attention, or its circuit, is infinite or NaN.
        StoppedError: the work is to stop.

    >>> import neuron_explainer as ne
    >>> scores = ne.head_scores("tiny", n_sequences=2, length=8, progress=False)
    >>> len(scores), scores.attrs["texts"]
    (16, '2 sequences of 8 random tokens, repeated')
    """
    context = model_of(model)
    refuse_interventions(context)
    if prepend_bos is not None:
        checked_flag("prepend_bos", prepend_bos)
    size = checked_number("batch_tokens", batch_tokens)
    if texts is None:
        n_rows, n_drawn = checked_number("n_sequences", n_sequences), checked_number("length", length, 2)
        batches = repeated_batches(
            context, n_rows, n_drawn, checked_number("seed", seed, 0, at_most=MOST_SEED), prepend_bos, size
        )
        about = f"{n_rows:,} sequences of {n_drawn:,} random tokens, repeated"
    else:
        longest = min(context.max_context_length, _LONGEST_CONTEXT)
        settings = CollateSettings(
            context_length=longest if context_length is None else context_length,
            prepend_bos=prepend_bos,
            max_tokens=max_tokens,
            batch_tokens=size,
        )
        if settings.context_length > context.max_context_length:
            raise InvalidRequestError(
                f"context_length is {settings.context_length}, but {context.model_name} reads at most "
                f"{context.max_context_length} tokens."
            )
        batches = text_batches(context, texts, settings)
        about = "the texts given"
    sums = _summed(context, batches, progress)
    if not sums.n_tokens:
        raise InvalidRequestError("The texts have no sequence of two tokens or more. Give longer ones.")
    return _table(context, sums, about)


@torch.no_grad()
def _summed(context: ModelContext, batches: Iterator[Batch], progress: bool | None) -> ScoreSums:
    """The sums over all batches. What attention reads is recorded, and one layer's pattern at a time made of it."""
    model = context.get_or_create_model()
    sums = ScoreSums(model.config.n_layers, model.config.n_heads)
    with passes_bar(None, progress, "scoring heads", "token") as advance:
        for batch in batches:
            for tokens, lengths in _rotated_alike(model, batch):
                stop_if_asked()
                pairs = PairsOfBatch.of(tokens.to(model.device), lengths.to(model.device))
                sums.count(pairs)
                _add_patterns(model, tokens, lengths, pairs, sums)
            advance(int(batch.lengths.sum()))
    return sums


def _rotated_alike(model: Transformer, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """The sequences of a batch, those together that longrope rotates alike; without padding that none of them needs."""
    lengths = batch.lengths.tolist()

    def kind(row: int) -> tuple[int, ...]:
        return model.config.layers_rotated_as_long(lengths[row])

    for _, rows in groupby(sorted(range(len(lengths)), key=kind), key=kind):
        chosen = list(rows)
        longest = max(lengths[row] for row in chosen)
        yield batch.tokens[chosen, :longest], batch.lengths[chosen]


def _add_patterns(model: Transformer, tokens: Tensor, lengths: Tensor, pairs: PairsOfBatch, sums: ScoreSums) -> None:
    recording = model.recording([_READ])
    mask = torch.arange(tokens.shape[1], dtype=torch.int64, device="cpu") < lengths[:, None]
    model(tokens.to(model.device), attention_mask=mask, logits_at=None, hooks=[recording])
    for layer, block in enumerate(model.blocks):
        normed = recording[_READ, layer]
        pattern = block.qk_probs(block.qk_logits(block.queries(normed), block.keys(normed)))
        sums.add(layer, at_least_float32(pattern), pairs)
        check_finite_rows(sums.by_name["attention"][layer][:, None], layer, "H", "attends to")


def _table(context: ModelContext, sums: ScoreSums, about: str) -> HeadScores:
    model, scores = context.get_or_create_model(), sums.scores()
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    scores["copying"] = copying_scores(model)
    table = HeadScores(
        {
            "name": [f"L{layer}H{head}" for layer in range(n_layers) for head in range(n_heads)],
            "layer": [layer for layer in range(n_layers) for _ in range(n_heads)],
            "component": list(range(n_heads)) * n_layers,
            **{name: scores[name].flatten().tolist() for name in (*COLUMNS, "copying")},
        }
    )
    table.attrs = {
        "model": context.model_name,
        "texts": about,
        "n_tokens": int(sums.n_tokens),
        "n_repeated": int(sums.n_repeated),
    }
    return table
