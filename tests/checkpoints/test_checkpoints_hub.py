"""Models on the Hugging Face hub, asked for at a server on this machine that answers as the hub does."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import file_download

import neuron_explainer as ne
from helpers.checkpoints import logits_of, save_folder, save_tdb_pieces, small_gpt2, small_llama, some_tokens
from helpers.loopback_server import Handler, LoopbackServer, loopback_server
from neuron_explainer.errors import CheckpointNotFoundError, DownloadError, NotEnoughMemoryError, UnknownNameError
from neuron_explainer.models.offload import fitting

COMMIT = "a" * 40
OTHER_COMMIT = "b" * 40


class HubHandler(Handler):
    """Answers for the files of one model at two revisions, and of a gated and a private one."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, LoopbackServer)
        with server.lock:
            server.requests.append((f"{self.command} {self.path}", dict(self.headers)))
        _owner, name, _, revision, *parts = self.path.lstrip("/").split("/")
        if name == "gated" and self.headers.get("Authorization") != "Bearer hf_secret":
            self.refuse(403, "GatedRepo")
        elif name not in ("small", "gated"):
            self.refuse(404, "RepoNotFound")
        elif revision not in ("main", COMMIT, "old", OTHER_COMMIT):
            self.refuse(404, "RevisionNotFound")
        else:
            old = revision in ("old", OTHER_COMMIT)
            file = server.root / ("old" if old else "main") / "/".join(parts)
            if not file.is_file():
                self.refuse(404, "EntryNotFound", commit=OTHER_COMMIT if old else COMMIT)
            else:
                body = file.read_bytes()
                headers = {
                    "ETag": f'"{hashlib.sha1(body).hexdigest()}"',
                    "X-Repo-Commit": OTHER_COMMIT if old else COMMIT,
                }
                self.send_response(200)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

    def refuse(self, status: int, code: str, commit: str = COMMIT) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    save_folder(small_llama(), root / "main", shard_size="60KB")
    (root / "main" / "pytorch_model.bin").write_bytes(b"pickled")
    save_folder(small_gpt2(), root / "old")
    return root


def forget_sessions() -> None:
    """Let an older client, which keeps the session that it had when it was or was not offline, begin a new one."""
    getattr(huggingface_hub, "configure_http_backend", lambda: None)()


@pytest.fixture
def hub(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    with loopback_server() as server:
        server.RequestHandlerClass = HubHandler
        server.root = files
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        for module in (constants, file_download):  # older clients have a copy in the second
            template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        forget_sessions()
        yield server


def asked(server: LoopbackServer) -> list[str]:
    """The files that were asked for. (The client asks for more than files.)"""
    return [path.rpartition("/")[2] for path, _ in server.requests if "/resolve/" in path]


def test_a_sharded_model(hub: LoopbackServer) -> None:
    context = ne.load_model("owner/small", device="cpu")
    tokens = some_tokens()
    torch.testing.assert_close(
        context.get_or_create_model()(tokens), logits_of(small_llama(), tokens), atol=1e-4, rtol=1e-4
    )
    assert context.model_name == "owner/small"
    fetched = set(asked(hub))
    assert "pytorch_model.bin" not in fetched
    present = {file.name for file in (hub.root / "main").iterdir()} - {"pytorch_model.bin"}
    absent = {"tokenizer_config.json", "chat_template.jinja", "chat_template.json", "model.safetensors"}
    assert fetched == present | absent  # a chat template, and whole weights, are looked for
    # All files are of the commit that the first one was of.
    assert {path.split("/")[4] for path, _ in hub.requests if "/resolve/" in path} == {"main", COMMIT}


def test_what_is_in_the_cache_is_not_fetched_again_and_serves_offline(
    hub: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ne.load_model("owner/small", device="cpu")
    hub.requests.clear()
    ne.load_model("owner/small", device="cpu")
    assert asked(hub) == ["config.json"]  # is the branch still where it was?
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    forget_sessions()
    assert ne.load_model("owner/small", device="cpu").n_layers == 2
    with pytest.raises(CheckpointNotFoundError, match=r"never/loaded is not in the hub's cache.*HF_HUB_OFFLINE"):
        ne.load_model("never/loaded", device="cpu")
    assert not hub.requests


def test_a_revision(hub: LoopbackServer) -> None:
    assert ne.load_model("owner/small", device="cpu", revision="old").config.model_type == "gpt2"
    with pytest.raises(CheckpointNotFoundError, match="owner/small has no revision 'nine'"):
        ne.load_model("owner/small", device="cpu", revision="nine")


def test_a_token(hub: LoopbackServer) -> None:
    with pytest.raises(DownloadError, match=r"owner/gated.*conditions must be accepted"):
        ne.load_model("owner/gated", device="cpu", token=False)
    assert ne.load_model("owner/gated", device="cpu", token="hf_secret").n_layers == 2


def test_no_such_model(hub: LoopbackServer) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown model on the Hugging Face hub 'owner/smal'.*private"):
        ne.load_model("owner/smal", device="cpu")
    hub.requests.clear()
    with pytest.raises(UnknownNameError):  # a plain word is no hub id
        ne.load_model("small", device="cpu")
    assert not hub.requests


def test_the_tokenizer_is_not_fetched_when_one_is_given(hub: LoopbackServer) -> None:
    ne.load_model("owner/small", device="cpu", tokenizer=hub.root / "main")
    assert "tokenizer.json" not in asked(hub)


def test_a_registered_name_leads_to_its_hub_id(hub: LoopbackServer) -> None:
    with pytest.raises(UnknownNameError, match="openai-community/gpt2-medium"):
        ne.load_model("gpt2-medium", device="cpu")
    assert hub.requests[0][0].startswith("HEAD /openai-community/gpt2-medium/resolve/main/config.json")


def test_an_unsupported_family_is_known_before_its_weights_are_fetched(
    hub: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "config.json").write_text('{"model_type": "bloom"}')
    hub.root = tmp_path
    with pytest.raises(ne.errors.UnsupportedCheckpointError, match=r"config.json of owner/small on the .*'bloom'"):
        ne.load_model("owner/small", device="cpu")
    assert set(asked(hub)) == {"config.json"}


def test_the_weights_of_a_model_that_does_not_fit_are_not_fetched(
    hub: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "free_bytes", lambda device: 200_000)
    with pytest.raises(NotEnoughMemoryError, match=r"owner/small does not fit: .* with offload='disk'"):
        ne.load_model("owner/small", device="cpu")
    assert not [name for name in asked(hub) if "safetensors" in name]
    tokens = some_tokens()
    offloaded = ne.load_model("owner/small", device="cpu", offload="disk").get_or_create_model()
    torch.testing.assert_close(offloaded(tokens), logits_of(small_llama(), tokens), atol=1e-4, rtol=1e-4)


def test_a_hub_that_is_not_there(hub: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.go_away()
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's tries
    with pytest.raises((CheckpointNotFoundError, DownloadError), match="owner/small"):
        ne.load_model("owner/small", device="cpu")


def test_pieces_take_gpt2s_tokenizer_from_the_hub(hub: LoopbackServer, tmp_path: Path) -> None:
    folder = save_tdb_pieces(small_gpt2(), tmp_path / "pieces")
    with pytest.raises(UnknownNameError, match="openai-community/gpt2'"):
        ne.load_model(folder, device="cpu")
    assert hub.requests[0][0].endswith("/openai-community/gpt2/resolve/main/tokenizer.json")


def test_the_environments_settings(files: Path, tmp_path: Path) -> None:
    """In a process of its own, since `huggingface_hub` reads its settings once."""
    with loopback_server() as server:
        server.RequestHandlerClass = HubHandler
        server.root = files
        environment = os.environ | {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        program = (
            "import json, neuron_explainer as ne\n"
            "context = ne.load_model('owner/gated', device='cpu', revision='old')\n"
            "print(json.dumps([context.config.model_type, context.encode('a')]))"
        )
        environment["HF_TOKEN"] = "hf_secret"
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        model_type, token_ids = json.loads(done.stdout)
        assert model_type == "gpt2"
        assert len(token_ids) == 1
        assert (tmp_path / "hub" / "models--owner--gated").is_dir()
