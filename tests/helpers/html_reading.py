"""Views' HTML, read back by an independent parser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"br", "wbr", "meta", "img", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def style(self) -> dict[str, str]:
        """The declarations of its style attribute."""
        pairs = (part.split(":", 1) for part in self.attributes.get("style", "").split(";") if part)
        return {name.strip(): value.strip() for name, value in pairs}

    def find(self, tag: str | None = None, css_class: str | None = None) -> list["Element"]:
        """The elements in it of a tag and a class, in order."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                classes = child.attributes.get("class", "").split()
                if tag in (None, child.tag) and (css_class is None or css_class in classes):
                    found.append(child)
                found += child.find(tag, css_class)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("root", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute stands twice in <{tag}>"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def read_html(html: str) -> Element:
    """The tree of an HTML text whose tags all close in order."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is never closed"
    return reader.open[0]


_TAGS_OF_VIEWS = {"style", "section", "div", "span", "bdi", "b", "i", "br", "wbr"}
_TAGS_OF_VIEWS |= {"details", "summary", "table", "thead", "tbody", "tr", "th", "td", "p", "pre"}
_ATTRIBUTES_BY_TAG = {  # beside those of all
    "img": {"src", "alt", "width", "height"},
    "input": {"type", "name", "id", "checked"},
    "label": {"for"},
}
_ATTRIBUTES_OF_VIEWS = {"class", "style", "title", "dir", "open", "bgcolor", "colspan"}
_ATTRIBUTES_OF_VIEWS |= {"role", "aria-level", "aria-label", "scope", "data-lm-suppress-shortcuts"}
_MARKS = {"data-ne-node", "data-ne-token", "data-ne-grid"}


def assert_harmless(html: str) -> Element:
    """Read a view and check that it holds the views' own tags and attributes alone; its tree."""
    root = read_html(html)
    for element in root.find():
        assert element.tag in _TAGS_OF_VIEWS | _ATTRIBUTES_BY_TAG.keys(), element
        known = _ATTRIBUTES_OF_VIEWS | _MARKS | _ATTRIBUTES_BY_TAG.get(element.tag, set())
        if element.tag == "img":
            assert element.attributes["src"].startswith("data:image/png;base64,"), element
        if element.tag == "input":
            assert element.attributes["type"] == "radio", element
        assert set(element.attributes) <= known, element
        assert "url(" not in element.attributes.get("style", "")
        if element.tag == "style":
            assert "url(" not in element.text
            assert "@import" not in element.text
    return root
