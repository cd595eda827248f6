"""The API reference: a page for each family of public names in `neuron_explainer/__init__.pyi`.

A comment line in that file begins a family; the imports below it are the family's names. A new name there is documented
by the next build.
"""

import ast
import enum
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generated_files import write_pages
from sphinx.domains.python import PyClasslike

import neuron_explainer
from neuron_explainer import errors

STUB = Path(neuron_explainer.__file__).with_suffix(".pyi")


@dataclass
class Family:
    """One family of public names, in the order of the stub file."""

    title: str
    names: list[str] = field(default_factory=list)

    @property
    def page(self) -> str:
        """The page's file name without its suffix."""
        return re.sub(r"\W+", "_", self.title.lower()).strip("_")


def families(stub: Path = STUB) -> list[Family]:
    """Read the families of a stub file: each comment line at the margin, with the names imported below it."""
    text = stub.read_text(encoding="utf-8")
    imports = {node.lineno: node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)}
    found: list[Family] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("# "):
            found.append(Family(re.split("[:;] ", line[2:])[0]))
        elif number in imports and found:
            found[-1].names += [alias.asname or alias.name for alias in imports[number].names]
    for family in found:
        family.names = [name for name in family.names if not name.startswith("_") and name not in ("errors", "notices")]
    return [family for family in found if family.names]


def _directive(name: str) -> str:
    value: Any = getattr(neuron_explainer, name)
    if not inspect.isclass(value):
        return f".. autofunction:: neuron_explainer.{name}"
    lines = [f".. autoclass:: neuron_explainer.{name}"]
    if name == "DerivedScalarType":
        # Its members are a table of their own.
        lines += ["   :no-members:", "", "   The members: :doc:`/generated/tables/derived_scalars`."]
    elif issubclass(value, enum.Enum):
        lines += ["   :undoc-members:"]
    return "\n".join(lines)


def _family_page(family: Family) -> str:
    listed = "\n".join(f"   {name}" for name in family.names)
    documented = "\n\n".join(_directive(name) for name in family.names)
    return (
        f"# {family.title}\n\n"
        "```{eval-rst}\n.. currentmodule:: neuron_explainer\n\n"
        f".. autosummary::\n   :nosignatures:\n\n{listed}\n\n{documented}\n```\n"
    )


def _errors_page() -> str:
    classes = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.NeuronExplainerError)
    ]
    documented = "\n\n".join(f".. autoexception:: {name}\n   :show-inheritance:" for name in classes)
    return (
        "# Errors\n\n```{eval-rst}\n"
        f".. automodule:: neuron_explainer.errors\n   :no-members:\n\n"
        f".. currentmodule:: neuron_explainer.errors\n\n.. autofunction:: show_library_frames\n\n{documented}\n```\n"
    )


def _index(found: list[Family]) -> str:
    rows = "\n".join(
        f"- [{family.title}]({family.page}.md): "
        + ", ".join(f"{{py:obj}}`ne.{name} <neuron_explainer.{name}>`" for name in family.names)
        for family in found
    )
    pages = "\n".join([*(family.page for family in found), "errors"])
    return (
        "# API reference\n\n"
        "`import neuron_explainer as ne` gives these names. Each one is imported when it is first used: looking at "
        "records does not import torch.\n\n"
        f"{rows}\n- [Errors](errors.md): `ne.errors`\n\n"
        f"```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    )


def _write(app: Any, config: Any) -> None:
    found = families()
    pages = {f"{family.page}.md": _family_page(family) for family in found}
    write_pages("reference", {"index.md": _index(found), "errors.md": _errors_page(), **pages})


def _readable_defaults(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Sphinx cannot read `<factory>`, the default of a dataclass field that is made anew for each object."""
    return signature and signature.replace("<factory>", "..."), returns


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def mark_lists_and_examples(lines: list[str]) -> None:
    """Add markup that reStructuredText needs and a reader of the source does not.

    That is a blank line before a list, and `::` before an indented example at the margin.
    """
    for number in range(len(lines) - 1, 0, -1):
        before, line = lines[number - 1], lines[number]
        is_item, follows_item = (text.lstrip().startswith("- ") for text in (line, before))
        if before.strip():
            if is_item and not follows_item and _indentation(before) <= _indentation(line):
                lines.insert(number, "")
        elif line.strip() and _indentation(line) and not is_item:
            paragraph = next((text for text in reversed(lines[:number]) if text.strip()), " ")
            if not _indentation(paragraph):
                lines[number:number] = ["::", ""]


def _process_docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    mark_lists_and_examples(lines)
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")  # else napoleon takes what comes before a colon in the first line for a type


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-signature", _readable_defaults)
    app.connect("autodoc-process-docstring", _process_docstring, priority=100)  # before napoleon reads the sections
    for documented_field in PyClasslike.doc_field_types:
        if documented_field.name == "variable":
            documented_field.label = "Attributes"
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True}
