"""The project's own files: two lists of dependencies that agree, and none with an upper cap."""

import configparser
import re

import yaml

from helpers.paths import REPOSITORY

CONDA_NAME = {"torch": "pytorch"}


def requirement_lines(text: str) -> dict[str, str]:
    """Name → version bound of each requirement line; lines that refer to other extras are left out."""
    found = {}
    for line in text.strip().splitlines():
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(>=\S+)?", line.strip())
        if match:
            found[match[1].lower()] = match[2] or ""
    return found


def test_environment_yml_names_the_dependencies_of_setup_cfg() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(REPOSITORY / "setup.cfg")
    expected = requirement_lines(setup["options"]["install_requires"])
    expected |= requirement_lines(setup["options.extras_require"]["notebook"])
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    conda = requirement_lines("\n".join(line for line in environment["dependencies"] if isinstance(line, str)))
    assert conda.pop("python") == setup["options"]["python_requires"]
    conda.pop("pip")
    assert conda == {CONDA_NAME.get(name, name): bound for name, bound in expected.items()}


def test_no_dependency_has_an_upper_cap() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(REPOSITORY / "setup.cfg")
    requirements = setup["options"]["install_requires"] + "".join(setup["options.extras_require"].values())
    assert not re.search(r"<|==|~=", requirements)
