"""Whether a pair's prompts lie beside each other token by token, for one model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from neuron_explainer.experiments.pairs.pair import AnswerOfPair, PromptPair, alternatives_of
from neuron_explainer.models.model_context import ModelContext

LENGTHS = "the prompts are not of as many tokens, word by word"
ANSWERS = "an answer is several tokens after the prompt"
SAME = "target and distractor are the same token"
OTHER_POSITIONS = "the words are not at the same positions as in those found"
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
        if len(clean) != len(corrupted) or clean == corrupted:
            return LENGTHS
        if self.words_of(pair.clean) != self.words_of(pair.corrupted):  # equal sums alone may hide a shift
            return LENGTHS
        kept = [self._kept(answer, pair.clean, clean) for answer in (pair.target, pair.distractor)]
        if not all(kept):
            return ANSWERS
        target, distractor = ({self._tokens(text)[0] for text in texts} for texts in kept)
        if target & distractor:
            return SAME
        return replace(pair, target=_one_or_several(kept[0]), distractor=_one_or_several(kept[1]))

    def words_of(self, prompt: str) -> tuple[int, ...]:
        """How many tokens each word of a prompt has."""
        first, *others = prompt.split(" ")
        return tuple(len(self._tokens(word)) for word in (first, *(f" {other}" for other in others)))

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
