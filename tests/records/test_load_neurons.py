"""Loading by name: several datasets, notebooks with and without an event loop, many neurons at once."""

import asyncio
import subprocess
import sys
import threading
import time

import numpy as np
import pydantic
import pytest
import torch

import neuron_explainer as ne
from helpers.loopback_server import Handler, Respond, in_turn, loopback_server, ok, reset_at_once, status
from helpers.neuron_records import as_bytes, neuron_record, public_json
from neuron_explainer.activation_server.event_loop import run_coroutine
from neuron_explainer.activation_server.load_by_name import NeuronName
from neuron_explainer.activation_server.load_neurons import NodeIdAndDatasets, load_neuron_from_datasets
from neuron_explainer.activation_server.neuron_datasets import (
    NEURON_DATASET_METADATA_REGISTRY,
    NeuronDatasetMetadata,
)
from neuron_explainer.activations.activations import NeuronId, load_neuron, neuron_exists, save_neuron
from neuron_explainer.errors import (
    DownloadError,
    InvalidRequestError,
    MalformedRecordError,
    MissingFileError,
    NeuronExplainerError,
    NeuronNotFoundError,
    UnknownDatasetError,
    UnknownNameError,
)
from neuron_explainer.storage import HttpSettings
from neuron_explainer.storage.http_session import http_session
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

MLP = DerivedScalarType.MLP_POST_ACT
QUICK = HttpSettings(retries=1, pause=0.01, connect_timeout=2, read_timeout=1)

pytestmark = pytest.mark.usefixtures("no_cache")


@pytest.fixture
def server():
    with loopback_server() as running:
        for layer, neuron in ((0, 0), (0, 1), (3, 7)):
            body = as_bytes(public_json(neuron_record(layer, neuron)))
            running.routes[f"/full/{layer}/{neuron}.json"] = ok(body)
        running.routes["/part/3/7.json"] = ok(as_bytes(public_json(neuron_record(3, 7)) | {"mean": 42.0}))
        yield running
    http_session.cache_clear()


def asked(*datasets: str, layer: object = 3, neuron: object = 7) -> NodeIdAndDatasets:
    given = {"dst": MLP, "layer_index": layer, "activation_index": neuron, "datasets": list(datasets)}
    return NodeIdAndDatasets.model_validate(given)


def test_the_wire_form_is_camel_case_and_immutable():
    text = '{"dst": "mlp_post_act", "layerIndex": 3, "activationIndex": 7, "datasets": ["gpt2-small"]}'
    node = NodeIdAndDatasets.model_validate_json(text)
    assert node == asked("gpt2-small")
    assert node.dst is MLP
    assert NodeIdAndDatasets.model_validate_json(node.model_dump_json(by_alias=True)) == node
    with pytest.raises(pydantic.ValidationError):
        node.layer_index = 4


def test_names_in_any_case_and_integers_of_numpy_and_torch(tmp_path):
    assert asked("x", layer=np.int64(3), neuron=torch.tensor(7)) == asked("x")
    node = NodeIdAndDatasets(dst="Mlp_Post_Act", layer_index=3, activation_index=7, datasets=["x"])  # type: ignore[arg-type]
    assert node == asked("x")
    with pytest.raises(UnknownNameError, match="mlp_post_act"):
        NodeIdAndDatasets(dst="mlp_post", layer_index=3, activation_index=7, datasets=["x"])  # type: ignore[arg-type]
    with pytest.raises(pydantic.ValidationError):
        asked("x", layer=1.5)
    save_neuron(tmp_path, neuron_record(3, 7))
    assert ne.load_neuron(tmp_path, torch.tensor(3), np.int32(7), "MLP_POST_ACT") == neuron_record(3, 7)
    (loaded,) = ne.load_neurons([(torch.tensor(3), np.uint8(7))], tmp_path, "MLP_POST_ACT", progress=False)
    assert loaded.record == neuron_record(3, 7)


def test_the_first_dataset_that_has_the_neuron(server):
    part, full = server.address + "/part", server.address + "/full/"
    path, record = asyncio.run(load_neuron_from_datasets(asked(part, full)))
    assert (path, record.mean) == (part, 42.0)
    path, record = asyncio.run(load_neuron_from_datasets(asked(part, full, layer=0, neuron=1)))
    assert (path, record) == (full, neuron_record(0, 1))
    assert record.source == full + "0/1.json"


def test_a_neuron_that_no_dataset_has(server):
    part, full = server.address + "/part", server.address + "/full"
    with pytest.raises(NeuronNotFoundError) as caught:
        asyncio.run(load_neuron_from_datasets(asked(part, full, layer=9)))
    error = caught.value
    assert error.status_code == 404
    assert error.detail == str(error) == f"Could not find mlp_post_act 9:7 in {part}, {full}"
    assert isinstance(error, FileNotFoundError)
    with pytest.raises(NeuronNotFoundError, match="an empty list of datasets"):
        asyncio.run(load_neuron_from_datasets(asked()))


def test_a_failing_dataset_is_not_skipped(server, tmp_path):
    full = server.address + "/full"
    server.routes["/forbidden/3/7.json"] = status(403)
    server.routes["/html/3/7.json"] = ok(b"<!DOCTYPE html><html>sign in</html>", Content_Type="text/html")
    for dataset, error in (
        (server.address + "/forbidden", DownloadError),
        (server.address + "/html", MalformedRecordError),
    ):
        with pytest.raises(error):
            asyncio.run(load_neuron_from_datasets(asked(dataset, full)))
    folder = tmp_path / "gone"
    folder.mkdir()
    node = asked(str(folder), full)
    assert asyncio.run(load_neuron_from_datasets(node))[0] == full  # a folder without the neuron is passed over
    with pytest.raises(UnknownDatasetError):
        asyncio.run(load_neuron_from_datasets(asked("no such name", full)))


@pytest.mark.parametrize(
    ("respond", "error", "says"),
    [
        (status(404), NeuronNotFoundError, "404"),
        (status(500), DownloadError, "500"),
        (status(429), DownloadError, "429"),
        (reset_at_once, DownloadError, "could not be reached"),
        (ok(b"<html>sign in</html>"), MalformedRecordError, "HTML"),
        (
            lambda handler: handler.answer(200, as_bytes(public_json(neuron_record())), 100),
            MalformedRecordError,
            "truncated",
        ),
    ],
)
def test_bad_answers_of_a_server(server, respond, error, says):
    server.routes["/bad/0/1.json"] = respond
    with pytest.raises(error, match=says) as caught:
        load_neuron(server.address + "/bad", 0, 1, settings=QUICK)
    assert f"{server.address}/bad/0/1.json" in str(caught.value)


def test_a_record_after_some_failures(server):
    body = as_bytes(public_json(neuron_record(0, 1)))
    server.routes["/bad/0/1.json"] = in_turn(status(503), ok(body))
    assert load_neuron(server.address + "/bad/", 0, 1, settings=QUICK) == neuron_record(0, 1)
    assert neuron_exists(server.address + "/bad/", 0, 1, settings=QUICK)
    assert not neuron_exists(server.address + "/bad/", 0, 2, settings=QUICK)


def test_an_address_with_a_query_keeps_it_to_itself(server):
    root = server.address + "/full?signature=secret"
    assert load_neuron(root, 3, 7).source == server.address + "/full/3/7.json"
    assert server.requests[-1][0] == "/full/3/7.json?signature=secret"
    with pytest.raises(NeuronNotFoundError) as caught:
        load_neuron(root, 9, 9)
    assert "secret" not in str(caught.value)


def test_loading_without_await(server, tmp_path):
    full = server.address + "/full"
    assert ne.load_neuron(full, 3, 7) == neuron_record(3, 7)

    async def in_a_cell():
        return ne.load_neuron(full, 3, 7)

    assert asyncio.run(in_a_cell()) == neuron_record(3, 7)
    save_neuron(tmp_path, neuron_record(1, 2))
    assert ne.load_neuron(tmp_path, 1, 2, "mlp_post_act") == neuron_record(1, 2)
    with pytest.raises(UnknownDatasetError, match="gpt2-small"):
        ne.load_neuron("gpt2-smal", 1, 2)
    with pytest.raises(UnknownNameError, match="mlp_post_act"):
        ne.load_neuron(tmp_path, 1, 2, "mlp_post")
    with pytest.raises(InvalidRequestError, match="-1"):
        ne.load_neuron(tmp_path, -1, 2)


def test_coroutines_run_with_and_without_a_running_loop(server):
    full = server.address + "/full"
    assert run_coroutine(load_neuron_from_datasets(asked(full)))[0] == full
    ticks = []

    async def cell():
        async def tick():
            ticks.append(1)

        task = asyncio.ensure_future(tick())
        result = run_coroutine(load_neuron_from_datasets(asked(full)))
        assert not ticks  # the notebook's loop was not entered again
        await task
        return result

    assert asyncio.run(cell())[1] == neuron_record(3, 7)
    assert ticks

    async def fails():
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_coroutine(fails())


def test_a_coroutine_that_waits_for_itself_is_refused():
    async def outer():
        return run_coroutine(asyncio.sleep(0))

    with pytest.raises(InvalidRequestError, match="await"):
        run_coroutine(outer())


def test_an_interrupt_cancels_the_coroutine(monkeypatch):
    cancelled = threading.Event()

    async def long():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    class Interrupted:
        def __init__(self, future):
            self.future = future

        def result(self):
            time.sleep(0.05)
            raise KeyboardInterrupt

        def cancel(self):
            self.future.cancel()

    real = asyncio.run_coroutine_threadsafe
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", lambda *given: Interrupted(real(*given)))
    with pytest.raises(KeyboardInterrupt):
        run_coroutine(long())
    assert cancelled.wait(2)


def test_nested_event_loops_are_an_opt_in():
    code = (
        "import asyncio, sys, neuron_explainer as ne\n"
        "ne.datasets(), ne.load_neuron, ne.load_neurons\n"
        "from neuron_explainer.activation_server import allow_nested_event_loops, run_coroutine\n"
        "async def inner(): return 5\n"
        "run_coroutine(inner())\n"
        "assert 'nest_asyncio' not in sys.modules\n"
        "allow_nested_event_loops()\n"
        "async def cell(): return asyncio.get_running_loop().run_until_complete(inner())\n"
        "print(asyncio.run(cell()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "5"


def test_many_neurons_come_in_order_with_failures(server, tmp_path):
    full = server.address + "/full"
    server.routes["/full/1/1.json"] = ok(b"[1,2,3]")
    save_neuron(tmp_path, neuron_record(5, 5))
    neurons: list[NeuronName] = [
        (3, 7),
        NeuronId(0, 0),
        (9, 9),
        (1, 1),
        asked(str(tmp_path), layer=5, neuron=5),
        (0, 1),
        (3, 7),
    ]
    results = ne.load_neurons(neurons, dataset=full, progress=False)
    assert [str(result.neuron_id) for result in results] == ["3:7", "0:0", "9:9", "1:1", "5:5", "0:1", "3:7"]
    assert [result.record is not None for result in results] == [True, True, False, False, True, True, True]
    assert results.records == [neuron_record(*place) for place in ((3, 7), (0, 0), (5, 5), (0, 1), (3, 7))]
    assert [type(failure.error) for failure in results.failures] == [NeuronNotFoundError, MalformedRecordError]
    assert len(results) == 7
    assert results[2].error is not None
    assert len(results[:2].raise_first_failure()) == 2
    with pytest.raises(NeuronNotFoundError):
        results.raise_first_failure()
    table = results.to_dataframe()
    assert table["layer"].tolist() == [3, 0, 9, 1, 5, 0, 3]
    assert table["max_activation"].notna().tolist() == [True, True, False, False, True, True, True]
    assert "9:9" in table["error"][2]
    assert "5 of 7 loaded" in repr(results)
    none = ne.load_neurons([], dataset=full)
    assert none.records == []
    assert none.to_dataframe().columns.tolist() == table.columns.tolist()


def test_many_neurons_are_loaded_in_parallel(server):
    barrier = threading.Barrier(16, timeout=5)

    def together(body: bytes) -> Respond:
        def respond(handler: Handler) -> None:
            barrier.wait()
            handler.answer(200, body)

        return respond

    for neuron in range(16):
        body = as_bytes(public_json(neuron_record(0, neuron)))
        server.routes[f"/together/0/{neuron}.json"] = together(body)
    results = ne.load_neurons([(0, neuron) for neuron in range(16)], dataset=server.address + "/together")
    assert not results.failures


def test_many_neurons_show_a_progress_bar(tmp_path, capsys):
    save_neuron(tmp_path, neuron_record(0, 0))
    ne.load_neurons([(0, 0)], dataset=tmp_path)
    assert "1/1" in capsys.readouterr().err
    ne.load_neurons([(0, 0)], dataset=tmp_path, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("neurons", "dataset", "error"),
    [
        ([(0, 0)], None, InvalidRequestError),
        ([7], "gpt2-small", InvalidRequestError),
        ([(0, 1, 2)], "gpt2-small", InvalidRequestError),
        ([(0, -1)], "gpt2-small", InvalidRequestError),
        ([(0, 0)], "gpt2-smal", UnknownDatasetError),
    ],
)
def test_invalid_arguments_are_refused_before_loading(neurons, dataset, error):
    with pytest.raises(error):
        ne.load_neurons(neurons, dataset=dataset)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tiny", [(1, 2)]), r"Give the neurons first: load_neurons\(\[\(layer, index\)\], dataset\)"),
        (("tiny", 2, 5), "Give the neurons first"),
        (((1, 2), "tiny"), r"neurons contains 1\. Give each neuron as a pair"),
        (([(1,)], "tiny"), r"neurons contains \(1,\)\. Give each neuron as a pair"),
        (([(1, 2)], "tiny", "mlp_pre_act"), "tiny has no mlp_pre_act"),
        (([(1, 2)], None), "Pass `dataset`"),
        (([(1, 2)], 5), "not of type int"),
    ],
)
def test_a_wrong_order_and_wrong_forms_are_explained(arguments, says):
    with pytest.raises(NeuronExplainerError, match=says):
        ne.load_neurons(*arguments, progress=False)
    with pytest.raises(InvalidRequestError, match="progress is 'no'"):
        ne.load_neurons([(1, 2)], "tiny", progress="no")  # type: ignore[arg-type]


def test_digits_as_text_are_indices():
    results = ne.load_neurons([("2", "5")], "tiny", progress=False)  # type: ignore[list-item]
    assert results.records == [ne.load_neuron("tiny", 2, 5)]


def test_a_missing_folder_is_an_error_of_its_own(tmp_path, monkeypatch):
    metadata = NeuronDatasetMetadata("gone", MLP, "Gone", str(tmp_path / "gone"))
    monkeypatch.setitem(NEURON_DATASET_METADATA_REGISTRY, metadata.key, metadata)
    save_neuron(tmp_path / "there", neuron_record(3, 7))
    with pytest.raises(MissingFileError, match="folder not found"):
        ne.load_neuron("gone", 3, 7)
    with pytest.raises(MissingFileError, match="folder not found"):
        asyncio.run(load_neuron_from_datasets(asked("gone", str(tmp_path / "there"))))
