"""The page of the command `neuron-explainer`: what its help says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from generated_files import write_pages

ROOT = Path(__file__).resolve().parent.parent.parent


def _write(app: Any, config: Any) -> None:
    command = [sys.executable, "-m", "typer", "neuron_explainer.command_line.main", "utils", "docs"]
    finished = subprocess.run(
        [*command, "--name", "neuron-explainer"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    write_pages("command_line", {"index.md": finished.stdout})


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True}
