"""A table of nodes whose rows scroll, sort and filter in the page, and can be acted on."""

from __future__ import annotations

import traitlets

from neuron_explainer.widgets.modules.module_widget import ModuleWidget, bundle


class NodeRows(ModuleWidget):
    """Thousands of nodes as rows.

    `on_action` is called with "open", "ablate", "trace" or "verify" and the name of the row's node.

    Attributes:
        table: columns, rows and colours, as `rows_of` (`views/attribution/table_rows.py`) gives them.
        chosen: the name of the chosen row; "" for none.
        sort: {"column": its name, "descending": bool}; empty for the order of `table`.
        note: a text beside the filter.
        hides_pages: whether a view has hidden the rows that stand for these without the module.
        taken: as in `ModuleWidget`.
    """

    _esm = bundle("node_rows")
    _kinds = frozenset({"open", "ablate", "trace", "verify"})

    table = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)
    sort = traitlets.Dict().tag(sync=True)
    hides_pages = traitlets.Bool(False).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
