"""Every Python example in the README runs, in the order a reader meets them, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_eight_examples() -> None:
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=["look", "pick", "everything", "explain", "ask_why", "experiment", "chat", "make"]
)
def test_example_runs(example: str, tmp_path: Path) -> None:
    environment = {**os.environ, "NEURON_EXPLAINER_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:neuron_explainer", "-c", example],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
