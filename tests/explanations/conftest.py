"""What several files of tests of explanations share."""

from pathlib import Path

import pytest

from helpers.explaining import explained


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a call that nothing stopped."""
    return explained(tmp_path_factory.mktemp("explained") / "out").path
