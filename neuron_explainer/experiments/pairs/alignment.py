"""Whether a pair's prompts lie beside each other token by token, for one model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from neuron_explainer.experiments.pairs.pair import AnswerOfPair, PromptPair, alternatives_of
from neuron_explainer.models.model_context import ModelContext

LENGTHS = "the prompts are not of as many tokens, word by word"
ANSWERS = "an answer is several tokens after the prompt"
SAME = "target and distractor are the same token"
TOO_LONG = "the model does not read as many tokens"


class Alignment:
    """Compares pairs by a model's tokens.

    Args:
        model: the model, whose tokenizer is used as it is for texts.
    """

    def __init__(self, model: ModelContext) -> None:
        self._model = model
        # The same few words and answers come again and again.
        self._tokens = lru_cache(maxsize=4096)(self._encoded)

    def aligned(self, pair: PromptPair) -> PromptPair | str:
        """The pair as the model can be asked about it, or why it cannot.

        Of several alternatives, those that are single tokens after the prompt are kept.
        """
        clean, corrupted = (self._model.encode(text) for text in (pair.clean, pair.corrupted))
        if len(clean) > self._model.max_context_length:
            return TOO_LONG
        if len(clean) != len(corrupted) or clean == corrupted or not self._words_match(pair):
            return LENGTHS
        kept = [self._kept(answer, pair.clean, clean) for answer in (pair.target, pair.distractor)]
        if not all(kept):
            return ANSWERS
        target, distractor = ({self._tokens(text)[0] for text in texts} for texts in kept)
        if target & distractor:
            return SAME
        return replace(pair, target=_one_or_several(kept[0]), distractor=_one_or_several(kept[1]))

    def _words_match(self, pair: PromptPair) -> bool:
        """Whether each word has as many tokens as the one in its place: equal sums alone may hide a shift."""
        clean, corrupted = pair.clean.split(" "), pair.corrupted.split(" ")
        return len(clean) == len(corrupted) and all(
            one == other or len(self._tokens(f" {one}")) == len(self._tokens(f" {other}"))
            for one, other in zip(clean, corrupted, strict=True)
        )

    def _kept(self, answer: AnswerOfPair, prompt: str, prompt_tokens: list[int]) -> tuple[str, ...]:
        """The alternatives that are one token, and the next one of the text that they continue."""
        return tuple(text for text in alternatives_of(answer) if self._continues(text, prompt, prompt_tokens))

    def _continues(self, text: str, prompt: str, prompt_tokens: list[int]) -> bool:
        tokens = self._tokens(text)
        return len(tokens) == 1 and self._model.encode(prompt + text) == [*prompt_tokens, *tokens]

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self._model.encode(text, add_special_tokens=False))


def _one_or_several(texts: tuple[str, ...]) -> AnswerOfPair:
    return texts[0] if len(texts) == 1 else texts
