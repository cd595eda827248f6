"""torch's default dtype and default device belong to the user: no result depends on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.checkpoints import save_folder, small_llama
from helpers.gguf_files import KINDS, write_llama
from helpers.tiny_models import ONE_OF_EACH_FAMILY, hf_model, our_model
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.transformer import Transformer

TEXT = "And the LORD said unto"
N_LATENTS = 24


@contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")  # stands in for another device: what is made there by mistake has no numbers
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints and an autoencoder, made with torch's usual defaults."""
    folder = tmp_path_factory.mktemp("files")
    save_folder(small_llama(), folder / "llama")
    write_llama(folder / "llama.gguf", small_llama(), kind=KINDS.Q8_0)
    generator = torch.Generator().manual_seed(0)
    sizes = {"encoder.weight": (N_LATENTS, 512), "decoder.weight": (512, N_LATENTS), "pre_bias": (512,)}
    weights = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    torch.save({**weights, "latent_bias": torch.zeros(N_LATENTS)}, folder / "1.pt")
    return folder


def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def logits_of(source: Path) -> Any:
    model = ne.load_model(source, device="cpu")
    tokens = torch.tensor([[5, 17, 3, 44]], dtype=torch.int64, device="cpu")
    return model.get_or_create_model()(tokens)


def logits_of_families(_: Path) -> Any:
    tokens = torch.tensor([[5, 17, 3], [4, 1, 0]], dtype=torch.int64, device="cpu")
    mask = torch.tensor([[True] * 3, [True, True, False]], dtype=torch.bool, device="cpu")
    return [
        Transformer.from_hf_config_and_tensors(model.config.to_dict(), model.state_dict())(tokens, attention_mask=mask)
        for model in map(hf_model, ONE_OF_EACH_FAMILY)
    ]


def derived(_: Path) -> Any:
    loss = ne.LossFnConfig("logit_diff", [" unto"], [" the"])
    store = ne.derive(TEXT, ["mlp_act_times_grad", "attn_qk_probs", "attn_write_norm"], tiny(), loss=loss)
    batch = ne.derive_batch([TEXT, "And"], ["mlp_post_act", "attn_qk_probs"], tiny())
    top = [each.topk(9) for each in (store, *batch)]
    return [*top, store.to_dataframe().value.tolist()[:9], store._repr_html_()]


def autoencoders(files: Path) -> Any:
    context = ne.load_autoencoders(files / "{layer}.pt", "mlp_post_act", layers=[1], device="cpu")
    config = ne.DstConfig(model_context=tiny(), autoencoder_context=context, layer_indices=[1])
    return ne.derive(TEXT, ["online_autoencoder_latent", "online_autoencoder_write_norm"], config).topk(9)


def generated(_: Path) -> Any:
    model = tiny()
    texts = [
        model.generate(TEXT, max_new_tokens=6, sampling=each) for each in (None, ne.Sampling(temperature=1, seed=0))
    ]
    transformer = model.get_or_create_model()
    ids = [generate(transformer, [[1, 2, 3], [4]], max_new_tokens=4, use_cache=cached) for cached in (True, False)]
    return texts, ids


def recorded(_: Path) -> Any:
    model = tiny()
    transformer, tokens = model.get_or_create_model(), model.to_tokens(TEXT)
    with transformer.record(
        ["mlp_post_act", "attn_qk_logits", "resid_final_layer_norm_scale"], gradients=True
    ) as found:
        found.backward(transformer(tokens)[0, -1, 5])
    with transformer.intervene("mlp_post_act", 1, torch.zeros_like):
        ablated = transformer(tokens)
    return [
        found["attn_qk_logits", 1],
        found.gradient("mlp_post_act", 1),
        ablated,
        model.get_weight("mlp_to_residual", 0),
    ]


def collated(files: Path) -> Any:
    folder = files / "datasets" / str(len(list(files.glob("datasets/*"))))
    folder.parent.mkdir(exist_ok=True)
    texts = [TEXT, "In the beginning was the word", "And it came to pass"] * 3
    results: list[Any] = []
    for dst in ("mlp_post_act", "attn_write_norm"):
        path = folder / dst
        ne.collate(tiny(), texts, path, dst=dst, progress=False)
        record = ne.load_neuron(path, 1, 3)
        results += [record.most_positive_activation_records, record.quantile_boundaries, record.mean, record.variance]
        results += [ne.verify(path, 2, dst=dst, model=tiny()).largest_difference]
    return results


def live(_: Path) -> Any:
    record = ne.live_record(tiny(), 1, 3, [TEXT])
    viewer = ne.NeuronViewer(tiny(), layer=1, neuron=0, texts=[TEXT])
    viewer.wait()
    assert viewer.error is None
    assert viewer.record is not None
    return record.most_positive_activation_records, record._repr_html_(), viewer.record.most_positive_activation_records


def views(_: Path) -> Any:
    record = ne.load_neuron("tiny", 1, 3)
    return (
        record._repr_html_(),
        ne.plot_histogram(record).to_json(),
        ne.token_heatmap(["a", "b"], np.array([0.5, 1.0]).tolist()),
    )


def checked(_: Path) -> Any:
    report = ne.check(our_model("gpt2"), hf_model("gpt2"), progress=False)
    assert report.ok
    return [(each.check, each.status) for each in report.findings]


CALLS: dict[str, Callable[[Path], Any]] = {
    "a folder": lambda files: logits_of(files / "llama"),
    "a GGUF file": lambda files: logits_of(files / "llama.gguf"),
    **{
        f.__name__: f
        for f in (logits_of_families, derived, autoencoders, generated, recorded, collated, live, views, checked)
    },
}


@pytest.mark.parametrize("setting", [default_dtype, default_device])
@pytest.mark.parametrize("name", CALLS)
def test_no_result_depends_on_torchs_defaults(name: str, setting: Callable[[], Any], files: Path) -> None:
    expected = CALLS[name](files)
    with setting():
        found = CALLS[name](files)
    _same(found, expected)


def _same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert (found.dtype, found.device) == (expected.dtype, expected.device)
        assert torch.equal(found, expected)
    elif isinstance(expected, list | tuple) and any(isinstance(each, torch.Tensor | list | tuple) for each in expected):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            _same(ours, theirs)
    else:
        assert found == expected
