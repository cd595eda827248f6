"""The answers of sections that have been computed, the latest of them held."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.widgets.neurons.sections.asked import SectionAnswer, SectionAsked

_MOST_CHARACTERS = 6_000_000
_ANYWHERE: frozenset[str] = frozenset({"search"})  # the same for every component of a dataset


class RememberedSections:
    """Answers by what was asked; the oldest are dropped when they are more than six million characters together."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, tuple[NeuronRecord, SectionAnswer]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def find(self, task: SectionAsked) -> SectionAnswer | None:
        """The answer that is held, and still of this record where it shows that; None without one."""
        key = _key(task)
        with self._lock:
            record, answer = self._answers.get(key, (None, None))
            if answer is None or (task.section == "examples" and record != task.record):
                return None
            self._answers.move_to_end(key)
            return answer

    def keep(self, task: SectionAsked, answer: SectionAnswer) -> None:
        """Hold an answer. One's own explanations change outside of the page, so that section is made anew."""
        if task.section == "explanations" or (task.section == "search" and task.settings.kind == "explanation"):
            return
        key = _key(task)
        with self._lock:
            before = self._answers.pop(key, None)
            self._size += len(answer.html) - (0 if before is None else len(before[1].html))
            self._answers[key] = task.record, answer
            while self._size > _MOST_CHARACTERS and len(self._answers) > 1:
                _, (_, oldest) = self._answers.popitem(last=False)
                self._size -= len(oldest.html)


def _key(task: SectionAsked) -> Hashable:
    choice = task.choice
    component = None if task.section in _ANYWHERE else (choice.layer, choice.neuron)
    return task.section, choice.dataset, choice.dst, component, choice.texts, task.settings
