"""What the tests of components share."""

from collections.abc import Iterator

import pytest

from helpers.derived_scalars import annotations_unchecked


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Small models run hundreds of times; the shapes within a pass are checked where passes are tested."""
    with annotations_unchecked():
        yield
