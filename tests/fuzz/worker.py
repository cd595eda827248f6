"""The process in which cases run: `python -m fuzz.worker`. It reads requests and writes answers, a JSON line each.

A case may end the process, or hang: so what is run is announced before it is, and `worker_process` restarts it.

Requests: {"target", "seed", "start", "stop"} runs cases, {"target", "scene", "content"} runs one content,
{"target", "seed", "number"} gives a case without running it, {"names"} the names of the targets. Contents are in
base64.
"""

import base64
import gc
import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from fuzz.planted import PLANTED
from fuzz.target import Target, case_of
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.notices import NeuronExplainerWarning

_ROOM = 8 * 2**30  # what the process may ask for: a limit for the whole machine's sake
_LONGEST_MESSAGE = 3000

Outcome = tuple[str, str]
"""("loaded" or "refused", ""), or ("fault", what and where)."""


class Runner:
    """Runs cases of one target."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        (folder / "made").mkdir(parents=True)
        self.scenes = target.scenes(folder / "made")
        self._folders = [folder / f"scene{number}" for number in range(len(self.scenes))]
        for scene, place in zip(self.scenes, self._folders, strict=True):
            for name, content in scene.files.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)

    def run(self, index: int, content: bytes) -> Outcome:
        """Load a scene whose changed file has this content."""
        scene, folder = self.scenes[index], self._folders[index]
        file = folder / scene.changed
        replacement = file.with_name(file.name + ".new")
        replacement.write_bytes(content)
        os.replace(replacement, file)  # a file that is mapped into memory must not be changed in place
        outcome = _watched(self.target, folder)
        if outcome[0] == "refused" and scene.is_valid and content == scene.content:
            return "fault", f"a valid file is refused: {outcome[1]}"
        return outcome


def _watched(target: Target, folder: Path) -> Outcome:
    before, begun = _memory_from_here_on(), time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            target.read(folder)
            outcome: Outcome = ("loaded", "")
        except NeuronExplainerError as error:
            outcome = ("refused", f"{type(error).__name__}: {error}"[:300])
            if len(str(error)) > _LONGEST_MESSAGE:
                outcome = ("fault", f"a message of more than {_LONGEST_MESSAGE} characters: {_described(error)}")
        except BaseException as error:  # a panic of code in Rust is no Exception
            outcome = ("fault", _described(error))
    seconds, n_bytes = time.process_time() - begun, _most_memory() - before
    foreign = [each for each in caught if not issubclass(each.category, NeuronExplainerWarning)]
    foreign = [each for each in foreign if target.may_warn is None or target.may_warn not in Path(each.filename).parts]
    if outcome[0] == "fault":
        return outcome
    if foreign:
        return "fault", f"{foreign[0].category.__name__} at {_short(foreign[0].filename)}:{foreign[0].lineno}"
    if seconds > target.most_seconds:
        return "fault", f"more than {target.most_seconds:g} seconds"
    if n_bytes > target.most_bytes:
        return "fault", f"more than {target.most_bytes / 2**20:.0f} MiB"
    return outcome


def _described(error: BaseException) -> str:
    """The kind of an error, and the last line of the library that it passed: what makes two faults the same."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "neuron_explainer" in _short(frame.filename)] or frames[-1:]
    at = f"{_short(own[-1].filename)}:{own[-1].lineno}"
    return f"{type(error).__module__}.{type(error).__name__} at {at}"


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-3:]) if "site-packages" in file else os.path.relpath(file)


def _memory_from_here_on() -> int:
    """The memory in use. From here on, `_most_memory` counts anew."""
    gc.collect(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # the system does not allow it: then the most since the process began counts
        return _most_memory()
    return _status("VmRSS:")


def _most_memory() -> int:
    return _status("VmHWM:")


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name)), 0)


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed is no answer
    runners: dict[str, Runner] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for line in sys.stdin:
            request = json.loads(line)
            if "names" in request:
                from fuzz.targets import TARGETS

                answers.write(json.dumps({"names": list(TARGETS)}) + "\n")
                answers.flush()
                continue
            name = request["target"]
            if name not in runners:
                runners[name] = Runner(_target(name), Path(temporary) / name)
                room = _status("VmSize:") + _ROOM
                resource.setrlimit(resource.RLIMIT_AS, (room, resource.getrlimit(resource.RLIMIT_AS)[1]))
            for answer in _answers(runners[name], request):
                answers.write(json.dumps(answer) + "\n")
                answers.flush()


def _target(name: str) -> Target:
    if name in PLANTED:
        return PLANTED[name]
    from fuzz.targets import TARGETS  # these need all of the library, which takes a while

    return TARGETS[name]


def _answers(runner: Runner, request: dict[str, Any]) -> Any:
    if "content" in request:
        yield {"begun": 0}
        yield {"outcome": runner.run(request["scene"], base64.b64decode(request["content"]))}
        return
    if "number" in request:
        scene, content = case_of(runner.scenes, request["seed"], request["number"])
        yield {"scene": scene, "content": base64.b64encode(content).decode(), "file": runner.scenes[scene].changed}
        return
    for number in range(request["start"], request["stop"]):
        scene, content = case_of(runner.scenes, request["seed"], number)
        yield {"begun": number}
        yield {"outcome": runner.run(scene, content)}


if __name__ == "__main__":
    main()
