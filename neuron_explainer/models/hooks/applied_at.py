"""Where in the pass an intervention is applied, for functions that take that beside the tensor."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.layers.span import Span
from neuron_explainer.vocabulary.places import ActivationLocationType

InterventionFunction = Callable[[Tensor], Tensor] | Callable[[Tensor, "AppliedAt"], Tensor]
"""From a tensor to the new one; a function of two is told where it is applied as well."""


@dataclass(frozen=True, eq=False, repr=False)
class AppliedAt:
    """Where an intervention is applied: the second argument of a function of two.

    Attributes:
        place: the place.
        layer: the layer, from 0; None for a place without layers.

    >>> import neuron_explainer as ne
    >>> model, seen = ne.load_model("tiny", device="cpu"), []
    >>> def look(tensor, at):
    ...     seen.append((at.layer, at.positions.tolist()))
    ...     return tensor
    >>> with model.intervene("resid_post_mlp", 1, look, notes_change=False):
    ...     text = model.generate([5, 17, 3], max_new_tokens=3)
    >>> seen
    [(1, [[0, 1, 2]]), (1, [[3]]), (1, [[4]])]
    """

    place: ActivationLocationType
    layer: int | None
    _span: Span

    @property
    def positions(self) -> Int[Tensor, "rows tokens"]:
        """The tokens' positions in their whole texts, from 0, on the model's device.

        One row if they are the same in every text of the batch, else a row for each. They count earlier tokens that a
        cache holds. Of a padded batch, padding has positions too: those after the text's last token.
        """
        return self._span.position_ids.clone()  # the pass still needs its own

    @property
    def n_tokens(self) -> int:
        """How many tokens the pass runs over, padding included."""
        return self._span.n_tokens

    def __repr__(self) -> str:
        layer = "" if self.layer is None else f", layer {self.layer}"
        return f"AppliedAt({self.place.value}{layer}, {self.n_tokens} token{'' if self.n_tokens == 1 else 's'})"


def takes_where(fn: Callable[..., Any]) -> bool:
    """Whether an intervention's function takes a second argument: if it has two that must be given.

    Functions that do not tell their arguments, as many of torch do not, are taken to be of the tensor alone.

    Raises:
        InvalidRequestError: it takes neither one argument nor two.
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return False
    by_position = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    takes_any = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    required = [each for each in by_position if each.default is each.empty]
    by_name = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if len(required) > 2 or by_name or not (by_position or takes_any):
        needed = [*(each.name for each in required), *by_name]
        takes = f"must be given {', '.join(needed)}" if needed else "takes no argument"
        raise InvalidRequestError(
            f"fn is {shown(fn)}, which {takes}. It is called with the tensor alone, or if two arguments must be given, "
            "with the tensor and where it is: fn(tensor) or fn(tensor, at)."
        )
    return len(required) == 2
