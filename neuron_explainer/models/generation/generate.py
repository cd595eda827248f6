"""Generation, token by token. Interventions that this thread has entered take part."""

from collections.abc import Iterable, Iterator, Sequence
from typing import SupportsIndex

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, PromptError, shown
from neuron_explainer.models.generation.sampling import Sampling, check_sampling
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.token_checks import TokenIds, as_token_ids, int64_on_cpu, padded
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_number


def generate(
    model: Transformer,
    prompts: Sequence[TokenIds],
    *,
    max_new_tokens: SupportsIndex = 20,
    sampling: Sampling | None = None,
    stop_tokens: TokenIds = (),
    use_cache: bool = True,
) -> list[list[int]]:
    """Generate continuations of prompts.

    Example:
        generate(transformer, [model.encode("Once upon a time")], max_new_tokens=5)

    Args:
        model: runs once over the prompts and once for each new token. Active interventions and recordings take part:
            they see the prompts first and then each new token alone (one position), or without the cache, the whole
            text each time; with it too, the whole text where longrope's stretch of positions changes.
        prompts: token ids; lengths may differ.
        max_new_tokens: the largest number of new tokens.
        sampling: how tokens are chosen; None means the most likely token every time.
        stop_tokens: ids that end a text, such as that of the end-of-text token.
        use_cache: keep keys and values of earlier tokens instead of computing them again.

    Returns:
        The new tokens of each prompt. If a stop token ended a text, it is the last one.

    Raises:
        PromptError: a prompt is empty, has ids outside of the vocabulary, or is too long for that many new tokens.
        InvalidRequestError: `max_new_tokens` is not a whole number above 0; or the model's logits are NaN.
    """
    texts: list[list[int]] = [[] for _ in prompts]
    steps = stream(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        stop_tokens=stop_tokens,
        use_cache=use_cache,
    )
    for step in steps:
        for text, token in zip(texts, step, strict=True):
            if token is not None:
                text.append(token)
    return texts


def stream(
    model: Transformer,
    prompts: Sequence[TokenIds],
    *,
    max_new_tokens: SupportsIndex = 20,
    sampling: Sampling | None = None,
    stop_tokens: TokenIds = (),
    use_cache: bool = True,
) -> Iterator[list[int | None]]:
    """As `generate`, but step by step: each step is a token for each prompt, None for prompts that have ended.

    Errors are raised at once, before the first step, but for that of logits which are NaN.
    """
    n_new = checked_number("max_new_tokens", max_new_tokens)
    if sampling is not None:
        check_sampling(sampling)
    if not isinstance(prompts, Iterable):
        raise PromptError(f"prompts is {shown(prompts)}. Give several sequences of token ids.")
    if isinstance(prompts, str) or any(isinstance(prompt, str) for prompt in prompts):
        raise PromptError(
            f"Give a flat sequence of token ids for each prompt, not {shown(prompts)}. For texts use the generate of a "
            "model from ne.load_model: model.generate(text)."
        )
    ids = [as_token_ids(prompt) for prompt in prompts]
    longest = max((len(prompt) for prompt in ids), default=0)
    if longest + n_new - 1 > model.config.max_context_length:
        raise PromptError(
            f"A prompt of {longest} tokens and {n_new} new ones do not fit into the model's context of "
            f"{model.config.max_context_length} tokens. Shorten the prompt, or lower max_new_tokens."
        )
    padded(ids)  # raises for empty prompts
    return _steps(model, ids, n_new, sampling or Sampling(), frozenset(as_token_ids(stop_tokens)), use_cache)


def _steps(
    model: Transformer,
    prompts: list[list[int]],
    max_new_tokens: int,
    sampling: Sampling,
    stop_tokens: frozenset[int],
    use_cache: bool,
) -> Iterator[list[int | None]]:
    generator = sampling.generator(model.device)
    cache = KeyValueCache() if use_cache else None
    texts = [list(prompt) for prompt in prompts]
    has_ended = [False] * len(texts)
    tokens, attention_mask = padded(texts)
    for _ in range(max_new_tokens):
        logits = model(tokens, attention_mask=attention_mask, logits_at="last", cache=cache)
        chosen = sampling.choose(_numbers(logits[:, 0]), generator).tolist()
        step = [None if ended else token for ended, token in zip(has_ended, chosen, strict=True)]
        has_ended = [ended or token in stop_tokens for ended, token in zip(has_ended, chosen, strict=True)]
        yield step
        if all(has_ended):
            return
        for text, token in zip(texts, chosen, strict=True):
            text.append(token)
        if cache is not None:
            before, now = map(model.config.layers_rotated_as_long, (max(cache.lengths), max(cache.lengths) + 1))
            if before != now:
                cache = KeyValueCache()
        if cache is None or not cache.lengths:
            tokens, attention_mask = padded(texts)
        else:
            tokens, attention_mask = int64_on_cpu(chosen)[:, None], None


def _numbers(logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
    """The logits, refused if one is NaN: the largest of these would be any token."""
    if bool(logits.isnan().any()):
        raise InvalidRequestError(
            f"The model's logits are NaN, so there is no next token. Numbers became too large for {logits.dtype}: load "
            "the model with another dtype, or change it less where an intervention or a direction does."
        )
    return logits
