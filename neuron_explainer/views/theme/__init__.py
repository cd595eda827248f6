"""The colours of cards, on light and on dark pages."""
