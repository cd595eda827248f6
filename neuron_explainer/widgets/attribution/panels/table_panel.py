"""The table of nodes, and the fields that choose its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from neuron_explainer.attribution.tables.columns import COLUMNS
from neuron_explainer.views.attribution.node_tables import node_rows_html
from neuron_explainer.views.attribution.table_rows import rows_of
from neuron_explainer.widgets.attribution.work.table_choice import EVERY_COLUMN, KINDS, MOST_ROWS, TableChoice
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.messages import error_message
from neuron_explainer.widgets.modules.box import module_box
from neuron_explainer.widgets.modules.node_rows import NodeRows
from neuron_explainer.widgets.parts import button, filling, flexible, wrapped
from neuron_explainer.widgets.quiet import Quiet
from neuron_explainer.widgets.weak_calls import weakly

if TYPE_CHECKING:
    import pandas

_PAGE = 50  # rows of the table that needs no module
_PAUSE = 0.5  # seconds for which that table waits where the module hides it; another view may still need it
_ALL = "all"  # not None, which stands for a dropdown in which nothing is chosen


class TablePanel(widgets.VBox):
    """The fields, the rows of the module, and the same rows in pages for where the module is not.

    Args:
        first: what is chosen at first.
        on_choice: called when a person chooses other rows, with whether more may be typed.
        on_action: called with an action ("open", "ablate", "trace", "verify") and a node's name, from the module.
        has_module: whether the module is used.
    """

    def __init__(
        self,
        first: TableChoice,
        on_choice: Callable[[bool], None],
        on_action: Callable[[str, str], None],
        has_module: bool,
    ) -> None:
        self._on_choice = on_choice
        self._quiet = Quiet()
        self._frame: pandas.DataFrame | None = None
        self._first_row = 0
        self.paging = LatestOnly(_page_html, weakly(self._page_made))
        self.n = widgets.BoundedIntText(
            description="Largest", min=1, max=MOST_ROWS, layout=flexible("170px"), style=_NARROW
        )
        self.by = widgets.Dropdown(
            options=[(name.replace("_", " "), name) for name in (EVERY_COLUMN, *reversed(COLUMNS))],
            description="by",
            layout=flexible("190px"),
            style={"description_width": "24px"},
        )
        self.kind = _choices("Kind", [(f"{name}s", name) for name in KINDS])
        self.layer = _choices("Layer", [])
        self.token = _choices("Token", [])
        self.name = widgets.Text(
            description="Name", placeholder="L2H3, or a piece", layout=flexible("210px"), style=_NARROW
        )
        self.column = widgets.Dropdown(description="Sorted by", layout=flexible("230px"), options=[("ranking", "")])
        self.is_descending = widgets.Checkbox(
            value=True, description="largest first", indent=False, layout=widgets.Layout(width="auto")
        )
        self.before = button("Rows before", "chevron-up", "Show the rows before these", "130px")
        self.after = button("Rows after", "chevron-down", "Show the rows after these", "130px")
        self.message = widgets.HTML()
        self.rows = NodeRows() if has_module else None
        self.page = widgets.HTML(layout=filling())
        fields = (self.n, self.by, self.kind, self.layer, self.token, self.name, self.column, self.is_descending)
        for field in fields:
            field.observe(self._changed, names="value")
        self.before.on_click(lambda _: self._turn(-_PAGE))
        self.after.on_click(lambda _: self._turn(_PAGE))
        choosing = widgets.HBox(
            [self.n, self.by, self.kind, self.layer, self.token, self.name], layout=wrapped(align_items="center")
        )
        sorting = widgets.HBox(
            [self.column, self.is_descending, self.before, self.after], layout=wrapped(align_items="center")
        )
        replaced = widgets.VBox([sorting, self.page], layout=filling())
        replaced.add_class("ne-replaced-by-rows")
        children: list[widgets.Widget] = [choosing, self.message, replaced]
        if self.rows is not None:
            self.rows.on_action(on_action)
            self.rows.observe(self._sorted, names="sort")
            children.insert(2, module_box(self.rows))
        super().__init__(children, layout=filling())
        self.add_class("ne-table-panel")
        self.choose(first)

    @property
    def choice(self) -> TableChoice:
        """What the fields say."""
        return TableChoice(
            self.n.value,
            self.by.value or EVERY_COLUMN,  # a front end may choose none
            _chosen(self.kind),
            _chosen(self.layer),
            _chosen(self.token),
            self.name.value,
            self.column.value or "",
            self.is_descending.value,
        )

    def choose(self, choice: TableChoice) -> None:
        """Set the fields without calling `on_choice`. What an answer does not have is left out."""
        with self._quiet:
            self.n.value, self.by.value, self.name.value = choice.n, choice.by, choice.name
            for field, value in (
                (self.kind, choice.kind),
                (self.layer, choice.layer),
                (self.token, choice.token),
                (self.column, choice.column),
            ):
                wanted = _ALL if value is None else value
                if wanted in [option for _, option in field.options]:
                    field.value = wanted
            self.is_descending.value = choice.is_descending

    def fit(self, n_layers: int, tokens: Sequence[str]) -> None:
        """Offer the layers and tokens of an answer; a choice that it does not have becomes "all"."""
        with self._quiet:
            _offer(self.layer, [(str(layer), layer) for layer in range(n_layers)])
            _offer(self.token, [(f"{place} {text!r}", place) for place, text in enumerate(tokens)])

    def show(self, frame: pandas.DataFrame, chosen: str, column: str | None = None) -> None:
        """Show rows.

        Args:
            frame: the rows.
            chosen: the name of the node that is open; empty without one.
            column: the column that sorts them; None for that of the field.
        """
        self._frame, self._first_row = frame, 0
        self.message.value = ""
        with self._quiet:
            names = [name for name in frame.columns if frame[name].dtype.kind == "f"]
            present = self.column.value if column is None else column
            self.column.options = [("ranking", ""), *((name.replace("_", " "), name) for name in names)]
            self.column.value = present if present in names else ""
        if self.rows is not None:
            self.rows.table = rows_of(frame)
            self.rows.chosen = chosen
            with self._quiet:
                self.rows.sort = {"column": self.column.value, "descending": self.is_descending.value}
        self._show_page()

    def fail(self, message: str) -> None:
        """Show why the rows could not be had; those before stay."""
        self.message.value = message

    def _sorted(self, change: dict[str, Any]) -> None:
        """Note in the fields that the module has sorted its rows, which it does by itself."""
        if self._quiet.is_on:
            return
        with self._quiet:
            column = change["new"].get("column", "")
            self.column.value = column if column in [name for _, name in self.column.options] else ""
            self.is_descending.value = bool(change["new"].get("descending", True))

    def _turn(self, step: int) -> None:
        if self._frame is not None and 0 <= self._first_row + step < len(self._frame):
            self._first_row += step
            self._show_page()

    def _show_page(self) -> None:
        if self._frame is None:
            return
        is_hidden = self.rows is not None and self.rows.hides_pages
        if is_hidden:
            self.paging.submit((self._frame, self._first_row), _PAUSE)
        else:
            self.paging.run((self._frame, self._first_row))
        self.before.disabled = self._first_row == 0
        self.after.disabled = self._first_row + _PAGE >= len(self._frame)

    def _page_made(self, _: tuple[pandas.DataFrame, int], result: str | BaseException) -> None:
        self.page.value = error_message(result, None) if isinstance(result, BaseException) else result

    def _changed(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on:
            self._on_choice(change["owner"] is self.name)


_NARROW = {"description_width": "52px"}


def _page_html(task: tuple[pandas.DataFrame, int]) -> str:
    """A page of rows, from the first one on."""
    frame, first = task
    return node_rows_html(frame, first, _PAGE)


def _choices(name: str, options: list[tuple[str, Any]]) -> widgets.Dropdown:
    field = widgets.Dropdown(description=name, layout=flexible("180px"), style=_NARROW)
    _offer(field, options)
    return field


def _offer(field: widgets.Dropdown, options: list[tuple[str, Any]]) -> None:
    """Change a field's options, and keep what is chosen where it is still among them."""
    chosen = field.value
    field.options = [(_ALL, _ALL), *options]
    field.value = chosen if chosen in [value for _, value in options] else _ALL


def _chosen(field: widgets.Dropdown) -> Any:
    """What a field limits the rows to; None for all."""
    return None if field.value == _ALL else field.value
