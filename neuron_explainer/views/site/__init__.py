"""`ne.export_site`: a static site of the pages of a dataset's components."""
