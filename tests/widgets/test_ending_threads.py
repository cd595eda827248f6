"""Python ends quietly while a widget computes in the background."""

import os
import subprocess
import sys
import time

SCRIPT = """
import threading
import neuron_explainer as ne
from neuron_explainer.widgets.latest_only import LatestOnly

model = ne.load_model("tiny", device="cpu")
has_begun = threading.Event()

def work(_):
    while True:
        ne.attribute(model, "And the LORD said unto Moses " * 8 + "unto", " Moses", " her")
        has_begun.set()

LatestOnly(work, lambda *_: None).submit(None)
assert has_begun.wait(60)
print("the end", flush=True)
"""


def test_a_running_computation_does_not_abort_python() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "the end\n"
        began = time.monotonic()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert not errors
    assert time.monotonic() - began < 20
