"""Every error is also a built-in exception, survives pickling and copying, and has a readable message."""

import copy
import functools
import pickle
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from neuron_explainer import errors
from neuron_explainer.checking.findings import failed

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


def subclasses(of):
    return dict.fromkeys([of, *(each for child in of.__subclasses__() for each in subclasses(child))])


OWN_ARGUMENTS = {
    errors.UnknownNameError: ("fruit", "aple", ["pear", "apple"], "A hint."),
    errors.UnknownArgumentError: ("Sampling", "temp", ["temperature", "seed"]),
    errors.NotOneTokenError: ("ab", ["a", "b"], "A hint."),
    errors.MalformedRecordError: ("it is empty", "x.json", "explanations file"),
    errors.MalformedDatasetError: ("it is empty", "x.json"),
    errors.MissingFileError: ("x.json", "the server answered 410"),
    errors.DownloadError: ("https://host/x", "the server answered 500", 500),
    errors.TooLargeError: ("x.json", 1000),
    errors.UnreadableFileError: ("x.json", "it is a pipe"),
    errors.MissingPackageError: ("ray", "ray", "A needs B"),
    errors.NonFiniteActivationError: (1, 2, 3, 4, float("inf")),
    errors.BadDocumentError: ("line 3 of x.jsonl", "it is cut off"),
    errors.NotEnoughMemoryError: ("It does not fit.", 10, 5),
    errors.MissingSettingError: ("trace_config", "a trace", "Give one."),
    errors.NotAtHandError: ("L5N131.writes()", "model", "a model"),
    errors.ExplainingStoppedError: ("explained", 2, 6, ValueError("It is wrong.")),
    errors.MalformedStoreError: ("x.safetensors", "it is empty"),
    errors.EndpointError: ("http://host/v1", "the endpoint answered 500", 500),
    errors.AnswerFormatError: ("it has no whole JSON value", "JSON of Grade", "I cannot"),
    errors.ModelCheckError: (
        SimpleNamespace(model="tiny", failed=[failed("weights", "One is not finite.", 0.5, 0.1)]),
    ),
    errors.BudgetExceededError: ("max_cost", 1.5, 1.0, "3 requests and 3 answers"),
}
"""The arguments of classes that take more than a message; their subclasses take the same."""


def made(error_class):
    arguments = next((OWN_ARGUMENTS[each] for each in error_class.__mro__ if each in OWN_ARGUMENTS), ("It is wrong.",))
    of_checkpoint = issubclass(error_class, errors.CheckpointError)
    return error_class(*arguments, **({"file": "x.gguf", "tensor": "w"} if of_checkpoint else {}))


def of_the_system():
    error = errors.OutOfSpaceError(28, "No space left on device", "x.json")
    error.add_note("While saving.")
    return error


def pickled(error, protocol):
    return pickle.loads(pickle.dumps(error, protocol))


EVERY_ERROR: dict[str, Callable[[], BaseException]] = {
    **{each.__name__: functools.partial(made, each) for each in subclasses(errors.NeuronExplainerError)},
    "an error of the system": of_the_system,
    "a stopped run": lambda: errors.CollateStopped("made.collating"),
    "a type that a dataset lacks": lambda: errors.UnknownDatasetError.of_scalar("tiny", "mlp_pre", ["mlp_post_act"]),
    "a layer that was not derived": lambda: errors.NotDerivedError.of_layer("mlp_post_act", 9, [0, 1]),
    "a gradient that was not derived": lambda: errors.NotDerivedError.of_scalar("mlp_write", ["mlp_write_norm"], True),
}
COPIES: dict[str, Callable[[BaseException], BaseException]] = {
    **{f"pickle {n}": functools.partial(pickled, protocol=n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", EVERY_ERROR)
def test_every_error_survives_copying_whole(name, way):
    error = EVERY_ERROR[name]()
    again = COPIES[way](error)
    assert type(again) is type(error)
    assert (str(again), repr(again), again.args, vars(again)) == (str(error), repr(error), error.args, vars(error))
    for name in ("errno", "strerror", "filename", "name", "msg", "status_code"):
        assert getattr(again, name, None) == getattr(error, name, None)


MESSAGES = [
    (EXAMPLES[0][0], "Unknown fruit 'aple'. Choose one of: apple, pear."),
    (EXAMPLES[1][0], "Unknown dataset 'x'. Choose one of: y. A hint."),
    (EXAMPLES[4][0], "file.json is not a neuron record: it is empty"),
    (errors.MalformedRecordError("empty", "x", "explanations file"), "x is not an explanations file: empty"),
    (EXAMPLES[5][0], "dataset.json is not a valid packed-dataset file: it is empty"),
    (EXAMPLES[7][0], "file.json: file not found"),
    (EXAMPLES[8][0], "https://host/x: the server answered 500"),
    (EXAMPLES[9][0], "file.json exceeds the limit of 1,000 bytes"),
    (errors.NotOneTokenError("ab", ["a", "b"]), "'ab' is not one token of this model. It is 2 tokens: 'a' + 'b'."),
    (errors.NotOneTokenError("", [], "Write one."), "'' is not one token of this model. It has no tokens. Write one."),
    (errors.MissingPackageError("ray", "ray", "A needs B"), "A needs B. This needs the package 'ray', which is not"),
    (errors.MissingPackageError("ray", "", "A needs B", command="pip install x"), "installed. Run `pip install x`."),
    (errors.MissingSettingError("trace_config", "a trace"), "This needs a trace. Set DstConfig's `trace_config`."),
    (errors.MalformedStoreError("x", "it is empty"), "x is not a valid file of derived scalars: it is empty."),
    (errors.NotDerivedError.of_layer("mlp_post_act", 9, [2, 0, 1]), "mlp_post_act has no layer 9; derived: 0–2."),
    (errors.UnknownNameError("fruit", "x", []), "Unknown fruit 'x'. There are no choices."),
    (errors.UnknownNameError("number", "1", map(str, range(10, 18))), "Choose one of: 10, 11, 12, 13, 14, 15, 16, 17."),
    (errors.UnknownNameError("number", "1", map(str, range(10, 19))), "Did you mean: 10, 11, 12, 13, 14? (9 in all.)"),
    (errors.UnknownNameError("axis", 5, ["a"]), "5 is of type int. Give the name of an axis. Choose one of: a."),
    (errors.UnknownNameError("axis", None, map(str, range(9))), "None is of type NoneType. Give the name of an axis."),
    (errors.NotDerivedError.of_layer("x", "1", [0, 1]), "x has no layer '1'; derived: 0–1."),
    (errors.NotDerivedError.of_scalar("x", [], True), "The gradient of x was not derived. Set DstConfig's"),
]


@pytest.mark.parametrize(("error", "text"), MESSAGES)
def test_messages(error, text):
    assert text in str(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.CheckpointError("It has no tensor " + "x" * 10**6 + ". Download it again."),
        errors.UnknownNameError("tensor", "y", ["x" * 10**6], "Download it again."),
        errors.NotDerivedError.of_scalar("x" * 10**6, ["y"]),
        errors.MalformedRecordError("it lacks " + "x" * 10**6, "a.json"),
        errors.NotOneTokenError("x" * 10**6, ["x"] * 10**6, "Download it again."),
        errors.BadDocumentError("a.jsonl", "it has no field 'text'; its fields: " + "x" * 10**6),
    ],
    ids=lambda error: type(error).__name__,
)
def test_messages_are_bounded_and_keep_both_ends(error: errors.NeuronExplainerError) -> None:
    assert len(str(error)) == 2500
    assert " … " in str(error)
    assert str(error).endswith(("Download it again.", "Choose one of: y.", "x", "to continue."))


@pytest.mark.parametrize(
    ("numbers", "text"), [([], "none"), ([3], "3"), ([1, 0], "0–1"), ([5, 0, 1, 2, 5, 7], "0–2, 5, 7")]
)
def test_number_ranges(numbers, text):
    assert errors.number_ranges(numbers) == text
