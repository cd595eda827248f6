"""How many examples property tests try: as many as they ask for, or with `make long` twenty times as many."""

import os
from typing import Any

from hypothesis import settings

EXAMPLES_FACTOR = int(os.environ.get("NEURON_EXPLAINER_EXAMPLES_FACTOR", "1"))

# For tests that do not say how many; a busy machine is no reason to fail.
settings.register_profile("project", max_examples=100 * EXAMPLES_FACTOR, deadline=None)
settings.load_profile("project")


def property_settings(number: int, **others: Any) -> settings:
    """The settings of a property test that tries so many examples in `make test`."""
    return settings(max_examples=number * EXAMPLES_FACTOR, **others)
