"""The program that renders one model's chat templates; `rendering_process.py` starts it.

A template is a program by the model's authors. It runs here, in jinja2's sandbox and in a process without a way out: no
file can be opened, no process started, memory and processor time are bounded by the system, and nothing of the caller's
process is within reach. The system ends the process when a template takes too long, whatever the template is doing.

Requests come as lines of JSON on the standard input; answers go as such lines to the standard output. The names that
templates find are those that `transformers` gives them, so that they write the same text.
"""

import json
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import jinja2.constants
import jinja2.debug  # noqa: F401  # jinja2 would import both when files are out of reach
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_TEMPLATE = "<template>"
_LONGEST_MESSAGE = 500
_PIECE = 1 << 16


class _Refusal(TemplateError):
    """The template says itself that it cannot write these messages."""


class _AnswerMark(Extension):
    """`{% generation %}`, which marks the assistant's words for training. What is in it is written as it is."""

    tags = {"generation"}  # noqa: RUF012  # as in the base class

    def parse(self, parser: Parser) -> nodes.Node:
        """The content; names that are set in it stay in it."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


class _PublicNamespace(Namespace):
    """`namespace(…)`, without names that begin with an underscore: those lead to what is inside of Python."""

    def __init__(*arguments: Any, **entries: Any) -> None:  # `namespace(self=…)` is allowed
        namespace, *given = arguments
        named = dict(*given, **entries)
        for name in named:
            _refuse_private(name)
        Namespace.__init__(namespace, named)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot have the name {name!r}")


def _refuse(message: object) -> None:
    raise _Refusal(str(message))


def _as_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as it is; jinja2's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _time_now(layout: str) -> str:
    return datetime.now().strftime(layout)


def _dictionary(*arguments: Any, **entries: Any) -> dict[Any, Any]:
    return dict(*arguments, **entries)


def _sandbox() -> ImmutableSandboxedEnvironment:
    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_AnswerMark, "jinja2.ext.loopcontrols"]
    )
    sandbox.filters["tojson"] = _as_json
    sandbox.globals["raise_exception"] = _refuse
    sandbox.globals["strftime_now"] = _time_now
    sandbox.globals["namespace"] = _PublicNamespace
    sandbox.globals["dict"] = _dictionary
    return sandbox


def _answer(sandbox: ImmutableSandboxedEnvironment, request: dict[str, Any]) -> dict[str, Any]:
    """The text; or what is wrong, and in which line of the template."""
    try:
        template = sandbox.from_string(request["template"])
        return _text_of(template.generate(request["variables"]), request["most_characters"])
    except MemoryError:
        return {"problem": "memory"}
    except Exception as error:  # a template can raise anything
        problem = "refused" if isinstance(error, _Refusal) else "failed"
        message = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        return {"problem": problem, "message": message[:_LONGEST_MESSAGE], "line": _line_of(error)}


def _text_of(pieces: Iterable[str], most_characters: int) -> dict[str, Any]:
    text: list[str] = []
    n_characters = 0
    for piece in pieces:
        n_characters += len(piece)
        if n_characters > most_characters:
            return {"problem": "failed", "message": f"it writes more than {most_characters:,} characters"}
        text.append(piece)
    return {"text": "".join(text)}


def _line_of(error: Exception) -> int | None:
    """The template's line that raised an error; None if none did."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if frame.f_code.co_filename == _TEMPLATE]
    return lines[-1] if lines else None


def _requests(idle_seconds: float) -> Iterator[bytes]:
    """The lines of the standard input, until it ends or nothing comes for a while."""
    buffer = b""
    while select.select([0], [], [], idle_seconds)[0] and (piece := os.read(0, _PIECE)):
        buffer += piece
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            yield line


def _give_up_rights(memory_bytes: int) -> None:
    """Take from this process what a template has no business with. A system may lack some of these limits."""
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 3,
        resource.RLIMIT_NPROC: 0,
    }
    for which, limit in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(which, (limit, limit))


def _main(cpu_seconds: float, memory_bytes: int, idle_seconds: float) -> None:
    sandbox = _sandbox()
    _answer(sandbox, {"template": "{{ strftime_now('%d') }}{{ x.y }}", "variables": {}, "most_characters": 9})
    _give_up_rights(memory_bytes)
    for line in _requests(idle_seconds):
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # when it runs out, the system ends this process
        answer = _answer(sandbox, json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if answer.get("problem") == "memory":
            return


if __name__ == "__main__":
    _main(float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
