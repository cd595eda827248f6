"""`collate`: a model and texts in, a neuron dataset out."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from neuron_explainer.activation_server.neuron_datasets import NEURON_DATASET_METADATA_REGISTRY, register_dataset
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.collation.corpus.texts import n_characters
from neuron_explainer.collation.output.writing import Layout, dataset_info, info_of_finished, write_dataset
from neuron_explainer.collation.runs.job import Subject, job_of, model_of
from neuron_explainer.collation.runs.local import Job, run_locally
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.saved_state import differences
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.errors import DatasetExistsError, InvalidRequestError, UnknownNameError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

_CHOICES = {
    "layout": ("packed", "json"),
    "activation_dtype": ("auto", "float16", "float32"),
    "engine": ("local", "ray"),
}


def collate(
    model: Any,
    texts: Any,
    out: str | os.PathLike[str],
    dst: DerivedScalarType | str = DerivedScalarType.MLP_POST_ACT,
    layers: int | Sequence[int] | None = None,
    *,
    context_length: int = 128,
    stride: int | None = None,
    prepend_bos: bool = False,
    top_k: int = 20,
    random_k: int = 10,
    quantiles: int = 4,
    examples_per_quantile: int = 5,
    example_tokens: int | None = None,
    random_example_tokens: int | None = None,
    histogram_bins: int = 50,
    seed: int = 0,
    batch_tokens: int = 4096,
    max_tokens: int | None = None,
    text_field: str = "text",
    device: Any = None,
    dtype: Any = None,
    config: DstConfig | None = None,
    loss: Any = None,
    layout: Layout = "packed",
    activation_dtype: Literal["auto", "float16", "float32"] = "auto",
    registered_as: str | None = None,
    corpus_name: str = "",
    overwrite: bool = False,
    checkpoint_seconds: float = 300.0,
    progress: bool | None = None,
    engine: Literal["local", "ray"] = "local",
    n_workers: int | None = None,
    ray_address: str | None = None,
) -> Path:
    """Make a neuron dataset: what every neuron, head or latent of a model does on texts.

    One pass over the texts. For every component: the sequences with its highest peaks (among equal peaks the earlier
    one), random sequences (drawn for each component on its own), further random ones in groups by peak, mean,
    variance, skewness and kurtosis, how often it is above 0, and a histogram. Memory is bounded by the dataset's size
    and one batch, however long the texts are.

    While the run lasts its state is kept in the folder `{out}.collating`. A run that was stopped, in whatever way, goes
    on from there when the same call is made again, and gives the same dataset to the byte. `out` is there when it is
    complete. If it is complete already, and made with the same model and settings, nothing is done.

    Args:
        model: a ModelContext, or whatever `load_model` takes.
        texts: a text; the path of a .txt, .jsonl or .parquet file (the first two perhaps with .gz) or of a folder of
            them; a Hugging Face dataset; or an iterable of texts, paths and mappings. To resume a run, an iterator has
            to give the same texts again from the first one on.
        out: the folder to make.
        dst: what is collated: any scalar with one number for each token, or token pair, and component.
        layers: which layers; None: all.
        context_length: how many tokens a sequence has at most. No sequence holds tokens of two texts.
        stride: how far apart a text's sequences start; None: `context_length`, so that they do not overlap.
        prepend_bos: begin every sequence with the model's beginning token; it is shown, but counts nowhere.
        top_k, random_k: how many top and random examples each component has.
        quantiles, examples_per_quantile: how many groups by peak, and how many examples in each; `quantiles=0`: none.
        example_tokens: how many tokens around its peak an example shows; None: 64, or the whole sequence for scalars by
            token pair.
        random_example_tokens: the same for random examples and those of the groups; None: as many.
        histogram_bins: how many cells the histograms have.
        seed: of the random samples.
        batch_tokens: how many tokens are run at a time, padding included.
        max_tokens: how many tokens of the texts to use; None: all.
        text_field: the field that holds the text, where texts are records.
        device, dtype: where and in which floating-point type the model runs, if it is loaded here.
        config: autoencoders, and whatever else a derived scalar may need.
        loss: what gradients are of, for scalars that need them.
        layout: "packed", or "json" for a file a component in the public datasets' spelling.
        activation_dtype: of the examples in the packed layout; "auto": float16 where it loses nothing that matters.
        registered_as: the short name to register the packed dataset under; None: the folder's name, if it is free.
        corpus_name: a line about the texts, for people.
        overwrite: replace what is at `out`, and any unfinished run.
        checkpoint_seconds: how often the state is saved.
        progress: True: a bar; False: nothing; None: a bar on a terminal or in a notebook, a log line now and then
            elsewhere (logger "neuron_explainer.collation").
        engine: "local", or "ray" for several workers or machines; the result is the same.
        n_workers: how many Ray workers; None: one for each CPU or GPU of the cluster.
        ray_address: a Ray cluster to join; None: one on this machine.

    Returns:
        The folder. A packed dataset opens in the viewer by its path, and by its short name.

    Raises:
        InvalidRequestError: an argument is out of range, or contradicts another or the model.
        DatasetExistsError: `out`, or the unfinished run, is of another model, other texts or other settings.
        BadDocumentError: a text cannot be read. What was done is saved.
        CorpusChangedError: a run is resumed with other texts.
        NonFiniteActivationError: the model gave an activation that is no finite number.
        OutOfSpaceError: the disk is full. What was saved is intact.
    """
    for name, value in {"layout": layout, "activation_dtype": activation_dtype, "engine": engine}.items():
        if value not in _CHOICES[name]:
            raise UnknownNameError(name, str(value), _CHOICES[name])
    settings = CollateSettings(
        dst=derived_scalar_type_of(dst),
        layers=None if layers is None else (layers,) if isinstance(layers, int) else tuple(layers),
        context_length=context_length,
        stride=stride,
        prepend_bos=prepend_bos,
        top_k=top_k,
        random_k=random_k,
        quantiles=quantiles,
        examples_per_quantile=examples_per_quantile,
        example_tokens=example_tokens,
        random_example_tokens=random_example_tokens,
        histogram_bins=histogram_bins,
        seed=seed,
        batch_tokens=batch_tokens,
        max_tokens=max_tokens,
        text_field=text_field,
    )
    path = Path(out)
    short_name = registered_as or path.absolute().name
    may_register = _is_free(short_name, settings.dst, path)
    if registered_as is not None and not may_register:  # refused before the work rather than after it
        raise InvalidRequestError(
            f"{registered_as!r} ({settings.dst.value}) is registered already, at another path. Choose another name."
        )
    work_folder = path.with_name(path.name + ".collating")
    if overwrite:
        _remove(path, work_folder)
    subject = Subject(model_of(model, device=device, dtype=dtype), config, loss)
    shown = Progress(show=progress, max_tokens=max_tokens, n_characters=n_characters(texts, text_field))
    job = job_of(
        subject,
        texts,
        settings,
        folder=work_folder,
        checkpoint_seconds=checkpoint_seconds,
        progress=shown,
    )
    if _is_finished(path, job):
        shutil.rmtree(work_folder, ignore_errors=True)
    else:
        try:
            if engine == "ray":
                from neuron_explainer.collation.runs.ray_run import run_on_ray

                collation, corpus = run_on_ray(job, subject, n_workers=n_workers, address=ray_address)
            else:
                collation, corpus = run_locally(job)
        finally:
            shown.finish()
        info = dataset_info(
            job, collation, corpus, subject.model_context, short_name=short_name, corpus_name=corpus_name
        )
        write_dataset(
            path,
            work_folder,
            info,
            collation,
            token_strings(subject),
            layout=layout,
            activation_dtype=activation_dtype,
        )
        shutil.rmtree(work_folder, ignore_errors=True)
    if layout == "packed" and may_register:
        register_dataset(path, short_name, replace=True)
    return path


def token_strings(subject: Subject) -> list[str]:
    """The text of every token id that the tokenizer has."""
    return subject.model_context.tokenizer.token_strings


def _is_free(short_name: str, dst: DerivedScalarType, path: Path) -> bool:
    """Whether a short name is nobody's yet, or this very folder's."""
    known = NEURON_DATASET_METADATA_REGISTRY.get((short_name, dst))
    return known is None or known.neuron_dataset_path.rstrip("/") == os.path.abspath(path)


def _is_finished(path: Path, job: Job) -> bool:
    """Whether the dataset is complete.

    Raises:
        DatasetExistsError: something else is there.
    """
    provenance = info_of_finished(path)
    if provenance is None:
        return False
    found = {name: provenance.get(name) for name in job.identity}
    if found != job.identity:
        raise DatasetExistsError(
            f"{path} holds a dataset that differs in {differences(found, job.identity)}. Choose another folder, or "
            "give overwrite=True to replace it."
        )
    return True


def _remove(path: Path, work_folder: Path) -> None:
    shutil.rmtree(work_folder, ignore_errors=True)
    if info_of_finished(path) is not None:
        shutil.rmtree(path)
