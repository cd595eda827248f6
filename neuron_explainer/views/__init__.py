"""Plain functions from a record or a result to HTML, a plotly figure or a DataFrame."""
