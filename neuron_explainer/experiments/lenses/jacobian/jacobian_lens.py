"""A fitted Jacobian lens: a matrix for each layer, which takes its output to what it is on its way to become."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import MisconfiguredError
from neuron_explainer.experiments.lenses.jacobian.files import LensFile, read_lens_file, write_lens_file
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.wording import counted, number_ranges


@dataclass(frozen=True, eq=False)
class JacobianLens:
    """A matrix for each layer: the mean Jacobian of the last residual stream by that layer's output.

    Row i, column j of a layer's matrix is the mean, over prompts and over their positions p, of the sum over positions
    p' ≥ p of ∂ target[p', i] / ∂ layer[p, j]. The lens reads `unembed(final_norm(J[layer] @ h))`: what a layer's output
    makes the model say now or later, where the logit lens reads what it would say if no layer followed.

    `ne.fit_jacobian_lens` makes one, and `ne.load_jacobian_lens` reads one.

    Attributes:
        matrices: by layer, (d_model, d_model), (outputs, inputs), float32, on the CPU.
        n_prompts: on how many prompts it was fitted.
        target_layer: whose output was differentiated; None: the last one's.
        model_name: of which model it is, as far as its file says.

    >>> import neuron_explainer as ne
    >>> reading = ne.lens(ne.load_model("tiny"), "And the LORD said unto", kind="jacobian", positions=-1)
    >>> reading.lens.layers
    (0, 1, 2)
    """

    matrices: Mapping[int, Float[Tensor, "d_model d_model"]]
    n_prompts: int
    target_layer: int | None = None
    model_name: str = ""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have a matrix, ascending."""
        return tuple(sorted(self.matrices))

    @property
    def d_model(self) -> int:
        """The number of channels of the residual stream."""
        return len(self.matrices[self.layers[0]])

    def save(self, path: str | os.PathLike[str], *, dtype: Literal["float32", "float16"] | None = None) -> None:
        """Write the lens to a file, whole or not at all.

        Args:
            path: ends in `.safetensors`; or in `.pt`, the public form, which other programs read, too.
            dtype: of the numbers; None: float32 in `.safetensors`, float16 in `.pt`, as is usual. Shards that are to be
                merged are best kept in float32.

        Raises:
            InvalidRequestError: the path ends otherwise, or a number is too large for float16.
            UnknownNameError: the dtype is another one.
        """
        write_lens_file(path, LensFile(self.matrices, self.n_prompts, self.target_layer, self.model_name), dtype)

    def check_model(self, model: ModelContext) -> None:
        """Refuse a model of other sizes.

        Raises:
            MisconfiguredError: its residual stream has another width, or it lacks a layer of the lens.
        """
        config = model.get_or_create_model().config
        last = max(self.layers[-1], self.target_layer or 0)
        if config.d_model != self.d_model or last >= config.n_layers:
            raise MisconfiguredError(
                f"The Jacobian lens{f' of {self.model_name}' if self.model_name else ''} has {self.d_model} channels "
                f"and layers {number_ranges(self.layers)}; {model.model_name} has {config.d_model} channels and layers "
                f"0 to {config.n_layers - 1}. Give the lens that was fitted to this model."
            )

    def transported(self, layer: int, resid: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_model"]:
        """J[layer] @ h, computed in float32 at least, in the dtype and on the device of `resid`."""
        matrix = self.matrices[layer].to(resid.device)
        return (resid.to(matrix.dtype) @ matrix.T).to(resid.dtype)

    def __repr__(self) -> str:
        of = f" of {self.model_name}" if self.model_name else ""
        return (
            f"<JacobianLens{of}: layers {number_ranges(self.layers)}, {self.d_model} channels, "
            f"fitted on {counted(self.n_prompts, 'prompt')}>"
        )


def load_jacobian_lens(path: str | os.PathLike[str]) -> JacobianLens:
    """Read a Jacobian lens: the public `.pt` form, or `.safetensors`. Nothing in the file is run.

    Args:
        path: a file, or its http(s) address.

    Raises:
        MissingFileError: the file does not exist.
        MalformedCheckpointError: it is damaged, or its entries do not go together.
        UnsupportedCheckpointError: it holds other objects than numbers, texts and tensors.
        NonFiniteTensorError: a number is NaN or infinite.
        InvalidRequestError: its name ends otherwise.

    >>> import tempfile, neuron_explainer as ne
    >>> lens = ne.lens(ne.load_model("tiny"), "And the LORD", kind="jacobian", positions=-1).lens
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lens.save(f"{folder}/lens.safetensors")
    ...     ne.load_jacobian_lens(f"{folder}/lens.safetensors").n_prompts == lens.n_prompts
    True
    """
    saved = read_lens_file(path)
    return JacobianLens(saved.matrices, saved.n_prompts, saved.target_layer, saved.model_name)
