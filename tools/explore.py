"""Start JupyterLab on the first notebook, on this machine alone, and print its address."""

import argparse
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "explore_neurons.ipynb"


def lab_arguments(port: int | None, token: str) -> list[str]:
    """JupyterLab's arguments: a fixed port is taken or refused, a free one is looked for from 8888 on."""
    arguments = [
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={ROOT / 'notebooks'}",
        f"--ServerApp.default_url=/lab/tree/{NOTEBOOK}",
        f"--IdentityProvider.token={token}",
        # Without it JupyterLab asks the network for news and extensions.
        "--LabApp.extension_manager=readonly",
    ]
    if port is not None:
        arguments += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    return arguments


def main() -> None:
    """Replace this process by JupyterLab."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="a fixed port; without it the first free one from 8888 on")
    parser.add_argument("--token", help="the token that the address carries; a fresh one by default")
    options = parser.parse_args()
    token = options.token or secrets.token_hex(16)
    if options.port is not None:
        print(f"JupyterLab will be at http://127.0.0.1:{options.port}/lab/tree/{NOTEBOOK}?token={token}", flush=True)
    else:
        print("JupyterLab prints its address below.", flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "jupyter", "lab", *lab_arguments(options.port, token)])


if __name__ == "__main__":
    main()
