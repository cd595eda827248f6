"""`collate`: a model and texts in, a neuron dataset out."""

import dataclasses
import inspect
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack, cast

from neuron_explainer._deprecation import deprecated_argument
from neuron_explainer.activation_server.neuron_datasets import NEURON_DATASET_METADATA_REGISTRY, register_dataset
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.texts import TextsGiven, n_characters, read_texts
from neuron_explainer.collation.output.dataset_writing import (
    dataset_info,
    finished_dataset,
    remove_dataset,
    write_dataset,
)
from neuron_explainer.collation.runs.job import CollatedModel, CorpusSummary, Job
from neuron_explainer.collation.runs.last_save import saved_if_it_fails
from neuron_explainer.collation.runs.local_run import run_locally
from neuron_explainer.collation.runs.preparation import (
    ModelGiven,
    collated_model_of,
    job_of,
    refuse_interventions,
    refuse_offloaded,
)
from neuron_explainer.collation.runs.progress import LOGGER, Progress
from neuron_explainer.collation.runs.saved_state import STATE_FILE_NAME, differences
from neuron_explainer.collation.runs.work_folder import held_work_folder, remove_work, work_folder_of
from neuron_explainer.collation.settings import (
    DEFAULT_ACTIVATION_DTYPE,
    DEFAULT_ENGINE,
    DEFAULT_LAYOUT,
    DEFAULT_SAVE_EVERY_SECONDS,
    ActivationDtype,
    CollateSettings,
    Engine,
    Layout,
    SettingsChanges,
    check_choice,
    described_settings,
)
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.errors import CollateStopped, DatasetExistsError, InvalidRequestError, shown
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven
from neuron_explainer.models.offload.choices import Offload
from neuron_explainer.storage.locations import local_path
from neuron_explainer.vocabulary.checks import (
    LayersGiven,
    checked_flag,
    checked_number,
    checked_text,
    checked_type,
    finite_number,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_arguments import refuse_unknown
from neuron_explainer.wording import as_valid_text


def collate(
    model: ModelGiven,
    texts: TextsGiven,
    out: str | os.PathLike[str],
    dst: DerivedScalarType | str | None = None,
    layers: LayersGiven = None,
    *,
    settings: CollateSettings | Mapping[str, Any] | None = None,
    config: ConfigOrModel | None = None,
    loss: LossFnConfig | LossFunction | None = None,
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
    offload: Offload | None = None,
    layout: Layout = DEFAULT_LAYOUT,
    activation_dtype: ActivationDtype = DEFAULT_ACTIVATION_DTYPE,
    registered_as: str | None = None,
    corpus_name: str = "",
    overwrite: bool = False,
    save_every_seconds: float = DEFAULT_SAVE_EVERY_SECONDS,
    progress: bool | None = None,
    engine: Engine = DEFAULT_ENGINE,
    n_workers: int | None = None,
    ray_address: str | None = None,
    **changes: Unpack[SettingsChanges],
) -> Path:
    """Make a neuron dataset: the activations of every neuron, head or latent of a model on texts.

    The texts are read once. Each component gets its top examples (the sequences with its highest peaks; of equal peaks
    the earlier one), random examples (drawn for each component separately), more random examples in groups by peak,
    mean, variance, skewness, kurtosis, activation frequency (how often it is above 0) and a histogram. Memory depends
    on the dataset's size and one batch, not on the length of the texts.

    The state of the run is saved in the folder `{out}.collating`. A run that was stopped resumes there when the same
    call is made again, and gives the same dataset to the byte. `out` appears when it is complete. If it is complete
    already, and was made with the same model, settings and texts, nothing is done.

    Args:
        model: a ModelContext, or anything that `load_model` takes.
        texts: a text; the path of a .txt, .jsonl or .parquet file (the first two perhaps with .gz) or of a folder of
            them; a Hugging Face dataset; or an iterable of texts, paths and mappings. A list of messages is taken for
            a text, also as a file's or mapping's `text_field`, and stands for what the model's chat template writes. A
            string that looks like a path is one; in a mapping it is a text. To resume a run, an iterator must give the
            same texts again from the first one on.
        out: the folder to make.
        dst: the derived scalar to collate: a member, name or value; None: that of `settings`.
        layers: a layer or several; None: those of `settings`, else all.
        settings: the dataset's settings, or a mapping of them; None: the defaults. Further keywords change single
            settings; see below.
        config: autoencoders, and whatever else the derived scalar needs.
        loss: the loss whose gradients are taken, for scalars that need one.
        device, dtype: where, and in which floating-point type, the model runs if it is loaded here.
        offload: "disk" leaves the weights in their files, for a model that does not fit into the memory; see
            `load_model`. Larger batches (`batch_tokens`) then read them less often.
        layout: "packed", or "json" for one file per component in the public datasets' spelling.
        activation_dtype: dtype of the examples in the packed layout; "auto" chooses float16 if it holds them well.
        registered_as: the short name of the packed dataset in the registry; None: the folder's name, if it is free.
        corpus_name: one line about the texts, for people.
        overwrite: replace the dataset at `out`, and an unfinished run.
        save_every_seconds: how often the state is saved; 0: after every batch.
        progress: True: a bar; False: nothing; None: a bar on a terminal or in a notebook, log lines elsewhere (logger
            "neuron_explainer.collation").
        engine: "local", or "ray" for several workers or machines. Both give the same records.
        n_workers: how many Ray workers; None: one for each CPU or GPU of the cluster.
        ray_address: the Ray cluster to join; None: one on this machine.
        {changes}

    Returns:
        The folder. A packed dataset opens in the viewer by its path and by its short name.

    Raises:
        InvalidRequestError: an argument is out of range, or contradicts another or the model; or an intervention on
            the model is active in this thread.
        UnknownNameError: `dst`, `layout`, `activation_dtype`, `engine` or `offload` is unknown.
        DatasetExistsError: `out`, or the unfinished run, belongs to another model, other settings or other texts;
            or another run works there at this moment.
        MissingFileError: a file of texts does not exist; the message names the nearest that do.
        UnreadableFileError: a path leads to a pipe or a device, or the system refuses it.
        BadDocumentError: a text cannot be read. The work done so far is saved.
        CorpusChangedError: a run is resumed with other texts.
        NonFiniteActivationError: an activation is infinite or NaN, so that a component has no statistics. The error
            names the text, and the place and the layer where such numbers appear first. No dataset is written.
        OutOfSpaceError: the disk is full. What was saved is intact.
        CollateStopped: the run was interrupted. It is a KeyboardInterrupt; its `folder` is where the work is saved.
        TypeError: a keyword is unknown.

    >>> texts = ["In the beginning God created the heaven and the earth."]
    >>> path = collate("tiny", texts, "my_dataset", layers=[1], context_length=32)  # doctest: +SKIP
    >>> ne.load_neuron(path, 1, 355)  # doctest: +SKIP
    """
    others = cast("dict[str, Any]", changes)
    if save_every_seconds != DEFAULT_SAVE_EVERY_SECONDS:
        others["save_every_seconds"] = save_every_seconds
    deprecated_argument("checkpoint_seconds", "save_every_seconds", others)
    save_every_seconds = others.pop("save_every_seconds", save_every_seconds)
    refuse_unknown("collate", others, [*inspect.signature(collate).parameters, *SettingsChanges.__annotations__])
    check_choice("layout", layout, Layout)
    check_choice("activation_dtype", activation_dtype, ActivationDtype)
    check_choice("engine", engine, Engine)
    if offload is not None:
        check_choice("offload", offload, Offload)
    if dst is not None:
        others["dst"] = dst
    if layers is not None:
        others["layers"] = layers
    if settings is None or isinstance(settings, Mapping):
        settings = CollateSettings(**(settings or {}))
    settings = dataclasses.replace(checked_type("settings", settings, CollateSettings), **others)
    seconds = finite_number(save_every_seconds)
    if seconds is None or seconds < 0:
        raise InvalidRequestError(f"save_every_seconds is {shown(save_every_seconds)}. Give a number, 0 or more.")
    path = local_path("out", out)
    overwrite = checked_flag("overwrite", overwrite)
    if registered_as is not None:
        checked_text("registered_as", registered_as)
        if not registered_as:
            raise InvalidRequestError("registered_as is empty. Give a name, or None for the folder's name.")
    checked_text("corpus_name", corpus_name)
    if n_workers is not None:
        checked_number("n_workers", n_workers)
    if ray_address is not None:
        checked_type("ray_address", ray_address, str)
    for_ray = [name for name, value in (("n_workers", n_workers), ("ray_address", ray_address)) if value is not None]
    if engine == "local" and for_ray:
        raise InvalidRequestError(f"{for_ray[0]} is for Ray, but engine is 'local'. Pass engine='ray', or leave it.")
    short_name = registered_as or as_valid_text(path.absolute().name)
    may_register = _is_free(short_name, settings.dst, path)
    if registered_as is not None and not may_register:  # refused before the work rather than after it
        raise InvalidRequestError(
            f"{registered_as!r} ({settings.dst.value}) is already registered at another path. Choose another name."
        )
    if callable(texts) and not isinstance(texts, Iterable):
        read_texts(texts)  # refuses it
    work_folder = work_folder_of(path)
    length = n_characters(texts, settings.text_field)
    collated_model = collated_model_of(model, config, loss, device=device, dtype=dtype, offload=offload)
    refuse_interventions(collated_model.model_context)
    if engine == "ray":
        refuse_offloaded(collated_model.model_context)
    job = job_of(
        collated_model,
        texts,
        settings,
        folder=work_folder,
        save_every_seconds=seconds,
        progress=Progress(show=progress, max_tokens=settings.max_tokens, n_characters=length),
    )
    if job.bos_token is not None:
        (beginning,) = collated_model.model_context.decode_token_list([job.bos_token])
        LOGGER.info("Every sequence begins with the token %s (prepend_bos=False: without)", shown(beginning))
    with held_work_folder(path, overwrite=overwrite):
        if overwrite:
            remove_dataset(path)  # only now: a call that is refused removes nothing
        if overwrite or not _is_finished(path, job, layout):
            collation, corpus = _run(job, collated_model, engine, n_workers, ray_address)
            model_context = collated_model.model_context
            with saved_if_it_fails(job):
                info = dataset_info(
                    job, collation, corpus, model_context, short_name=short_name, corpus_name=corpus_name
                )
                write_dataset(
                    path,
                    work_folder,
                    info,
                    collation,
                    model_context.tokenizer.token_strings,
                    layout=layout,
                    activation_dtype=activation_dtype,
                )
        remove_work(work_folder)
    if layout == "packed" and may_register:
        register_dataset(path, short_name, replace=True)
    return path


collate.__doc__ = (collate.__doc__ or "").replace(
    "        {changes}", described_settings(SettingsChanges.__annotations__)
)


def _run(
    job: Job, collated_model: CollatedModel, engine: Engine, n_workers: int | None, ray_address: str | None
) -> tuple[Collation, CorpusSummary]:
    try:
        if engine == "local":
            made = run_locally(job)
        else:
            from neuron_explainer.collation.runs.ray_run import run_on_ray

            made = run_on_ray(job, collated_model, n_workers=n_workers, address=ray_address)
    except BaseException as error:
        job.progress.stop()
        if isinstance(error, KeyboardInterrupt) and not error.args:
            has_saved = job.folder is not None and (job.folder / STATE_FILE_NAME).is_file()
            raise CollateStopped(str(job.folder) if has_saved else None) from None
        raise
    job.progress.finish()
    return made


def _is_free(short_name: str, dst: DerivedScalarType, path: Path) -> bool:
    """Whether a short name is unused, or belongs to the dataset at `path`."""
    known = NEURON_DATASET_METADATA_REGISTRY.get((short_name, dst))
    return known is None or known.neuron_dataset_path.rstrip("/") == os.path.abspath(path)


def _is_finished(path: Path, job: Job, layout: Layout) -> bool:
    """Whether the dataset is complete.

    Raises:
        DatasetExistsError: something else is there, or a dataset of another model, other settings or other texts.
    """
    there = finished_dataset(path)
    if there is None:
        return False
    provenance = there[0].provenance
    found = {name: provenance.get(name) for name in job.identity} | {"layout": there[1]}
    asked = job.identity | {"layout": layout}
    remedy = "Choose another folder, or replace the dataset with overwrite=True."
    if found != asked:
        raise DatasetExistsError(f"{path} has a dataset with different settings: {differences(found, asked)}. {remedy}")
    if not _is_of(provenance.get("corpus") or {}, job):
        raise DatasetExistsError(f"{path} has a dataset of other texts. {remedy}")
    return True


def _is_of(corpus: Mapping[str, Any], job: Job) -> bool:
    """Whether the job's texts are those that a dataset was made of. The texts are read, but no model runs."""
    n_texts, max_tokens = corpus.get("n_texts"), job.settings.max_tokens
    reader = CorpusReader(job.texts())
    while reader.n_texts != n_texts:
        if reader.next() is None:
            return False
    used_all = max_tokens is None or corpus.get("n_tokens", 0) < max_tokens
    return reader.digest == corpus.get("sha256") and not (used_all and reader.next() is not None)
