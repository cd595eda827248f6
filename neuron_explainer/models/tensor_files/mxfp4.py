"""Weights in MXFP4, as gpt-oss has them: 4-bit numbers, with a power of two for every 32 of them.

A weight NAME is stored as NAME_blocks, (experts, outputs, groups, 16) bytes of two numbers each, the lower four bits
first, and NAME_scales, (experts, outputs, groups), exponents plus 127. The weight itself is (experts, inputs, outputs).
Source: the OCP Microscaling Formats (MX) specification 1.0, sections 5.3.3 (E2M1) and 5.4.1 (E8M0).
"""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError
from neuron_explainer.models.tensor_files.raw_tensors import check_finite
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader

_BLOCKS, _SCALES = "_blocks", "_scales"
_BYTES_OF_GROUP = 16
_NUMBERS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_BIAS = 127


class Mxfp4Reader:
    """The tensors of safetensors files, those in MXFP4 dequantised when they are read; a `TensorReader`."""

    def __init__(self, files: SafetensorsReader) -> None:
        """Find the weights that are stored as blocks and scales.

        Raises:
            MalformedCheckpointError: blocks and scales do not fit each other.
        """
        self._files = files
        self._packed = {
            name.removesuffix(_BLOCKS)
            for name in files.names()
            if name.endswith(_BLOCKS) and name.removesuffix(_BLOCKS) + _SCALES in files.names()
        }
        for name in self._packed:
            blocks, scales = files.shape(name + _BLOCKS), files.shape(name + _SCALES)
            are_bytes = {files.dtype(name + _BLOCKS), files.dtype(name + _SCALES)} == {"U8"}
            if not are_bytes or len(blocks) != 4 or blocks != (*scales, _BYTES_OF_GROUP):
                raise MalformedCheckpointError(
                    f"{name}{_BLOCKS} has the shape {blocks} and {name}{_SCALES} the shape {scales}. In MXFP4 both "
                    f"are bytes: (experts, outputs, groups, {_BYTES_OF_GROUP}) and (experts, outputs, groups).",
                    file=files.where(name + _BLOCKS),
                    tensor=name + _BLOCKS,
                )

    def names(self) -> Collection[str]:
        """The names of all tensors; a weight in MXFP4 counts as one."""
        parts = {name + end for name in self._packed for end in (_BLOCKS, _SCALES)}
        return (set(self._files.names()) - parts) | self._packed

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        if name not in self._packed:
            return self._files.shape(name)
        experts, outputs, groups, _ = self._files.shape(name + _BLOCKS)
        return experts, groups * 2 * _BYTES_OF_GROUP, outputs

    def dtype(self, name: str) -> str:
        """The format's name of a tensor's dtype."""
        return "F32" if name in self._packed else self._files.dtype(name)

    def where(self, name: str | None = None) -> str:
        """The file of a tensor; without a name, the only file or the folder of several."""
        return self._files.where(name + _BLOCKS if name in self._packed else name)

    def stored_name(self, name: str) -> str:
        """The name itself; of a weight in MXFP4, that of its blocks."""
        return name + _BLOCKS if name in self._packed else name

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor. One in MXFP4 is read and dequantised expert by expert.

        Raises:
            CheckpointError: the tensor cannot be read, or is not finite.
        """
        if name not in self._packed:
            return self._files.read(name, dtype=dtype, device=device)
        experts, outputs, groups, _ = self._files.shape(name + _BLOCKS)
        result = torch.empty(experts, outputs, groups * 2 * _BYTES_OF_GROUP, dtype=dtype, device=device)
        for expert in range(experts):
            blocks = self._files.read_bytes(name + _BLOCKS, expert).view(outputs, groups, _BYTES_OF_GROUP)
            scales = self._files.read_bytes(name + _SCALES, expert).view(outputs, groups)
            result[expert].copy_(dequantised(blocks, scales).to(dtype))
        check_finite(result, file=self.where(name), name=name + _BLOCKS)
        return result.transpose(1, 2)

    def read_rows(
        self, name: str, rows: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "rows ..."]:
        """Some rows of a tensor. Errors are those of `read`."""
        if name in self._packed:
            return self.read(name, dtype=dtype, device=device)[list(rows)]
        return self._files.read_rows(name, rows, dtype=dtype, device=device)


def dequantised(
    blocks: UInt8[Tensor, "outputs groups 16"], scales: UInt8[Tensor, "outputs groups"]
) -> Float[Tensor, "outputs inputs"]:
    """The numbers, in float32; NaN where the scale says so.

    >>> dequantised(torch.full((1, 1, 16), 0xA1, dtype=torch.uint8), torch.tensor([[128]], dtype=torch.uint8))[0, :2]
    tensor([ 1., -2.])
    """
    table = torch.tensor([*_NUMBERS, *(-number for number in _NUMBERS)], dtype=torch.float32, device=blocks.device)
    halves = torch.stack((blocks & 0xF, blocks >> 4), dim=-1).flatten(-2)
    exponents = scales.to(torch.int32) - _BIAS
    numbers = torch.ldexp(table[halves.long()], exponents.unsqueeze(-1))
    return numbers.masked_fill((scales == 255).unsqueeze(-1), float("nan")).flatten(-2)
