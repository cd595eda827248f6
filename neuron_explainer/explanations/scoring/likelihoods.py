"""How likely a language model finds texts that follow a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from neuron_explainer.attribution.computing.batches import batches_of
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import part_of_work

_MOST_LOGITS = 2**26


def log_likelihoods(
    model: Transformer, prompt: Sequence[int], texts: Sequence[Sequence[int]], *, progress: bool | None = None
) -> list[float]:
    """The log-likelihood of each text after a prompt: the sum over its tokens, in nats; 0 for one without tokens.

    Each text is run with the whole prompt before it, and no keys and values are shared: it attends to the prompt and to
    itself alone.

    Args:
        model: the model.
        prompt: token ids, at least one.
        texts: the token ids of each.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Raises:
        PromptError: a prompt and text together are too long, or an id is outside of the vocabulary.
        StoppedError: the work is to stop.
    """
    found = [0.0] * len(texts)
    asked = [number for number, text in enumerate(texts) if text]
    batches = list(_batches(model, [len(prompt) + len(texts[number]) for number in asked]))
    with passes_bar(len(asked), progress, "likelihoods", "text") as done, torch.inference_mode():
        for at, batch in enumerate(batches):
            numbers = [asked[each] for each in batch]
            with part_of_work(at, len(batches)):
                for number, value in zip(
                    numbers, _of_batch(model, prompt, [texts[each] for each in numbers]), strict=True
                ):
                    found[number] = value
            done(len(batch))
    return found


def _batches(model: Transformer, lengths: Sequence[int]) -> Iterator[list[int]]:
    for batch in batches_of(lengths, model):
        most = max(1, _MOST_LOGITS // (model.config.vocab_size * max(lengths[each] for each in batch)))
        for start in range(0, len(batch), most):
            yield batch[start : start + most]


def _of_batch(model: Transformer, prompt: Sequence[int], texts: Sequence[Sequence[int]]) -> list[float]:
    longest = max(map(len, texts))
    rows = [[*prompt, *text, *[prompt[0]] * (longest - len(text))] for text in texts]
    is_real = torch.arange(len(prompt) + longest) < torch.tensor([[len(prompt) + len(text)] for text in texts])
    logits = model(torch.tensor(rows), attention_mask=is_real)
    found = []
    for own, text in zip(logits, texts, strict=True):
        following = at_least_float32(own[len(prompt) - 1 : len(prompt) + len(text) - 1]).log_softmax(-1)
        targets = torch.tensor(text, device=following.device)[:, None]
        found.append(following.gather(-1, targets).double().sum())
    return torch.stack(found).tolist()
