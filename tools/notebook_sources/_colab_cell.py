# %% cellView="form" jupyter={"source_hidden": true} tags=["colab", "hide-input"]
# @title Set-up for Google Colab: installs neuron_explainer there, does nothing elsewhere
# INSTALL_FROM is the path or address of a wheel or archive, or of a repository ("git+https://…"). It is empty because
# the project is not published yet.
INSTALL_FROM = ""  # @param {type:"string"}

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile

if "COLAB_RELEASE_TAG" in os.environ and INSTALL_FROM:
    installed = [name for name in ("torch", "numpy", "pandas") if importlib.util.find_spec(name)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:  # Colab's own versions stay as they are
        constraints.writelines(f"{name}=={importlib.metadata.version(name)}\n" for name in installed)
        constraints.flush()
        pip_install = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", constraints.name]
        finished = subprocess.run([*pip_install, INSTALL_FROM], capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"Installing {INSTALL_FROM} failed:\n{finished.stderr or finished.stdout}")
    importlib.invalidate_caches()
elif "COLAB_RELEASE_TAG" in os.environ and importlib.util.find_spec("neuron_explainer") is None:
    raise RuntimeError(
        "neuron_explainer is not installed here, and INSTALL_FROM is empty. Build a wheel of the project "
        "(python -m build --wheel), upload it to Colab, enter its path as INSTALL_FROM, and run this cell again."
    )
