"""`make explore`'s script: the address that it prints answers, and shows the notebook."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from helpers.paths import REPOSITORY


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("fixed_port", [True, False])
def test_the_printed_address_answers(fixed_port: bool, tmp_path: Path) -> None:
    arguments = ["--port", str(_free_port())] if fixed_port else []
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tools" / "explore.py"), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    try:
        answer = None
        for _ in range(120):
            time.sleep(0.5)
            address = re.search(r"http://127\.0\.0\.1:\d+/lab/tree/explore_neurons\.ipynb\?token=\w+", log.read_text())
            if address is None:
                continue
            try:
                answer = requests.get(address[0].replace("/lab/tree/", "/api/contents/"), timeout=5)
                break
            except requests.ConnectionError:
                assert server.poll() is None, log.read_text()
        assert answer is not None, log.read_text()
        assert answer.json()["name"] == "explore_neurons.ipynb"
        if fixed_port:
            assert address is not None
            assert f":{arguments[1]}/" in address[0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
