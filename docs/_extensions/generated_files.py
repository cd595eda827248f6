"""Write generated pages, so that Sphinx reads again only those that changed."""

from pathlib import Path

GENERATED = Path(__file__).resolve().parent.parent / "generated"


def write_pages(folder: str, pages: dict[str, str]) -> None:
    """Write `docs/generated/FOLDER/NAME` for each name and text, and remove other files of that folder."""
    target = GENERATED / folder
    target.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in target.iterdir()} - set(pages):
        (target / stale).unlink()
    for name, text in pages.items():
        path = target / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
