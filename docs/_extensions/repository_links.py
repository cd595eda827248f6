"""Links between files of the repository, made to work in the site.

Pages of `docs/` and the files that they include link to each other by their paths in the repository. A link to a file
that has a page leads to that page; a link to any other file becomes its path, as code.
"""

import os
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<target>[^()\s]+)\)")
_INCLUDE = re.compile(r"```\{include\} (\S+)")


def included_files() -> dict[Path, Path]:
    """Each file that a page of `docs/` includes, with that page."""
    return {
        (page.parent / target).resolve(): page
        for page in sorted(DOCS.glob("*.md"))
        for target in _INCLUDE.findall(page.read_text(encoding="utf-8"))
    }


def rewrite_links(text: str, source: Path, page_folder: Path) -> str:
    """Rewrite the links of a file of the repository.

    Args:
        text: the file's Markdown.
        source: the file.
        page_folder: the folder of the page on which the text is shown.
    """
    pages = included_files()

    def rewrite(link: re.Match[str]) -> str:
        target, hash_sign, anchor = link["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return link[0]
        file = (source.parent / target).resolve()
        if file.parent == ROOT / "notebooks":
            page = DOCS / "generated" / "notebooks" / file.name
        else:
            page = pages.get(file, file)
        if page.is_relative_to(DOCS) and page.suffix in (".md", ".ipynb") and page.exists():
            return f"[{link['text']}]({os.path.relpath(page, page_folder)}{hash_sign}{anchor})"
        path = f"`{file.relative_to(ROOT)}`"
        return path if link["text"].strip("`") == path.strip("`") else f"{link['text']} ({path})"

    return _LINK.sub(rewrite, text)


def _rewrite_page(app: Any, docname: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(docname))
    if page.suffix == ".md" and page.parent == DOCS:
        content[0] = rewrite_links(content[0], page, page.parent)


def _rewrite_included(app: Any, relative_path: Path, parent_docname: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(parent_docname))
    content[0] = rewrite_links(content[0], (DOCS / relative_path).resolve(), page.parent)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", _rewrite_page)
    app.connect("include-read", _rewrite_included)
    return {"parallel_read_safe": True}
