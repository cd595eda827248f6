"""Which prompts share a pass: those of similar length, and no more than memory allows."""

from collections.abc import Iterator, Sequence

from neuron_explainer.models.offload.free_memory import free_bytes
from neuron_explainer.models.transformer import Transformer

_SHARE_OF_MEMORY = 0.25
_ASSUMED_BYTES = 8 * 2**30  # where a device does not tell how much is free
_MOST_PROMPTS = 64
_MOST_LOGITS = 2**26
_MOST_PADDING = 1.25
"""How many times as long as the shortest the longest prompt of a batch may be."""


def batches_of(lengths: Sequence[int], model: Transformer) -> Iterator[list[int]]:
    """The numbers of the prompts in each batch.

    Args:
        lengths: how many tokens each prompt has.
        model: the model. Where longrope stretches the positions of long prompts in another way than those of short
            ones, the two do not share a pass.
    """
    free = free_bytes(model.device)
    budget = _SHARE_OF_MEMORY * (_ASSUMED_BYTES if free is None else free)
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if batch and not _fits(model, lengths[batch[0]], lengths[number], len(batch) + 1, budget):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def batches_of_rows(n_rows: int, n_tokens: int, logits_of_row: int, model: Transformer) -> Iterator[list[int]]:
    """The numbers of the rows that share a pass, all of as many tokens and none with more logits than are held at once.

    Args:
        n_rows: how many rows there are.
        n_tokens: how many tokens each has.
        logits_of_row: how many logits are made for each.
        model: the model.
    """
    most = max(1, _MOST_LOGITS // logits_of_row)
    for batch in batches_of([n_tokens] * n_rows, model):
        for start in range(0, len(batch), most):
            yield batch[start : start + most]


def _fits(model: Transformer, shortest: int, longest: int, n_prompts: int, budget: float) -> bool:
    kinds = map(model.config.layers_rotated_as_long, (shortest, longest))
    return (
        n_prompts <= _MOST_PROMPTS
        and longest <= max(_MOST_PADDING * shortest, shortest + 8)
        and len(set(kinds)) == 1
        and n_prompts * bytes_of_pass(model, longest) <= budget
    )


def bytes_of_pass(model: Transformer, n_tokens: int) -> int:
    """About how much memory a pass and its results take, for a prompt of a length."""
    config = model.config
    width = max(4, model.dtype.itemsize)
    neurons = config.d_mlp // max(1, config.n_experts) * max(1, config.n_chosen_experts)
    by_token = 5 * neurons + 12 * config.d_model
    by_pair = 4 * config.n_heads
    of_layers = config.n_layers * n_tokens * (by_token + by_pair * n_tokens)
    return width * (of_layers + config.vocab_size * 4)
