"""What a GPU must not be made to do: wait for the CPU within a pass, or keep memory that nobody uses."""

import copy
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import neuron_explainer as ne
from benchmarks.every_scalar import REQUESTS
from benchmarks.gpu.checks import Check
from benchmarks.gpu.running import padded_batch
from benchmarks.gpu.scalars import LOSS, PROMPT
from benchmarks.measure import resident_bytes
from benchmarks.passes import EVERYTHING, recorded, with_gradients
from benchmarks.small_models import random_autoencoders, small_context
from neuron_explainer.activations.derived_scalars.derivation import BatchDeriver

MOST_BYTES_KEPT = {"cuda": 0, "cpu": 8 * 2**20}
"""By 200 derives after the first 50. PyTorch counts a GPU's bytes exactly; a process's memory moves by itself."""

_META = torch.device("meta")


class WaitError(RuntimeError):
    """Something waited for numbers of a GPU, or would have."""


class _NoBlockingCopies(TorchDispatchMode):
    """Refuse copies from the CPU to the meta device that are not `non_blocking`: on a GPU each would wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        result = func(*args, **kwargs)
        if name == "_to_copy":
            source, target, is_asynchronous = args[0], result, kwargs.get("non_blocking", False)
        elif name == "copy_":
            source, target, is_asynchronous = args[1], args[0], len(args) > 2 and args[2]
        else:
            return result
        if source.device.type == "cpu" and target.device.type == "meta" and not is_asynchronous:
            raise WaitError(f"{name} of {tuple(source.shape)} numbers from the CPU waits for the GPU")
        return result


@contextmanager
def _no_waits_of_cuda() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def no_waits(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which whatever waits for a GPU is an error.

    On a machine without one, the meta device stands in: its tensors hold no numbers, so reading one fails.
    """
    return _no_waits_of_cuda() if device.type == "cuda" else _NoBlockingCopies()


def _on(device: torch.device, autoencoders: ne.AutoencoderContext) -> ne.AutoencoderContext:
    """The autoencoders on the device; on the meta device they keep their shapes alone."""
    if device.type != "meta":
        return autoencoders
    moved = copy.copy(autoencoders)
    moved.device = device
    moved._autoencoder_by_layer_index = {}
    for layer in autoencoders.layer_indices:
        shape_only = copy.copy(autoencoders.get_autoencoder(layer))
        for name, value in vars(shape_only).copy().items():
            if isinstance(value, torch.Tensor):  # `to` would read the numbers, to check that they are finite
                object.__setattr__(shape_only, name, value.to(device))
        moved._autoencoder_by_layer_index[layer] = shape_only
    return moved


def _autoencoders_on(device: torch.device) -> Callable[..., ne.AutoencoderContext]:
    def autoencoders_of(context: ne.StandardModelContext, dst: ne.DerivedScalarType) -> ne.AutoencoderContext:
        home = small_context(context.model_name) if device.type == "meta" else context
        return _on(device, random_autoencoders(home, dst, dtype=torch.float32))

    return autoencoders_of


def check_waits(families: Sequence[str], device: torch.device) -> Iterator[Check]:
    """Run every type in batches, forward passes and recordings, where nothing may wait."""
    device = device if device.type == "cuda" else _META
    for family in families:
        context = small_context(family, device)
        waits = [*_waits_of_scalars(context), *_waits_of_passes(context)]
        detail = "; ".join(waits[:5]) if waits else f"every type and every kind of pass; on {device.type}"
        yield Check(f"no hidden waits, {family}", not waits, detail)


def _waits_of_scalars(context: ne.StandardModelContext) -> Iterator[str]:
    """The types whose derivation waits: all of a request are run together, and one by one if that waits."""
    tokens, mask = padded_batch()
    tokens = tokens.to(context.device)
    for request in REQUESTS:
        config = request.config(context, _autoencoders_on(context.device))

        def run(dsts: Sequence[ne.DerivedScalarType], config: ne.DstConfig = config) -> Callable[[], object]:
            return partial(BatchDeriver(context, dsts, config, loss=LOSS).run, tokens, mask)

        if together := _waits("all types together", run(sorted(request.dsts)), context.device):
            alone = [wait for dst in sorted(request.dsts) for wait in _waits(dst.value, run([dst]), context.device)]
            yield from alone or together


def _waits_of_passes(context: ne.StandardModelContext) -> Iterator[str]:
    """The passes of the model itself that wait."""
    model = context.get_or_create_model()
    tokens, mask = padded_batch()
    on_device = tokens.to(context.device)
    passes: dict[str, Callable[[], object]] = {
        "forward, ids on the CPU": lambda: model(tokens, attention_mask=mask),
        "forward, last logits": lambda: model(on_device, attention_mask=mask, logits_at="last"),
        "recording": lambda: recorded(model, on_device, EVERYTHING),
        "gradients": lambda: with_gradients(model, on_device),
    }
    for name, run in passes.items():
        yield from _waits(name, run, context.device)


def _waits(what: str, run: Callable[[], object], device: torch.device) -> list[str]:
    run()  # tables that are made once, and kept, may wait
    try:
        with no_waits(device):
            run()
    except RuntimeError as error:
        return [f"{what}: {error!s:.100}"]
    return []


def check_memory(device: torch.device, n_derives: int = 200) -> Iterator[Check]:
    """Derive again and again, and keep nothing."""
    context = small_context("gpt2", device)
    request = REQUESTS[0]
    config = request.config(context, _autoencoders_on(device))

    def derive(times: int) -> None:
        for _ in range(times):
            ne.derive(PROMPT, sorted(request.dsts), config, loss=LOSS)

    derive(max(2, n_derives // 4))
    before = _bytes_in_use(device)
    if before is None:
        yield Check("memory", None, "this system does not say how much memory a process uses")
        return
    derive(n_derives)
    grown = (_bytes_in_use(device) or 0) - before
    most = MOST_BYTES_KEPT[device.type]
    detail = f"{grown:,} bytes more after {n_derives} derives of {len(request.dsts)} types, at most {most:,}"
    yield Check(f"memory, {device.type}", grown <= most, detail)


def _bytes_in_use(device: torch.device) -> int | None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.memory_allocated(device)
    try:
        return resident_bytes("VmRSS")
    except (OSError, RuntimeError):
        return None
