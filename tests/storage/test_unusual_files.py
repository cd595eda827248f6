"""Paths that do not lead to a readable file: each is an error of the library, and none is waited for."""

import errno
import os

import pytest

import neuron_explainer as ne
from helpers.neuron_records import neuron_record
from neuron_explainer.activations.activations import load_neuron, neuron_exists, save_neuron
from neuron_explainer.errors import MissingFileError, NeuronExplainerError, UnreadableFileError
from neuron_explainer.storage import exists, fetch_file, read_bytes
from neuron_explainer.storage.tensor_views import tensor_views


def made(kind: str, folder):
    path = folder / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "broken link":
        path.symlink_to(folder / "nothing")
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "long name":
        path = folder / ("x" * 5000)
    elif kind == "NUL":
        path = f"{folder}/x\0y"
    elif kind == "surrogate":
        path = f"{folder}/\ud800"
    elif kind == "file as folder":
        path.write_bytes(b"")
        path = path / "y"
    return path


KINDS = ["pipe", "loop", "broken link", "folder", "device", "long name", "NUL", "surrogate", "file as folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_reading(kind, tmp_path):
    path = made(kind, tmp_path)
    expected = MissingFileError if kind in ("broken link", "folder", "file as folder") else UnreadableFileError
    for read in (lambda: read_bytes(path), lambda: fetch_file(path, 10), lambda: tensor_views(path)):
        with pytest.raises(expected) as caught:
            read()
        assert isinstance(caught.value, OSError)
        assert len(str(caught.value)) < 6000
    assert not exists(path)


@pytest.mark.parametrize("kind", KINDS)
def test_datasets(kind, tmp_path):
    path = made(kind, tmp_path)
    for read in (
        lambda: load_neuron(path, 1, 5),
        lambda: ne.load_neuron(path, 1, 5),
        lambda: neuron_exists(path, 1, 5) or load_neuron(path, 1, 5),
        lambda: ne.load_explanations(path, 1, 5),
        lambda: ne.register_dataset(path),
    ):
        with pytest.raises(NeuronExplainerError):
            read()


@pytest.mark.parametrize("name", ["dataset.json", "tokens.json", "layer_1.safetensors"])
def test_pipes_within_a_packed_dataset(name, tmp_path):
    ne.convert("tiny", tmp_path / "json", dst="attn_write_norm", layout="json")
    ne.convert(tmp_path / "json", tmp_path / "packed", layout="packed")
    (tmp_path / "packed" / name).unlink()
    os.mkfifo(tmp_path / "packed" / name)
    with pytest.raises(NeuronExplainerError):
        load_neuron(tmp_path / "packed", 1, 0)


def test_a_pipe_as_a_record(tmp_path):
    save_neuron(tmp_path, neuron_record(1, 4))
    os.mkfifo(tmp_path / "1" / "5.json")
    with pytest.raises(UnreadableFileError, match="it is a pipe, not a file"):
        load_neuron(tmp_path, 1, 5)


def test_what_the_system_refuses(tmp_path, monkeypatch):
    save_neuron(tmp_path, neuron_record(1, 5))
    for number in (errno.EACCES, errno.EIO, errno.EMFILE):

        def refuse(*arguments, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("neuron_explainer.storage.local.os.open", refuse)
        with pytest.raises(UnreadableFileError, match=os.strerror(number).lower()):
            load_neuron(tmp_path, 1, 5)
        monkeypatch.undo()
