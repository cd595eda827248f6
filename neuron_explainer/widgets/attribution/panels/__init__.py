"""The parts of the page that hold controls."""
