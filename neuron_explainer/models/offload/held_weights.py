"""What a thread holds of a model on disk: the weights of one layer, until it turns to another one."""

import threading

from torch import Tensor, nn

from neuron_explainer.errors import InvalidRequestError


class HeldWeights(threading.local):
    """The weights that this thread has read and may need again.

    They are those of one group: a layer, or one weight outside of the layers. Each thread has its own, so that threads
    in different layers do not make each other read again.

    Attributes:
        group: whose weights they are; None if there are none.
        tensors: what was read, by its name in the checkpoint. Several weights may be parts of it.
        weights: the weights, by their names in the model.
    """

    def __init__(self) -> None:
        self.group: str | None = None
        self.tensors: dict[str, Tensor] = {}
        self.weights: dict[str, nn.Parameter] = {}
        self._name_by_memory: dict[int, str] = {}
        self._version_by_name: dict[str, int] = {}

    def turn_to(self, group: str) -> None:
        """Let the weights of another group go.

        Raises:
            InvalidRequestError: one of them was changed in place.
        """
        if group != self.group:
            self.let_go()
            self.group = group

    def add(self, name: str, weight: nn.Parameter) -> None:
        """Hold a weight of the group."""
        self.weights[name] = weight
        self._name_by_memory.setdefault(weight.untyped_storage().data_ptr(), name)
        self._version_by_name[name] = weight._version

    def name_of_memory(self, tensor: Tensor) -> str | None:
        """The name of a held weight that a tensor is a part of; None if it is of none."""
        return self._name_by_memory.get(tensor.untyped_storage().data_ptr())

    def let_go(self) -> None:
        """Release the memory.

        Raises:
            InvalidRequestError: a weight was changed in place, and the change would be lost.
        """
        changed = [name for name, weight in self.weights.items() if weight._version != self._version_by_name[name]]
        self.drop()
        if changed:
            raise InvalidRequestError(
                f"{changed[0]} was changed in place. A model with offload='disk' reads its weights from their files "
                "whenever it uses them, so the change is lost. Assign a new torch.nn.Parameter instead, which stays in "
                "memory, or load the model without offload."
            )

    def drop(self) -> None:
        """Release the memory, whatever became of the weights."""
        self.group = None
        self.tensors, self.weights, self._name_by_memory, self._version_by_name = {}, {}, {}, {}
