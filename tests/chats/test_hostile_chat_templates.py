"""A chat template is a program by somebody else: whatever it does, it ends in a text or in a typed error, soon."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.chats import said
from neuron_explainer.errors import ChatTemplateError
from neuron_explainer.models.chats import rendering_process
from neuron_explainer.models.chats.chat_template import MOST_TEMPLATE_CHARACTERS, ChatTemplate
from neuron_explainer.models.chats.chat_text import chat_text
from neuron_explainer.models.chats.rendering_process import RenderingProcess


@pytest.fixture(scope="module")
def process() -> Iterator[RenderingProcess]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(rendering_process, "MOST_CPU_SECONDS", 0.2)
        process = RenderingProcess()
        yield process
        process._end()


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GROWING = (
    "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x OPERATION ns.x %}{% endfor %}{{ ns.x }}"
)
NESTED = "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.xEND }}"
ATTACKS = [
    # time
    (ENDLESS, "takes more than 0.2 seconds"),
    ("{{ 'a'|center(99999999)|wordwrap(1)|length }}" * 20, "takes more than|memory"),
    ("{{ 7 ** 99999999 }}", "takes more than 0.2 seconds"),
    ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    ("{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}", "recursion"),
    (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}",
        "takes more than 0.2",
    ),
    # memory
    ("{{ ('a' * 10**9)|length }}", "takes more than 512 MiB of memory"),
    ("{{ [0] * 10**9 }}", "memory"),
    ("{{ '%1000000000d' % 1 }}", "memory"),
    ("{{ '{:1000000000}'.format(1) }}", "memory"),
    ("{{ 'a'.ljust(10**9) }}", "memory"),
    ("{{ 'a'|center(10**9) }}", "memory"),
    ("{{ [1]|batch(10**9, 0)|list }}", "memory"),
    (GROWING.replace("OPERATION", "~"), "memory|takes more than"),
    (GROWING.replace("OPERATION", "+"), "memory|takes more than"),
    (NESTED.replace("END", ""), "memory|takes more than"),
    (NESTED.replace("END", "|tojson"), "memory|takes more than"),
    # output
    ("{% for i in range(99999) %}" + "x" * 100 + "{% endfor %}", "writes more than 4,194,304 characters"),
    # what is inside of Python
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ cycler.__init__.__globals__ }}", "unsafe"),
    ("{{ (''|attr('__class__'))() }}", "unsafe"),
    ("{{ '{0.__class__.__mro__}'.format('') }}", "unsafe"),
    ("{{ messages.append(1) }}", "unsafe"),
    ("{{ {}.update({}) }}", "unsafe"),
    ("{{ namespace(__class__=1) }}", "cannot have the name '__class__'"),
    ("{% set ns = namespace() %}{% set ns.__dict__ = 1 %}", "line 1"),
    ("{% include '/etc/passwd' %}", "no loader"),
    ("{% import 'os' as os %}", "no loader"),
    ("{{ 'a'.encode('punycode') }}", "fails in line 1"),  # it would import a module, and no file can be opened
    # malformed
    ("\n\n{% if %}", "fails in line 3: Expected an expression"),
    ("{{ x.y.z }}", "fails in line 1: 'x' is undefined"),
    ("\n{{ 1|foo }}", "line 2: No filter named 'foo'"),
    ("{{ 'a' + 1 }}", "fails in line 1: TypeError"),
    ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ("{{" + "(" * 9999, "recursion"),
    ("{{" + "-" * 99999 + "1}}", "recursion"),
    ("{% if x %}" * 9999, "recursion"),
    ("{{ raise_exception('not\n\tthis') }}", "refuses these messages in line 1: not\n\tthis"),
    ("{{ raise_exception('x' * 10**6) }}", "refuses these messages"),
]


@pytest.mark.parametrize(("template", "problem"), ATTACKS, ids=lambda value: value[:40])
def test_attacks_end_in_a_typed_error(process: RenderingProcess, template: str, problem: str) -> None:
    started = time.monotonic()
    with pytest.raises(ChatTemplateError, match=problem) as found:
        process.render(template, {"messages": said("Hello")})
    assert len(str(found.value)) < 2600
    assert time.monotonic() - started < 30
    assert process.render("{{ x }}", {"x": 3}) == "3"  # and the next one is not touched by it


def test_a_template_sees_plain_copies_alone(process: RenderingProcess) -> None:
    class Text(str):
        def read_secrets(self) -> str:
            return "secret"

    chat = [{"role": Text("user"), "content": Text("Hello"), "n": True}]
    template = ChatTemplate({"default": "{{ messages[0].content.read_secrets is defined }}{{ messages[0].n }}"})
    assert chat_text(template, chat, variables={}) == "FalseTrue"
    assert chat == [{"role": "user", "content": "Hello", "n": True}]


def test_the_process_has_no_files_no_network_and_no_children() -> None:
    code = """
import os, socket, subprocess
from neuron_explainer.models.chats.renderer import _give_up_rights
_give_up_rights(1 << 29)
for call in (lambda: open("/etc/passwd"), lambda: open("/tmp/made", "w"), lambda: socket.socket(), lambda: os.pipe()):
    try:
        call()
        print("done")
    except OSError as error:
        print(error.errno)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["24"] * 4  # too many open files


def test_nothing_of_the_environment_reaches_the_process(
    process: RenderingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a secret")
    process._end()
    process.render("a", {})
    assert process._process is not None
    with open(f"/proc/{process._process.pid}/environ", "rb") as file:
        assert b"secret" not in file.read()


def test_a_giant_template_is_refused_unread() -> None:
    template = ChatTemplate({"default": "a" * (MOST_TEMPLATE_CHARACTERS + 1)}, origin="x.gguf")
    with pytest.raises(ChatTemplateError, match=r"chat template of x.gguf has 1,048,577 characters. The limit is"):
        template.render({})


def test_the_error_names_the_origin_and_has_the_line() -> None:
    with pytest.raises(ChatTemplateError, match=r"^The chat template of x.gguf fails in line 2: 'y' is") as found:
        ChatTemplate({"default": "\n{{ y.z }}"}, origin="x.gguf").render({})
    assert found.value.line == 2


def test_one_process_serves_many_requests_and_threads(process: RenderingProcess) -> None:
    process.render("a", {})
    first = process._process
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = process.render("{{ x }}" * 50, {"x": number})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) * 50 for number in range(20)}
    assert process._process is first


def test_a_process_that_ended_is_started_again(process: RenderingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering_process, "_IDLE_SECONDS", 0.05)
    process._end()
    assert process.render("a", {}) == "a"
    time.sleep(0.3)
    assert process.render("b", {}) == "b"
    assert process._process is not None
    process._process.kill()
    assert process.render("c", {}) == "c"


def test_an_interrupt_ends_the_process(process: RenderingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    process.render("a", {})

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            process.render("an answer that nobody reads", {})
    assert process.render("b", {}) == "b"


def test_no_process_is_left_when_the_user_is_done() -> None:
    code = """
import os
from neuron_explainer.models.chats.rendering_process import RenderingProcess
process = RenderingProcess()
process.render("a", {})
if os.fork() == 0:  # a fork has a process of its own
    print(process.render("b", {}), flush=True)
    process._end()
    os._exit(0)
os.wait()
print(process.render("c", {}), process._process.pid)
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    *answers, pid = run.stdout.split()
    assert (answers, run.stderr) == (["b", "c"], "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
