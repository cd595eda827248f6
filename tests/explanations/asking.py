"""What the tests of clients share."""

from pathlib import Path
from typing import Any

from helpers.scripted_endpoint import ScriptedEndpoint
from neuron_explainer.explanations import ChatRequest, OpenAICompatibleClient

MODEL = "a-model"


def question(text: str, **options: Any) -> ChatRequest:
    return ChatRequest((("user", text),), **options)


def questions(number: int) -> list[ChatRequest]:
    return [question(f"question {each}") for each in range(number)]


def client_of(endpoint: ScriptedEndpoint, cache: Path | bool = False, **options: Any) -> OpenAICompatibleClient:
    """A client that waits for milliseconds only."""
    quick = {"pause": 0.001, "longest_pause": 0.01, "timeout": 5.0, "max_attempts": 4}
    return OpenAICompatibleClient(endpoint.base_url, MODEL, cache=cache, **(quick | options))
