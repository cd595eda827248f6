"""What a Ray worker gets, and what it does."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
from neuron_explainer.collation.corpus.windows import CorpusChunk
from neuron_explainer.collation.runs.job import CollatedModel, Job
from neuron_explainer.collation.runs.scalar_source import ScalarSource, layers_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer

Arrays = dict[str, NDArray[Any]]
"""A collation's tensors as arrays; Ray moves these between processes without copying."""


@dataclass(frozen=True)
class WorkerSetup:
    """All that a worker needs.

    Attributes:
        settings, entry_kind, components: as Job has them.
        model_name: the model's name.
        model: the model itself, on the CPU.
        config, loss: as CollatedModel has them.
        device_type: the type of device that the model runs on, "cpu" or "cuda".
    """

    settings: CollateSettings
    entry_kind: EntryKind
    components: dict[int, list[int]] | None
    model_name: str
    model: Transformer
    config: DstConfig | None
    loss: LossFnConfig | LossFunction | None
    device_type: str

    @classmethod
    def of(cls, job: Job, collated_model: CollatedModel) -> "WorkerSetup":
        """The setup of a job.

        Raises:
            InvalidRequestError: the model is neither on a CPU nor on a CUDA device.
        """
        model = collated_model.model_context.get_or_create_model()
        if model.device.type not in ("cpu", "cuda"):
            raise InvalidRequestError(
                f"The model is on {model.device}, but Ray workers run on CPUs or CUDA devices only."
            )
        config = None if collated_model.config is None else replace(collated_model.config, model_context=None)
        return cls(
            settings=job.settings,
            entry_kind=job.entry_kind,
            components=job.components,
            model_name=collated_model.model_context.model_name,
            model=model.cpu() if model.device.type == "cpu" else _copy_on_cpu(model),
            config=config,
            loss=collated_model.loss,
            device_type=model.device.type,
        )


class Worker:
    """Collates the shards that it gets, with its own copy of the model."""

    def __init__(self, setup: WorkerSetup) -> None:
        torch.set_num_threads(1)  # Ray gave the worker one CPU
        self._setup = setup
        model = setup.model.to(setup.device_type)
        context = StandardModelContext(setup.model_name, model)
        layers = layers_of(setup.settings.dst, setup.settings.layers, context.n_layers)
        self._source = ScalarSource(context, setup.settings.dst, layers, setup.config, setup.loss)

    def collate(self, shard: list[CorpusChunk]) -> tuple[int, Arrays]:
        """Collate a shard; returns its number of tokens and the collation's tensors."""
        setup = self._setup
        collation = Collation(setup.settings, setup.entry_kind, setup.components)
        n_tokens = 0
        for chunk in shard:
            for batch in chunk.batches(setup.settings.batch_tokens):
                self._source.add_batch(collation, batch)
                n_tokens += int(batch.lengths.sum())
        collation.prune()
        return n_tokens, arrays_of(collation)


def merged(setup: WorkerSetup, left: Arrays, right: Arrays) -> Arrays:
    """The tensors of two disjoint parts of the texts, merged."""
    return arrays_of(collation_of(setup, left).merge(collation_of(setup, right)))


def arrays_of(collation: Collation) -> Arrays:
    """The tensors of a collation, as arrays."""
    return {name: tensor.numpy() for name, tensor in collation.tensors().items()}


def collation_of(setup: WorkerSetup, arrays: Arrays) -> Collation:
    """The collation that has these tensors, on the CPU."""
    collation = Collation(setup.settings, setup.entry_kind, setup.components)
    # Arrays from Ray are read-only, and a collation changes its tensors in place.
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    collation.restore(tensors, torch.device("cpu"))
    return collation


def _copy_on_cpu(model: Transformer) -> Transformer:
    copy = Transformer(model.config)
    copy.load_state_dict({name: tensor.cpu() for name, tensor in model.state_dict().items()}, assign=True)
    return copy.requires_grad_(False)
