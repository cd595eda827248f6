"""A pandas table of derived scalars that shows names and meanings in full."""

import textwrap

import pandas

_WIDTH = 88


class ScalarTable(pandas.DataFrame):
    """A table that a terminal shows as names with their meanings, and a notebook with no text cut off.

    A selection of its rows or columns is an ordinary DataFrame.
    """

    def __repr__(self) -> str:
        n_shown = pandas.get_option("display.max_rows") or len(self)
        lines = []
        for name, meaning, requires in self[["name", "meaning", "requires"]].head(n_shown).itertuples(index=False):
            text = f"{meaning} (requires {requires})" if requires else meaning
            lines += [name, *textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")]
        columns = ", ".join(map(str, self.columns))
        counted = f"{n_shown} of {len(self)}" if n_shown < len(self) else f"{len(self)}"
        return "\n".join([*lines, "", f"{counted} rows. Columns: {columns}"])

    def _repr_html_(self) -> str:
        with pandas.option_context("display.max_colwidth", None):
            return pandas.DataFrame(self).to_html(max_rows=pandas.get_option("display.max_rows"), notebook=True)
