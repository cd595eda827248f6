"""What a Ray worker is told, and what it does."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.collate.collation import Collation
from neuron_explainer.collate.engine import Job
from neuron_explainer.collate.entries import Entries
from neuron_explainer.collate.job import Subject
from neuron_explainer.collate.scalar_source import ScalarSource, layers_of
from neuron_explainer.collate.settings import CollateSettings
from neuron_explainer.collate.windows import Pool
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer

Arrays = dict[str, NDArray[Any]]
"""A collation's tensors as arrays, which Ray moves between processes without copying."""


@dataclass(frozen=True)
class Lesson:
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
    def of(cls, job: Job, subject: Subject) -> "Lesson":
        """The lesson of a job.

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

    def __init__(self, lesson: Lesson) -> None:
        torch.set_num_threads(1)  # one CPU is what a worker was given
        self._lesson = lesson
        model = lesson.model.to(lesson.device_type)
        context = StandardModelContext(lesson.model_name, model)
        layers = layers_of(lesson.settings.dst, lesson.settings.layers, context.n_layers)
        self._run_model = ScalarSource(context, lesson.settings.dst, layers, lesson.config, lesson.loss)

    def collate(self, shard: list[Pool]) -> tuple[int, Arrays]:
        """How many tokens a shard's sequences have, and what is found in them."""
        lesson = self._lesson
        collation = Collation(lesson.settings, lesson.entries, lesson.components)
        n_tokens = 0
        for pool in shard:
            for batch in pool.batches(lesson.settings.batch_tokens):
                collation.take(batch, self._run_model)
                n_tokens += int(batch.lengths.sum())
        collation.prune()
        return n_tokens, arrays_of(collation)


def merged(lesson: Lesson, left: Arrays, right: Arrays) -> Arrays:
    """What was found in two disjoint parts of the texts."""
    return arrays_of(collation_of(lesson, left).merge(collation_of(lesson, right)))


def arrays_of(collation: Collation) -> Arrays:
    """A collation's tensors as arrays."""
    return {name: tensor.numpy() for name, tensor in collation.tensors().items()}


def collation_of(lesson: Lesson, arrays: Arrays) -> Collation:
    """The collation whose arrays these are, on the CPU."""
    collation = Collation(lesson.settings, lesson.entries, lesson.components)
    # Arrays that come from Ray are read-only, and a collation is changed in place.
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    collation.restore(tensors, torch.device("cpu"))
    return collation


def _copy_on_cpu(model: Transformer) -> Transformer:
    copy = Transformer(model.config)
    copy.load_state_dict({name: tensor.cpu() for name, tensor in model.state_dict().items()}, assign=True)
    return copy.requires_grad_(False)
