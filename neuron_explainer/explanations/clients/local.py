"""`LocalClient`: a model at hand answers, without any endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.clients.client import SECONDS_WITHOUT_BAR, ChatAnswer, ChatRequest, checked_requests
from neuron_explainer.models.watching import part_of_work, stop_if_asked
from neuron_explainer.vocabulary.checks import checked_text


class _AnsweringModel(Protocol):
    """A model that answers."""

    name: str

    def batches(self, requests: Sequence[ChatRequest]) -> Iterator[list[int]]:
        """The numbers of the requests that are answered together."""
        ...

    def answers(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The answers to a batch."""
        ...


class LocalClient:
    """Asks a model at hand: one of this library, or one of `transformers` with its tokenizer.

    Messages become text by the model's chat template; a model without one reads their texts, one below the other, and
    goes on. It is not held to a schema, nor told of it: the questions of this library say the form of the answer in
    words, and small models copy a schema that is written beneath. Greedy answers are written in batches;
    sampled ones one by one, so that a seed gives the same answer whatever is asked beside it. Log-probabilities are
    those of the model, before any temperature. Interventions that this thread has entered take part, so answers are not
    cached.

    Args:
        model: what `ne.load_model` gives, or a causal language model of `transformers`.
        tokenizer: the tokenizer of a model of `transformers`; not for one of this library, which has it.
        name: what the model is called in tables and files; None: its own name.

    Attributes:
        name: the model's name.

    Raises:
        InvalidRequestError: `model` is none of these, or its tokenizer is missing.

    >>> import neuron_explainer as ne
    >>> client = LocalClient(ne.load_model("tiny", device="cpu"))
    >>> client.ask([ChatRequest((("user", "Once upon a time"),), max_tokens=3)])[0].n_answer_tokens
    3
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, name: str | None = None) -> None:
        self._model = _answering(model, tokenizer)
        self.name = self._model.name if name is None else checked_text("name", name)

    def ask(self, requests: Sequence[ChatRequest], *, progress: bool | None = None) -> list[ChatAnswer]:
        """The answers, in the order of the requests; equal greedy questions are asked once.

        An answer ends where the model's context does.

        Args:
            requests: the questions.
            progress: whether there is a bar; None: on a terminal or in a notebook, where it takes longer than 2 s.

        Raises:
            PromptError: a question is too long for the model.
            ChatTemplateError: the model's chat template cannot write the messages.
            StoppedError: watched work is to stop.
            InvalidRequestError: these are not ChatRequests.
        """
        asked = checked_requests(requests)
        places: dict[object, list[int]] = {}
        for number, request in enumerate(asked):
            is_sampled = request.temperature > 0 and request.seed is None
            places.setdefault(number if is_sampled else _what_counts(request), []).append(number)
        firsts = [numbers[0] for numbers in places.values()]
        answers: dict[int, ChatAnswer] = {}
        batches = [[firsts[each] for each in batch] for batch in self._model.batches([asked[each] for each in firsts])]
        with passes_bar(len(firsts), progress, "asking", "answer", SECONDS_WITHOUT_BAR) as tell:
            for number, batch in enumerate(batches):
                stop_if_asked()
                with part_of_work(number, len(batches)):
                    answers.update(zip(batch, self._model.answers([asked[each] for each in batch]), strict=True))
                tell(len(batch))
        found = {number: answers[numbers[0]] for numbers in places.values() for number in numbers}
        return [found[number] for number in range(len(asked))]

    def __repr__(self) -> str:
        return f"LocalClient({self.name!r})"


def _answering(model: Any, tokenizer: Any) -> _AnsweringModel:
    from neuron_explainer.models.abstract_model_context import ModelContext

    if isinstance(model, ModelContext):
        from neuron_explainer.explanations.clients.own_model import OwnModel

        if tokenizer is not None:
            raise InvalidRequestError("A model of this library has its tokenizer. Give the model alone.")
        return OwnModel(model)
    if callable(getattr(model, "generate", None)) and hasattr(model, "config"):
        from neuron_explainer.explanations.clients.transformers_model import TransformersModel

        if not callable(tokenizer) or not hasattr(tokenizer, "decode"):
            raise InvalidRequestError(
                f"tokenizer is {shown(tokenizer)}. Give the tokenizer of the model: LocalClient(model, tokenizer)."
            )
        return TransformersModel(model, tokenizer)
    raise InvalidRequestError(
        f"model is {shown(model)}. Give a model of this library, ne.load_model(…), or one of transformers with its "
        "tokenizer."
    )


def _what_counts(request: ChatRequest) -> tuple[object, ...]:
    return (
        request.messages,
        request.max_tokens,
        request.temperature,
        request.seed if request.temperature else None,
        request.top_logprobs,
    )
