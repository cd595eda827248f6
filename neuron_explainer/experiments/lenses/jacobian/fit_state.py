"""What a fit has so far, in one file beside the lens that it makes: it goes on from there, however it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, MisconfiguredError
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader
from neuron_explainer.storage.atomic import replaced_atomically
from neuron_explainer.storage.tensor_views import tensor_metadata

_SUFFIX = ".state"
_ENTRY = "fit"


class FitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be the same when a fit goes on; `weights` are the model's dtype and the fingerprint of its numbers."""

    model_name: str
    weights: str
    d_model: int
    layers: tuple[int, ...]
    target_layer: int
    max_tokens: int
    skip_first: int


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    settings: FitSettings
    n_done: int
    digest: str


@dataclass
class FitState:
    """The sums so far.

    Attributes:
        settings: how the lens is fitted.
        sums: by layer, the sum of the prompts' Jacobians, (d_model, d_model), float32.
        n_done: of how many prompts.
        digest: of the tokens of these prompts, in their order.
        is_whole: whether all layers' sums are of the same prompts; not so after an interrupt while one is taken in.
    """

    settings: FitSettings
    sums: dict[int, Float[Tensor, "d_model d_model"]] = field(default_factory=dict)
    n_done: int = 0
    digest: str = ""
    is_whole: bool = True

    def add(self, jacobians: Mapping[int, Float[Tensor, "d_model d_model"]], token_ids: Sequence[int]) -> None:
        """Take in one prompt."""
        digest = digest_with(self.digest, token_ids)
        self.is_whole = False
        for layer, matrix in jacobians.items():
            own = matrix.to("cpu", torch.float32)
            self.sums[layer] = self.sums[layer].add_(own) if layer in self.sums else own.clone()
        self.n_done += 1
        self.digest = digest
        self.is_whole = True

    def means(self) -> dict[int, Float[Tensor, "d_model d_model"]]:
        """The matrices of the lens so far."""
        return {layer: matrix / self.n_done for layer, matrix in self.sums.items()}

    def write(self, out: Path) -> None:
        """Write the state beside `out`, whole or not at all."""
        saved = msgspec.json.encode(_Saved(self.settings, self.n_done, self.digest)).decode()
        with replaced_atomically(state_path(out)) as temporary:
            save_file({str(layer): matrix for layer, matrix in self.sums.items()}, temporary, {_ENTRY: saved})


def digest_with(digest: str, token_ids: Sequence[int]) -> str:
    """The digest of some prompts and one more."""
    return hashlib.sha256(f"{digest}|{','.join(map(str, token_ids))}".encode()).hexdigest()


def state_path(out: Path) -> Path:
    """Where the state of a fit is, beside its lens."""
    return out.with_name(out.name + _SUFFIX)


def read_fit_state(out: Path, settings: FitSettings) -> FitState:
    """The state of a fit that was stopped; a new one if there is none.

    Raises:
        MalformedCheckpointError: the file is damaged.
        MisconfiguredError: it is of a fit with other settings.
    """
    path = state_path(out)
    if not path.exists():
        return FitState(settings)
    try:
        saved = msgspec.json.decode(tensor_metadata(path).get(_ENTRY, ""), type=_Saved)
        reader = SafetensorsReader([path])
        shapes = {name: reader.shape(name) for name in reader.names()}
        if saved.settings != settings:
            raise MisconfiguredError(
                f"{path} is of a fit with other settings: {_difference(saved.settings, settings)}. Give those, or "
                "another `out`; or delete the file to begin anew."
            )
        expected = {str(layer): (settings.d_model, settings.d_model) for layer in settings.layers}
        if saved.n_done < 1 or shapes != expected:
            raise ValueError("its tensors are not those of its settings")
    except MisconfiguredError:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedCheckpointError(
            f"{path} is not the state of a fit: {error!s:.200} Delete it to begin anew.", file=path
        ) from None
    sums = {
        layer: reader.read(str(layer), dtype=torch.float32, device=torch.device("cpu")) for layer in settings.layers
    }
    return FitState(settings, sums, saved.n_done, saved.digest)


def _difference(saved: FitSettings, asked: FitSettings) -> str:
    return "; ".join(
        f"{name} is {getattr(saved, name)!s:.80} there, and {getattr(asked, name)!s:.80} now"
        for name in saved.__struct_fields__
        if getattr(saved, name) != getattr(asked, name)
    )
