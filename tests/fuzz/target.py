"""What is fuzzed: folders with one file that changes, and what reads them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Mutate = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
"""Makes another file from a file, a generator, and the files of the other scenes."""


@dataclass(frozen=True)
class Scene:
    """A folder of valid files, one of which is changed.

    Attributes:
        files: every file of the folder by its name.
        changed: the name of the one that is changed.
        mutate: how.
        is_valid: whether the folder can be loaded as it is.
    """

    files: dict[str, bytes]
    changed: str
    mutate: Mutate
    is_valid: bool = True

    @property
    def content(self) -> bytes:
        """The file that is changed, as it is."""
        return self.files[self.changed]


@dataclass(frozen=True)
class Target:
    """A kind of file from outside.

    Attributes:
        name: its name.
        scenes: makes the scenes; it is given an empty folder to work in.
        read: loads a folder by the library's public functions, and looks at what it gets: an AssertionError says that
            this is not sane. A NeuronExplainerError is a refusal; any other exception is a fault.
        most_seconds: how much time of the processor a case may take.
        most_bytes: how much memory a case may take, beside what the process has.
        may_warn: a package whose own warnings may reach the user. To silence them would change the filters of all
            threads.
    """

    name: str
    scenes: Callable[[Path], list[Scene]]
    read: Callable[[Path], None]
    most_seconds: float = 5.0
    most_bytes: int = 512 * 2**20
    may_warn: str | None = None


def case_of(scenes: Sequence[Scene], seed: int, number: int) -> tuple[int, bytes]:
    """A case: the number of its scene, and the content of its changed file. The first are the files as they are."""
    if number < len(scenes):
        return number, scenes[number].content
    chance = random.Random(f"{seed} {number}")
    valid = [index for index, scene in enumerate(scenes) if scene.is_valid]
    index = chance.choice(valid if chance.random() < 0.7 else range(len(scenes)))
    scene = scenes[index]
    others = [other.content for other in scenes if other.mutate is scene.mutate]
    return index, scene.mutate(scene.content, chance, others)


def files_in(folder: Path) -> dict[str, bytes]:
    """All files in a folder and those below it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def scenes_of(folder: Path, changed: Mapping[str, Mutate]) -> list[Scene]:
    """A scene for each of these files of a folder that has been written."""
    files = files_in(folder)
    return [Scene(files, name, mutate) for name, mutate in changed.items()]
