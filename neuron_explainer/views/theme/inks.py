"""The few colours of texts, lines and grounds on a light card. `dark.py` has their counterparts."""

INK, MUTED, LINE, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
"""The colours of text, secondary text, lines and background. Each text colour has a contrast of at least 5 to 1."""

PAGE = "#f6f8fa"
"""The ground of a document around its cards."""

BLACK, WHITE = "#000000", "#ffffff"
"""The colours of text on a value's colour."""
