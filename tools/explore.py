"""Start JupyterLab on the first notebook, for this machine alone, and print its address."""

import argparse
import os
import secrets
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "explore_neurons.ipynb"
FIRST_PORT = 8888


def free_port() -> int:
    """The first port from 8888 on that is free."""
    for port in range(FIRST_PORT, FIRST_PORT + 200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise SystemExit(f"No port from {FIRST_PORT} to {FIRST_PORT + 199} is free. Give another one: make explore PORT=…")


def lab_arguments(port: int, token: str) -> list[str]:
    """JupyterLab's arguments. It must take this port or fail, so that the printed address is right."""
    arguments = [
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={ROOT / 'notebooks'}",
        f"--ServerApp.default_url=/lab/tree/{NOTEBOOK}",
        f"--IdentityProvider.token={token}",
        # Any other extension manager asks the network for its list.
        "--LabApp.extension_manager=readonly",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    return arguments


def main() -> None:
    """Print the address, then become JupyterLab."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="a fixed port; without it the first free one from 8888 on")
    options = parser.parse_args()
    token = secrets.token_hex(16)
    port = free_port() if options.port is None else options.port
    print(f"\n    http://127.0.0.1:{port}/lab/tree/{NOTEBOOK}?token={token}\n", flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "jupyter", "lab", *lab_arguments(port, token)])


if __name__ == "__main__":
    main()
