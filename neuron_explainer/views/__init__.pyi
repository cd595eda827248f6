from .colour import ColourScale
from .derived_scalars import ranked_table, store_html
from .document import html_document
from .heatmap import token_heatmap
from .plots import plot_example, plot_histogram
from .record_page import record_document, record_to_html
from .token_pairs import pair_view

__all__ = [
    "ColourScale",
    "html_document",
    "pair_view",
    "plot_example",
    "plot_histogram",
    "ranked_table",
    "record_document",
    "record_to_html",
    "store_html",
    "token_heatmap",
]
