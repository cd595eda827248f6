"""Errors are what code that does not know them expects, and survive a trip to another process."""

import copy
import pickle

import pytest

from neuron_explainer import errors

EXAMPLES = [
    (errors.UnknownNameError("fruit", "aple", ["pear", "apple"]), KeyError),
    (errors.UnknownDatasetError("dataset", "x", ["y"], "A hint."), AssertionError),
    (errors.InvalidRequestError("no"), ValueError),
    (errors.MisconfiguredError("no"), AssertionError),
    (errors.MalformedRecordError("it is empty", "file.json"), ValueError),
    (errors.MalformedDatasetError("it is empty", "dataset.json"), ValueError),
    (errors.UnsupportedLocationError("s3: is not read"), ValueError),
    (errors.MissingFileError("file.json"), FileNotFoundError),
    (errors.DownloadError("https://host/x", "the server answered 500", 500), OSError),
    (errors.TooLargeError("file.json", 1000), OSError),
    (errors.NeuronNotFoundError("no neuron"), FileNotFoundError),
    (errors.NeuronNotFoundError("no neuron"), IndexError),
]


@pytest.mark.parametrize(("error", "built_in"), EXAMPLES, ids=lambda value: getattr(value, "__name__", ""))
def test_errors(error, built_in):
    assert isinstance(error, errors.NeuronExplainerError)
    assert isinstance(error, built_in)
    assert not isinstance(error, errors.MissingFileError) or not isinstance(error, errors.NeuronNotFoundError)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_what_they_say():
    assert str(EXAMPLES[0][0]) == "There is no fruit 'aple'. There is: apple, pear."
    assert str(EXAMPLES[4][0]) == "file.json is no neuron record: it is empty"
    assert str(EXAMPLES[8][0]) == "https://host/x: the server answered 500"
    assert "1,000 bytes" in str(EXAMPLES[9][0])
