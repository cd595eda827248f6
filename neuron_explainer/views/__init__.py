"""Plain functions from a record or a result to HTML, a plotly figure or a DataFrame."""

from neuron_explainer._lazy import lazy_exports

_MODULE_BY_NAME = {
    "ColourScale": "neuron_explainer.views.colour",
    "html_document": "neuron_explainer.views.document",
    "pair_view": "neuron_explainer.views.token_pairs",
    "plot_example": "neuron_explainer.views.plots",
    "plot_histogram": "neuron_explainer.views.plots",
    "ranked_table": "neuron_explainer.views.derived_scalars",
    "record_document": "neuron_explainer.views.record_page",
    "record_to_html": "neuron_explainer.views.record_page",
    "store_html": "neuron_explainer.views.derived_scalars",
    "token_heatmap": "neuron_explainer.views.heatmap",
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
