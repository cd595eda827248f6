"""The parameters of one module, each read from disk when it is looked up."""

from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from neuron_explainer.models.offload.disk_weights import DiskWeights


class DiskParameters(MutableMapping[str, "nn.Parameter | None"]):
    """Takes the place of the dict in which a module of torch has its parameters.

    So whatever uses `module.output_weight` works with weights in memory and on disk. A parameter that is assigned stays
    in memory.
    """

    def __init__(self, weights: DiskWeights, prefix: str, names: Iterable[str]) -> None:
        """Make the mapping.

        Args:
            weights: reads the weights.
            prefix: the module's path in the model, with a dot at the end; empty for the model itself.
            names: the names of the module's parameters.
        """
        self._weights = weights
        self._prefix = prefix
        self._names = dict.fromkeys(names)
        self.assigned: dict[str, nn.Parameter | None] = {}

    def __getitem__(self, name: str) -> nn.Parameter | None:
        if name not in self._names:
            raise KeyError(name)
        return self.assigned[name] if name in self.assigned else self._weights.weight(self._prefix + name)

    def __setitem__(self, name: str, parameter: nn.Parameter | None) -> None:
        self._names[name] = None
        self.assigned[name] = parameter

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self.assigned.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # the base class would read the weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle has the weights themselves, as that of a model in memory."""
        return dict, ({name: self[name] for name in self},)

    def __deepcopy__(self, memo: dict[int, Any]) -> "DiskParameters":
        copied = DiskParameters(self._weights, self._prefix, self._names)
        copied.assigned = {
            name: None if each is None else nn.Parameter(each.detach().clone(), requires_grad=each.requires_grad)
            for name, each in self.assigned.items()
        }
        return copied

    def rows(self, name: str, ids: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes channels"]:
        """Rows of a matrix; of one on disk, only these are read."""
        assigned = self.assigned.get(name)
        return (
            self._weights.rows(self._prefix + name, ids) if assigned is None else nn.functional.embedding(ids, assigned)
        )


def put_on_disk(model: nn.Module, weights: DiskWeights) -> None:
    """Let every module of a model read its parameters from disk."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        module._parameters = DiskParameters(weights, prefix, module._parameters)


def weights_in_memory(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that are in memory: all, or of a model on disk those that were assigned."""
    for module in model.modules():
        of_module: MutableMapping[str, nn.Parameter | None] = module._parameters
        in_memory = of_module.assigned if isinstance(of_module, DiskParameters) else of_module
        yield from (each for each in in_memory.values() if each is not None)
