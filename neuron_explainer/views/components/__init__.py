"""One component, heads of a model, statistics of a dataset: as static HTML and figures."""
