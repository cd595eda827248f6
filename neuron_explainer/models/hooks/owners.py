"""Whether the code that entered a recording or intervention still runs within its context.

An exception can strike between any two instructions: KeyboardInterrupt does. Then a context can have been entered
whose end never comes, because its `with` statement had not begun or had ended already. No `try` can prevent this, since
the exception can strike in the `finally` too. So an entry remembers the statement that entered it, and counts only
while that statement runs.
"""

import asyncio
import functools
import inspect
import opcode
import sys
from types import CodeType, FrameType

_GENERATOR_FLAGS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_OPCODE_NAMES = opcode.opname
_WAYS_TO_WAIT = frozenset({"YIELD_VALUE", "SEND", "RESUME"})
_WAYS_TO_RETURN = frozenset({"RETURN_VALUE", "RETURN_CONST"})
_MOST_CACHE_BYTES = 16


class Owner:
    """The frame that entered a context, its `with` statement, and its asyncio task."""

    def __init__(self, frame: FrameType) -> None:
        self._frame = frame
        self._handler = _handler_of_with(frame)
        self._task = _running_task()

    def is_of_running_task(self) -> bool:
        """Whether the code that runs now belongs to the owner's task. Without a task, the whole thread does."""
        task = self._task
        return task is None or task.done() or task is _running_task()

    def is_same_statement(self, other: "Owner") -> bool:
        """Whether the two stand at one `with` statement of one frame, which can run only once at a time."""
        return self._handler is not None and (self._frame, self._handler) == (other._frame, other._handler)

    def is_within(self) -> bool:
        """Whether the owner is still within its context; called in the owner's thread."""
        frame = self._frame
        instruction = _OPCODE_NAMES[frame.f_code.co_code[frame.f_lasti]]
        is_waiting = bool(frame.f_code.co_flags & _GENERATOR_FLAGS) and instruction in _WAYS_TO_WAIT
        if _is_running(frame) or is_waiting:
            return self._handler is None or self._handler in _handlers_around(frame.f_code, frame.f_lasti)
        # Without a `with` statement (an ExitStack, a call of __enter__), the context outlives a call that returned.
        return self._handler is None and instruction in _WAYS_TO_RETURN


def _running_task() -> "asyncio.Task[object] | None":
    # Not get_running_loop, which raises where no loop runs: an interrupt in an `except` would leave its error behind as
    # the context of later ones.
    loop = asyncio._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


def _is_running(frame: FrameType) -> bool:
    """Whether a frame is among the callers of this function."""
    caller: FrameType | None = sys._getframe(1)
    while caller is not None:
        if caller is frame:
            return True
        caller = caller.f_back
    return False


def _handler_of_with(frame: FrameType) -> int | None:
    """Where the code goes when an exception strikes within the `with` statement that a frame enters now.

    None if the frame does not stand at a `with` statement. The instructions are those of CPython 3.11 to 3.14.
    """
    code, here = frame.f_code, frame.f_lasti
    if _OPCODE_NAMES[code.co_code[here]] != "BEFORE_WITH" and not _calls_a_special_method(code, here):
        return None
    before = _handlers_around(code, here)
    for after in range(here + 2, min(here + _MOST_CACHE_BYTES, len(code.co_code)), 2):
        around = _handlers_around(code, after)
        if around and around != before:
            return around[0]
    return None


def _calls_a_special_method(code: CodeType, offset: int) -> bool:
    names = [_OPCODE_NAMES[code.co_code[at]] for at in range(max(0, offset - 4), offset + 1, 2)]
    return names[-1] == "CALL" and "LOAD_SPECIAL" in names[:-1]


def _handlers_around(code: CodeType, offset: int) -> list[int]:
    """The exception handlers around an instruction, the innermost first, as offsets in the code."""
    table = _exception_table(code)
    found: list[int] = []
    while True:
        handler = next((target for start, end, target in table if start <= offset < end), None)
        if handler is None or handler in found:
            return found
        found.append(handler)
        offset = handler


@functools.lru_cache(maxsize=512)
def _exception_table(code: CodeType) -> tuple[tuple[int, int, int], ...]:
    """Start, end and handler of each range of instructions that has a handler, as byte offsets.

    Format: Objects/exception_handling_notes.txt in the sources of CPython. Numbers are in base 64, the highest digit
    first; bit 6 says that another digit follows, and bit 7 marks the start of an entry.
    """
    numbers: list[int] = []
    value = 0
    for byte in code.co_exceptiontable:
        value = value << 6 | byte & 63
        if not byte & 64:
            numbers.append(value)
            value = 0
    entries = zip(numbers[0::4], numbers[1::4], numbers[2::4], strict=False)
    return tuple((2 * start, 2 * (start + length), 2 * target) for start, length, target in entries)
