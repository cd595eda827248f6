"""What a Ray worker is told, and what it does."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.collation.corpus.windows import Pool
from neuron_explainer.collation.runs.job import Subject
from neuron_explainer.collation.runs.local import Job
from neuron_explainer.collation.runs.scalar_source import ScalarSource, layers_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entries import Entries
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer

Arrays = dict[str, NDArray[Any]]
"""A collation's tensors as arrays, which Ray moves between processes without copying."""


@dataclass(frozen=True)
class WorkerSetup:
    """All that a worker has to know.

    Attributes:
        settings, entries, components: as a Job has them.
        model_name: the model's name.
        model: the model itself, on the CPU.
        config, loss: what a derived scalar needs beside the model.
        device_type: the kind of device that the model is to run on.
    """

    settings: CollateSettings
    entries: Entries
    components: dict[int, list[int]] | None
    model_name: str
    model: Transformer
    config: DstConfig | None
    loss: Any
    device_type: str

    @classmethod
    def of(cls, job: Job, subject: Subject) -> "WorkerSetup":
        """The setup of a job.

        Raises:
            InvalidRequestError: the model is on a device that Ray does not hand out.
        """
        model = subject.model_context.get_or_create_model()
        if model.device.type not in ("cpu", "cuda"):
            raise InvalidRequestError(f"The model is on {model.device}; Ray's workers run on CPUs and CUDA devices.")
        config = None if subject.config is None else replace(subject.config, model_context=None)
        return cls(
            settings=job.settings,
            entries=job.entries,
            components=job.components,
            model_name=subject.model_context.model_name,
            model=model.cpu() if model.device.type == "cpu" else _copy_on_cpu(model),
            config=config,
            loss=subject.loss,
            device_type=model.device.type,
        )


class Worker:
    """Holds the model, and collates what it is given."""

    def __init__(self, setup: WorkerSetup) -> None:
        torch.set_num_threads(1)  # one CPU is what a worker was given
        self._lesson = setup
        model = setup.model.to(setup.device_type)
        context = StandardModelContext(setup.model_name, model)
        layers = layers_of(setup.settings.dst, setup.settings.layers, context.n_layers)
        self._run_model = ScalarSource(context, setup.settings.dst, layers, setup.config, setup.loss)

    def collate(self, shard: list[Pool]) -> tuple[int, Arrays]:
        """How many tokens a shard's sequences have, and what is found in them."""
        setup = self._lesson
        collation = Collation(setup.settings, setup.entries, setup.components)
        n_tokens = 0
        for pool in shard:
            for batch in pool.batches(setup.settings.batch_tokens):
                collation.take(batch, self._run_model)
                n_tokens += int(batch.lengths.sum())
        collation.prune()
        return n_tokens, arrays_of(collation)


def merged(setup: WorkerSetup, left: Arrays, right: Arrays) -> Arrays:
    """What was found in two disjoint parts of the texts."""
    return arrays_of(collation_of(setup, left).merge(collation_of(setup, right)))


def arrays_of(collation: Collation) -> Arrays:
    """A collation's tensors as arrays."""
    return {name: tensor.numpy() for name, tensor in collation.tensors().items()}


def collation_of(setup: WorkerSetup, arrays: Arrays) -> Collation:
    """The collation whose arrays these are, on the CPU."""
    collation = Collation(setup.settings, setup.entries, setup.components)
    # Arrays that come from Ray are read-only, and a collation is changed in place.
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    collation.restore(tensors, torch.device("cpu"))
    return collation


def _copy_on_cpu(model: Transformer) -> Transformer:
    copy = Transformer(model.config)
    copy.load_state_dict({name: tensor.cpu() for name, tensor in model.state_dict().items()}, assign=True)
    return copy.requires_grad_(False)
