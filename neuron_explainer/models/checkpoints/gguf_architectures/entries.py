"""The entries of a GGUF file that describe its model: those whose key begins with the architecture's name."""

from collections.abc import Iterator
from typing import Any

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError, shown
from neuron_explainer.models.checkpoints.gguf_architectures.known_entries import (
    NEUTRAL_VALUES,
    WITHOUT_EFFECT,
    is_neutral,
)
from neuron_explainer.models.families.config_entries import MOST_LAYERS, MOST_POSITIONS
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.notices import UnexpectedContentWarning, warn
from neuron_explainer.vocabulary.checks import finite_number, whole_number

_MOST_NAMED = 5


class Entries:
    """A file's entries of one architecture. Keys are without the architecture's name.

    It notes which entries were asked for: `refuse_the_rest` refuses the others, if they change what is computed.
    """

    def __init__(self, file: GgufFile, architecture: str) -> None:
        self.file = file
        self.architecture = architecture
        self._asked_for: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """An entry as it is."""
        self._asked_for.add(key)
        return self.file.metadata.get(self._full(key), default)

    def size(self, key: str, default: int | None = None, *, largest: int = MOST_POSITIONS) -> int:
        """A whole number above 0.

        Raises:
            MalformedCheckpointError: the entry is missing and has no default, or is something else.
        """
        value = self._required(key, default)
        number = whole_number(value)
        if number is None or not 1 <= number <= largest:
            raise self.malformed(f"{self._full(key)} is {shown(value)}; it must be 1 or more, at most {largest}")
        return number

    def size_if_set(self, key: str) -> int | None:
        """As `size`; None if the entry is missing or 0, which is how llama.cpp writes that it is not set."""
        return None if self.get(key) in (None, 0) else self.size(key)

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number above 0.

        Raises:
            MalformedCheckpointError: the entry is missing and has no default, or is something else.
        """
        value = self._required(key, default)
        number = finite_number(value)
        if number is None or number <= 0:
            raise self.malformed(f"{self._full(key)} is {shown(value)}; it must be above 0")
        return number

    def number_if_set(self, key: str) -> float | None:
        """As `number`; None if the entry is missing or 0."""
        return None if self.get(key) in (None, 0) else self.number(key)

    def n_layers(self) -> int:
        """The number of layers."""
        return self.size("block_count", largest=MOST_LAYERS)

    def window(self) -> int | None:
        """How many tokens a layer with a sliding window attends to; None if there is no window."""
        return self.size_if_set("attention.sliding_window")

    def layer_types(self, period: int) -> list[str]:
        """The type of each layer, as Hugging Face names it.

        Args:
            period: the file may give the type of each layer, or a period of its own. If it does not, each `period`-th
                layer attends everywhere.

        Raises:
            MalformedCheckpointError: the entry is of another kind, or has more or fewer types than there are layers.
        """
        key, n_layers = "attention.sliding_window_pattern", self.n_layers()
        pattern = self.get(key)
        if isinstance(pattern, list):
            if len(pattern) != n_layers or any(each not in (0, 1) for each in pattern):
                raise self.malformed(f"{self._full(key)} must say of each of {n_layers} layers whether it has a window")
            slides = [bool(each) for each in pattern]
        else:
            step = self.size(key, period)
            slides = [bool((layer + 1) % step) for layer in range(n_layers)]
        return ["sliding_attention" if each else "full_attention" for each in slides]

    def has_tensor(self, name: str) -> bool:
        """Whether the file has a tensor."""
        return name in self.file.tensors

    def n_rows(self, name: str) -> int:
        """The number of rows of a matrix.

        Raises:
            MalformedCheckpointError: the file has no such matrix.
        """
        tensor = self.file.tensors.get(name)
        if tensor is None or len(tensor.shape) != 2:
            raise MalformedCheckpointError(
                f"{self.file.path} has no matrix {name!r}.", file=self.file.path, tensor=name
            )
        return tensor.shape[0]

    def refuse_the_rest(self) -> None:
        """Refuse the entries that nobody asked for and that change what the model computes.

        Raises:
            UnsupportedCheckpointError: there is such an entry.
        """
        for key, value in self._not_asked_for():
            if key in NEUTRAL_VALUES and not is_neutral(key, value, self.get("context_length")):
                raise self.unsupported(
                    f"{self._full(key)} is {shown(value)}, which is not supported in a model of this architecture"
                )

    def warn_of_unknown(self) -> None:
        """Warn if there are entries that this library does not know."""
        unknown = [self._full(key) for key, _ in self._not_asked_for() if key not in NEUTRAL_VALUES]
        if unknown:
            others = " and others" if len(unknown) > _MOST_NAMED else ""
            warn(
                f"{self.file.path} has entries that this library does not know: "
                f"{', '.join(map(shown, unknown[:_MOST_NAMED]))}{others}. They are not used.",
                UnexpectedContentWarning,
            )

    def malformed(self, problem: str) -> MalformedCheckpointError:
        """The error that says what is wrong with the file."""
        return MalformedCheckpointError(f"{self.file.path}: {problem}.", file=self.file.path)

    def unsupported(self, problem: str, tensor: str | None = None) -> UnsupportedCheckpointError:
        """The error that says what of the file is not supported."""
        return UnsupportedCheckpointError(f"{self.file.path}: {problem}.", file=self.file.path, tensor=tensor)

    def _not_asked_for(self) -> Iterator[tuple[str, Any]]:
        prefix, known = f"{self.architecture}.", self._asked_for | WITHOUT_EFFECT
        for full_key, value in self.file.metadata.items():
            key = full_key.removeprefix(prefix)
            if full_key.startswith(prefix) and key not in known:
                yield key, value

    def _full(self, key: str) -> str:
        return f"{self.architecture}.{key}"

    def _required(self, key: str, default: Any = None) -> Any:
        value = self.get(key, default)
        if value is None:
            raise MalformedCheckpointError(
                f"{self.file.path} has no entry {self._full(key)!r}; every {self.architecture} file needs it.",
                file=self.file.path,
            )
        return value
