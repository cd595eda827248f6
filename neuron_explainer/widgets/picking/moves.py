"""Where the buttons of a picker lead: the next and previous component, a random one, and those visited before."""

import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

from neuron_explainer.widgets.attribution.trail import Trail
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice
from neuron_explainer.widgets.neurons.sources import RecordSource

_MOST_VISITED = 1000
_TYPING_SECONDS = 1.0


def moved_among_living(
    source: RecordSource, size: DatasetSize, choice: NeuronChoice, step: int, hides_dead: bool
) -> NeuronChoice:
    """The previous (step -1) or next (step 1) component, also across layers; the same one at an end.

    Args:
        source: what says which components are ever active.
        size: the size of the dataset.
        choice: the present component.
        step: -1 or 1.
        hides_dead: whether components that are never active are passed over, where that is known.
    """
    living = _living(source, choice, choice.layer) if hides_dead else None
    if living is None or size.layers is None or choice.layer not in size.layers:
        return size.moved(choice, step)
    place = bisect_right(living, choice.neuron) if step > 0 else bisect_left(living, choice.neuron) - 1
    if 0 <= place < len(living):
        return replace(choice, neuron=living[place])
    at = size.layers.index(choice.layer)
    beyond = size.layers[at + 1 :] if step > 0 else size.layers[:at][::-1]
    for layer in beyond:
        candidates = _candidates(source, size, choice, layer, hides_dead)
        if candidates:
            return replace(choice, layer=layer, neuron=candidates[0 if step > 0 else -1])
    return choice


def random_choice(
    source: RecordSource, size: DatasetSize, choice: NeuronChoice, hides_dead: bool, seed: int | None
) -> NeuronChoice | None:
    """A component of any layer; one that is active somewhere if others are hidden. None if the size is unknown."""
    if not size.layers or not size.n_components:
        return None
    chance = random if seed is None else random.Random(seed)
    layers = list(size.layers)
    chance.shuffle(layers)
    for layer in layers:
        candidates = _candidates(source, size, choice, layer, hides_dead)
        if candidates:
            return replace(choice, layer=layer, neuron=chance.choice(candidates))
    return replace(choice, layer=layers[0], neuron=chance.randrange(size.n_components))  # all are dead


def _candidates(
    source: RecordSource, size: DatasetSize, choice: NeuronChoice, layer: int, hides_dead: bool
) -> Sequence[int]:
    living = _living(source, choice, layer) if hides_dead else None
    return range(size.n_components or 1) if living is None else living


def _living(source: RecordSource, choice: NeuronChoice, layer: int) -> Sequence[int] | None:
    return source.living(choice.dataset, choice.dst, layer)


class History(Trail[NeuronChoice]):
    """The components that were visited. What is typed in one go counts as one."""

    def __init__(self) -> None:
        super().__init__()
        self._typed_at: float | None = None  # when the entry on view was typed

    def note(self, choice: NeuronChoice, is_typed: bool) -> None:
        """Note a component; one that is typed soon after another replaces that."""
        now = time.monotonic()
        if is_typed and self._typed_at is not None and now - self._typed_at < _TYPING_SECONDS:
            self._entries[self._place] = choice
        else:
            self.visit(choice)
        self._typed_at = now if is_typed else None
        if len(self._entries) > _MOST_VISITED:
            del self._entries[0]
            self._place -= 1

    def step(self, step: int) -> NeuronChoice | None:
        """Go back (-1) or forward (1); None at an end."""
        found = self.ahead(step)
        if found is None:
            return None
        place, choice = found
        self.move_to(place)
        self._typed_at = None
        return choice
