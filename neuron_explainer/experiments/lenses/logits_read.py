"""From what a lens reads to ranks and probabilities of tokens, in blocks, so that few logits are in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.attribution.computing.readout import logits_of_write
from neuron_explainer.experiments.lenses.jacobian.jacobian_lens import JacobianLens
from neuron_explainer.experiments.lenses.stream import LensStream
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import stop_if_asked

_LOGITS_AT_ONCE = 2**23
"""How many logits are in memory at once, and there are four such tensors: 32 MB each."""

_TOKENS_IN_GROUP = 64


@dataclass(frozen=True)
class TokensRead:
    """The tokens that are read in some rows; on the CPU. All have the rows' axes first.

    Attributes:
        token_ids: the likeliest tokens, (…, top).
        logits: their logits, float32.
        probabilities: their probabilities, float32.
        asked_ranks: of each token that was asked about, how many tokens are likelier, plus 1: (…, asked).
        asked_logits, asked_probabilities: of those tokens, float32.
        divergences: the KL divergence of the final distribution from that of the row, in nats, float32; (…).
    """

    token_ids: Int[Tensor, "*rows top"]
    logits: Float[Tensor, "*rows top"]
    probabilities: Float[Tensor, "*rows top"]
    asked_ranks: Int[Tensor, "*rows asked"]
    asked_logits: Float[Tensor, "*rows asked"]
    asked_probabilities: Float[Tensor, "*rows asked"]
    divergences: Float[Tensor, "*rows"]

    @classmethod
    def joined(cls, parts: Sequence[TokensRead], dim: int) -> TokensRead:
        """Parts along one of the rows' axes."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(torch.cat(list(column), dim=dim) for column in columns))


class FinalDistribution:
    """The model's own distribution at some positions, which those of the layers are compared with.

    Args:
        logits: the model's logits, (positions, vocab).
    """

    def __init__(self, logits: Float[Tensor, "positions vocab"]) -> None:
        log_probabilities = at_least_float32(logits).log_softmax(-1)
        self.probabilities = log_probabilities.exp()
        # Infinite logits have the probability 0, and add nothing.
        self.negative_entropy = torch.linalg.vecdot(self.probabilities, log_probabilities.clamp(min=-1e30))

    def divergence_of(
        self, logits: Float[Tensor, "rows positions vocab"], normaliser: Float[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows positions"]:
        """Σ p · (log p - log q) over the vocabulary: p is the final distribution, q that of the logits."""
        expected = torch.stack([torch.linalg.vecdot(self.probabilities, own) for own in logits])
        return (self.negative_entropy - expected + normaliser).clamp(min=0)


def likeliest(
    logits: Float[Tensor, "*rows vocab"], top: int
) -> tuple[Float[Tensor, "*rows top"], Int[Tensor, "*rows top"]]:
    """The largest logits of each row and their ids, as `topk` gives them, several times as fast for a large vocabulary.

    They are among those of the groups of neighbouring tokens that have the largest maxima.
    """
    vocab = logits.shape[-1]
    n_groups = vocab // _TOKENS_IN_GROUP
    if n_groups <= 2 * top:
        return logits.topk(top, dim=-1)
    grouped = logits[..., : n_groups * _TOKENS_IN_GROUP].unflatten(-1, (n_groups, _TOKENS_IN_GROUP))
    groups = grouped.amax(-1).topk(top, dim=-1).indices[..., None] * _TOKENS_IN_GROUP
    within = (groups + torch.arange(_TOKENS_IN_GROUP, dtype=torch.int64, device=logits.device)).flatten(-2)
    behind = torch.arange(n_groups * _TOKENS_IN_GROUP, vocab, dtype=torch.int64, device=logits.device).expand(
        *within.shape[:-1], -1
    )
    candidates = torch.cat([within, behind], dim=-1)
    best = logits.gather(-1, candidates).topk(top, dim=-1)
    return best.values, candidates.gather(-1, best.indices)


def tokens_of_logits(
    logits: Float[Tensor, "rows positions vocab"], top: int, asked: Sequence[int], final: FinalDistribution | None
) -> TokensRead:
    """The likeliest tokens of each row, and those that are asked about."""
    precise = at_least_float32(logits)
    normaliser = precise.logsumexp(-1)
    best, best_ids = likeliest(precise, top)
    of_asked = precise[..., list(asked)]
    ranks = [
        # None is larger than NaN, which is the last token for all that.
        torch.where(own.isnan(), precise.shape[-1], (precise > own[..., None]).sum(-1) + 1)
        for own in of_asked.unbind(-1)
    ]
    divergences = torch.full_like(normaliser, torch.nan) if final is None else final.divergence_of(precise, normaliser)
    return TokensRead(
        best_ids.cpu(),
        best.float().cpu(),
        (best - normaliser[..., None]).exp().float().cpu(),
        (torch.stack(ranks, dim=-1) if ranks else best_ids[..., :0]).cpu(),
        of_asked.float().cpu(),
        (of_asked - normaliser[..., None]).exp().float().cpu(),
        divergences.float().cpu(),
    )


def lens_logits(model: Transformer, vectors: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows vocab"]:
    """The logits of a residual stream, as the model itself reads it: final norm, unembedding, scale and soft cap."""
    return model.unembed(model.final_norm(vectors))


def write_logits(
    model: Transformer, writes: Float[Tensor, "rows positions d_model"], scales: Float[Tensor, "positions 1"]
) -> Float[Tensor, "rows positions vocab"]:
    """What writes add to the logits with the final norm's scale held: no biases, and before a soft cap."""
    return logits_of_write(model, writes.flatten(0, 1), scales.repeat(len(writes), 1)).unflatten(0, writes.shape[:2])


def read_tokens(
    stream: LensStream, lens: JacobianLens | None, top: int, asked: Sequence[int], told: Callable[[int], object]
) -> TokensRead:
    """Every layer at every position: rows (layers, components, positions).

    Raises:
        StoppedError: watched work is to stop.
    """
    model, layers = stream.model, list(stream.by_layer)
    most_rows = max(1, _LOGITS_AT_ONCE // model.config.vocab_size)
    n_positions = len(stream.final)
    by_block = []
    for start in range(0, n_positions, most_rows):
        stop = min(start + most_rows, n_positions)
        by_block.append(_read_block(stream, lens, layers, (start, stop), most_rows, top, asked, told))
    return TokensRead.joined(by_block, dim=2)


def _read_block(
    stream: LensStream,
    lens: JacobianLens | None,
    layers: list[int],
    block: tuple[int, int],
    most_rows: int,
    top: int,
    asked: Sequence[int],
    told: Callable[[int], object],
) -> TokensRead:
    model, (start, stop) = stream.model, block
    resid = stream.final[start:stop]
    own = lens_logits(model, resid[None])
    final = FinalDistribution(own[0])
    parts: list[TokensRead] = []
    if stream.of != "resid":
        scales = model.final_norm.scale(at_least_float32(resid))
        for layer in layers:
            rows = [
                tokens_of_logits(write_logits(model, some, scales), top, asked, final)
                for some in stream.vectors(layer, start, stop).split(max(1, most_rows // (stop - start)))
            ]
            parts.append(TokensRead.joined([_as_layer(each) for each in rows], dim=1))
            stop_if_asked()
            told(stop - start)
        return TokensRead.joined(parts, dim=0)
    last = model.config.n_layers - 1
    for some in _groups(layers, last, max(1, most_rows // (stop - start))):
        if some == [last]:
            logits = own  # what the model itself computes, and not another rounding of it
        else:
            vectors = [_transported(lens, layer, stream.vectors(layer, start, stop)) for layer in some]
            logits = lens_logits(model, torch.cat(vectors))
        read = tokens_of_logits(logits, top, asked, final)
        parts.append(TokensRead(*(tensor[:, None] for tensor in vars(read).values())))
        stop_if_asked()
        told(len(some) * (stop - start))
    return TokensRead.joined(parts, dim=0)


def _as_layer(read: TokensRead) -> TokensRead:
    return TokensRead(*(tensor[None] for tensor in vars(read).values()))


def _transported(lens: JacobianLens | None, layer: int, vectors: Tensor) -> Tensor:
    return vectors if lens is None else lens.transported(layer, vectors)


def _groups(layers: list[int], last: int, size: int) -> Iterator[list[int]]:
    """Layers that are read together; the last one alone."""
    below = [layer for layer in layers if layer != last]
    for start in range(0, len(below), size):
        yield below[start : start + size]
    if last in layers:
        yield [last]
