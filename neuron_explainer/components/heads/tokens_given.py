"""The tokens among which a head's pairs are looked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.vocabulary.checks import checked_number, whole_number

if TYPE_CHECKING:
    from neuron_explainer.components.component import VocabularyGiven
    from neuron_explainer.models.model_context import ModelContext

N_TOKENS = 4096


@dataclass(frozen=True)
class TokensOfPairs:
    """Token ids, and in words which they are."""

    ids: Int[Tensor, " tokens"]
    words: str


def tokens_of_pairs(context: ModelContext, given: VocabularyGiven) -> TokensOfPairs:
    """The tokens that a caller means: see `VocabularyGiven`.

    Raises:
        InvalidRequestError: no tokens are given, or it is none of these.
        NotOneTokenError: one of several texts is not one token.
    """
    n_vocabulary = context.get_or_create_model().config.vocab_size
    if given is None or whole_number(given) is not None:
        n_first = N_TOKENS if given is None else checked_number("tokens", given)
        if n_first < n_vocabulary:
            ids = torch.arange(n_first, dtype=torch.int64, device="cpu")
            return TokensOfPairs(ids, f"the first {n_first:,} tokens of the vocabulary")
        given = "all"
    if isinstance(given, str) and given == "all":
        ids = torch.arange(n_vocabulary, dtype=torch.int64, device="cpu")
        return TokensOfPairs(ids, f"all {n_vocabulary:,} tokens of the vocabulary")
    if isinstance(given, str):
        several = list(dict.fromkeys(context.encode(given, add_special_tokens=False)))
        words = f"the {len(several):,} different tokens of the reference text"
    elif isinstance(given, Iterable):
        texts = list(given)
        if wrong := [each for each in texts if not isinstance(each, str)]:
            raise InvalidRequestError(f"tokens holds {shown(wrong[0])}. Give texts of one token each.")
        several = list(dict.fromkeys(context.encode_token_str(each) for each in texts))
        words = f"the {len(several):,} tokens given"
    else:
        raise InvalidRequestError(
            f'tokens is {shown(given)}. Give a reference text, a number of tokens, "all", or texts of one token each.'
        )
    if not several:
        raise InvalidRequestError(f"tokens is {shown(given)}, which has no tokens.")
    return TokensOfPairs(torch.tensor(several, dtype=torch.int64, device="cpu"), words)
