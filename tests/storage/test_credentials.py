"""Addresses with a password or a signature: nothing that people see shows those."""

import pytest

import neuron_explainer as ne
from neuron_explainer.activation_server.dataset_paths import convert_dataset_path_to_short_name
from neuron_explainer.activation_server.load_neurons import NodeIdAndDatasets
from neuron_explainer.activation_server.neuron_datasets import (
    NEURON_DATASET_METADATA_REGISTRY,
    NeuronDatasetMetadata,
    register_neuron_dataset_metadata,
)
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.storage import fetch_file, read_bytes
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.wording import shown, without_credentials

URL = "http://ann:s3cret@127.0.0.1:1/x?X-Amz-Signature=s3cret#s3cret"
DATASET = NeuronDatasetMetadata("mine", "mlp_post_act", "Mine", URL, explanations_path=URL)
OTHER = NeuronDatasetMetadata("mine", "mlp_post_act", "Mine", URL + "2")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off")
    for key, value in {**NEURON_DATASET_METADATA_REGISTRY, DATASET.key: DATASET}.items():
        monkeypatch.setitem(NEURON_DATASET_METADATA_REGISTRY, key, value)


SEEN = {
    "an entry": lambda: DATASET,
    "the table": lambda: ne.datasets().to_csv(),
    "a node": lambda: NodeIdAndDatasets(
        dst=DerivedScalarType.MLP_POST_ACT, layer_index=1, activation_index=2, datasets=[URL]
    ),
    "many neurons": lambda: ne.load_neurons([(1, 2)], "mine", progress=False),
}

FAILING = {
    "registered already": lambda: register_neuron_dataset_metadata(OTHER),
    "a name by path": lambda: convert_dataset_path_to_short_name(URL + "2"),
    "all names by path": lambda: convert_dataset_path_to_short_name("/nowhere"),
    "a node without layer": lambda: NodeIdAndDatasets.model_validate({"dst": "mlp_post_act", "datasets": [URL]}),
    "a neuron": lambda: ne.load_neuron(URL, 1, 5),
    "a neuron by name": lambda: ne.load_neuron("mine", 1, 5),
    "an explanation": lambda: ne.load_explanations("mine", 1, 5),
    "an address for neurons": lambda: ne.load_neurons(URL),
    "an address among neurons": lambda: ne.load_neurons([URL], URL),
    "a model": lambda: ne.load_model(URL),
    "a revision": lambda: ne.load_model(URL, revision="a"),
    "a tokenizer": lambda: ne.load_model("tiny", tokenizer=URL),
    "an autoencoder": lambda: ne.load_autoencoders(URL),
    "an autoencoder of each layer": lambda: ne.load_autoencoders(URL.replace("/x", "/{layer}"), layers=[1]),
    "a dataset to register": lambda: ne.register_dataset(URL),
    "a dataset to verify": lambda: ne.verify(URL),
    "a folder to write": lambda: ne.convert("tiny", URL),
    "a file": lambda: fetch_file(URL, 10),
    "another scheme": lambda: read_bytes("s3://ann:s3cret@host/a?s3cret"),
    "no slashes": lambda: read_bytes("http:ann:s3cret@host"),
    "a space before": lambda: read_bytes(" " + URL),
}


@pytest.mark.parametrize("what", SEEN)
def test_what_is_shown(what):
    value = SEEN[what]()
    assert "s3cret" not in repr(value) + str(value)
    assert "127.0.0.1" in repr(value) + str(value)


@pytest.mark.parametrize("what", FAILING)
def test_errors(what):
    with pytest.raises((NeuronExplainerError, ValueError)) as caught:
        FAILING[what]()
    seen = "".join(map(str, (caught.value, repr(caught.value), caught.value.args)))
    assert "s3cret" not in seen


def test_locations_for_people():
    assert without_secrets("https://user:secret@host:8/x?signature=abc#d") == "https://host:8/x"
    assert without_secrets("https://host/\x1b[31m\u202ex") == "https://host/\\x1b[31m\\u202ex"
    for path in ("/data/a?b#c@d", "C:\\data", "data:with colon"):
        assert without_secrets(path) == path


def test_addresses_within_texts():
    text = "'https://a:b@host/x?key=1', (http:/a:b@host/x?key=1). s3://b/c#d; C:/x@y and ann@host stay"
    assert without_credentials(text) == "'https://host/x', (http:/host/x). s3://b/c; C:/x@y and ann@host stay"
    assert shown(["https://a:b@host/x?key=1"]) == "['https://host/x']"
    assert shown("https://" + "a" * 100 + ":s3cret@host/") == "'https://host/'"
