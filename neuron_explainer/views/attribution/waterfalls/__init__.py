"""The sum of an answer's parts, as waterfalls."""
