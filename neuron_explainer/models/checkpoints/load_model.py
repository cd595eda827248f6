"""Loading a model: by name, from a folder, the hub, an address or a GGUF file, or from memory."""

import os
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import torch

from neuron_explainer.errors import InvalidRequestError, ModelCheckError, NotEnoughMemoryError, UnknownNameError, shown
from neuron_explainer.models.chats.finding_templates import given_template_text
from neuron_explainer.models.checkpoints.checkpoint_format import LoadOptions
from neuron_explainer.models.checkpoints.end_tokens import ENTRY, end_token_ids
from neuron_explainer.models.checkpoints.formats import open_checkpoint
from neuron_explainer.models.checkpoints.in_memory import config_entries, transformer_from_module
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype
from neuron_explainer.models.model_context import ModelContext, StandardModelContext
from neuron_explainer.models.model_registry import BUILT_IN_MODELS, find_registered_model, split_revision
from neuron_explainer.models.offload.choices import Offload
from neuron_explainer.models.offload.fitting import refuse_what_does_not_fit
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.storage.locations import expanded, is_url, without_secrets
from neuron_explainer.vocabulary.checks import checked_flag
from neuron_explainer.wording import as_valid_text


def load_model(
    source: Any,
    *,
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    tokenizer: Any = None,
    chat_template: str | PathLike[str] | None = None,
    config: Any = None,
    name: str | None = None,
    offload: Offload | None = None,
    check_memory: bool = True,
    pickled: bool = False,
    check: bool = False,
) -> StandardModelContext:
    """Load a model.

    Weights are read tensor by tensor, straight into the requested dtype and device: no more memory is needed than the
    model takes. Every weight is checked to be finite, which costs one pass over them. A model whose weights are larger
    than the memory that is free is refused before anything is read or downloaded.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> model.n_layers, model.n_neurons
    (4, 512)

    Args:
        source: one of
            - a name, in any case: "tiny" (comes with this library), "gpt2", "pythia-70m", "gemma-2-2b",
              "tiny-stories-33M" or another that TransformerLens or Neuronpedia uses (`known_models` lists them), or a
              name that `register_model` added;
            - the path of a folder in Hugging Face's layout (config.json, tokenizer.json, safetensors, sharded or not);
            - the path of a folder, or the address, of Transformer Debugger's pieces;
            - the path of a GGUF file, quantised or not, of one of these architectures: command-r, cohere2, falcon,
              gemma2, gemma3, glm4, gpt-oss, gpt2, gptneox, granite, llama (Mixtral too), mistral3, olmo2, olmoe, phi2,
              phi3, qwen2, qwen3, qwen3moe, smollm3, stablelm, starcoder2 (`docs/gguf.md`);
            - a model on the Hugging Face hub, "owner/name"; after it, or after a name, may stand "@" and a branch, tag
              or commit: "pythia-70m@step3000";
            - a source in a format that `register_checkpoint_format` added;
            - a `transformers` model in memory: its weights are shared, not copied, and nothing is downloaded. (Weights
              that `device` or `dtype` change, or that were made in inference mode, are copied.)
        device: where the weights go: a device, its name, or the number of a CUDA device. None means CUDA if available,
            else the CPU; for a model in memory, where it is.
        dtype: the weights' dtype, of torch or NumPy, or its name: "float32" (also for None), "bfloat16", "float16" or
            "float64", or a short one such as "bf16". For a model in memory None leaves it as it is.
        revision: a branch, tag or commit on the hub, if `source` does not say it after an "@".
        token: an access token for the hub.
        tokenizer: used instead of the one that comes with the model: a fast tokenizer of transformers, a
            `tokenizers.Tokenizer`, or the path of a tokenizer.json. Then no tokenizer is downloaded. A model in memory
            has none.
        chat_template: used instead of the one that comes with the model, to make a text of messages: the template's
            text, in jinja2's language, or the Path of its file.
        config: used instead of the model's config.json: a dict with its entries, or a transformers config; its
            `model_type` names the family.
        name: the model's name; if None, the name, address or hub id that was given, or the last part of a path.
        offload: "disk" leaves the weights in their files, for a model that does not fit into the memory: a pass reads
            one layer after the other, and a backward pass reads them again. Results are the same bit for bit; how much
            longer it takes depends on the disk. The files must stay as they are. None: weights are in memory.
        check_memory: False loads a model although it seems not to fit.
        pickled: read pickled weights (`pytorch_model.bin`) if a model has no others, as some older ones. PyTorch reads
            them with `weights_only=True`, which runs no code from them.
        check: check the model by itself before it is given (`ne.check(…, thorough=True)`, which takes as long as about
            250 short prompts); for a config that nobody has tried.

    Returns:
        The model with its name, tokenizer and device.

    Raises:
        UnknownNameError: no model has this name; the error lists the nearest names, and models in the hub's cache.
        CheckpointError: without a connection, the hub's cache does not have the model (the error lists what it has);
            or files or tensors are missing, unexpected, misshapen, cut off or not finite, or the format or
            the family is not supported; the error names the file and the tensor.
        NotEnoughMemoryError: the weights do not fit. The error has the bytes `needed` and `free`, and says what fits.
        TokenizerError: the tokenizer cannot be read, or does not belong to the model.
        InvalidRequestError: `source` is not a model, or is loaded already; it and `revision` name two revisions; or
            another argument is of a wrong type; or a model that is not in files on this machine is to be offloaded.
        DownloadError: a download failed.
        ModelCheckError: `check` is set, and a check failed; the error has the report.
    """
    is_checked = checked_flag("check", check)
    context = open_model(
        source,
        device=device,
        dtype=dtype,
        revision=revision,
        token=token,
        tokenizer=tokenizer,
        chat_template=chat_template,
        config=config,
        name=name,
        offload=offload,
        check_memory=check_memory,
        pickled=pickled,
    )
    context.get_or_create_model()
    if is_checked:
        from neuron_explainer.checking.check import check as check_model

        report = check_model(context, thorough=True)
        if not report.ok:
            raise ModelCheckError(report)
    return context


def open_model(
    source: Any,
    *,
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    tokenizer: Any = None,
    chat_template: str | PathLike[str] | None = None,
    config: Any = None,
    name: str | None = None,
    offload: Offload | None = None,
    check_memory: bool = True,
    pickled: bool = False,
) -> StandardModelContext:
    """As `load_model`, but weights are read when they are first needed."""
    if isinstance(source, ModelContext):
        raise InvalidRequestError(f"{source.model_name} is loaded already. Use it as it is, without load_model.")
    if isinstance(source, Transformer):
        raise InvalidRequestError("A Transformer is loaded already. StandardModelContext(name, transformer) takes it.")
    for option, value, kinds in (("name", name, str), ("revision", revision, str), ("token", token, str | bool)):
        if value is not None and not isinstance(value, kinds):
            raise InvalidRequestError(f"{option} is {shown(value)}. Give a text, or leave it out.")
    if offload is not None and offload not in get_args(Offload):
        raise UnknownNameError("offload", offload, get_args(Offload))
    check_memory, pickled = checked_flag("check_memory", check_memory), checked_flag("pickled", pickled)
    given_tokenizer = None if tokenizer is None else ModelTokenizer.of(tokenizer)
    template = None if chat_template is None else given_template_text(chat_template)
    if config is not None and not isinstance(config, Mapping):
        config = config_entries(config, f"config is {shown(config)}. Give")
    if isinstance(source, torch.nn.Module):
        if revision is not None or token is not None:
            raise InvalidRequestError("A model in memory has no revision and needs no token. Leave them out.")
        if template is not None and given_tokenizer is None:
            raise InvalidRequestError("A chat template needs a tokenizer. Pass `tokenizer=` too.")
        if offload is not None:
            raise InvalidRequestError(
                "A model in memory has no files that its weights could stay in. Leave offload out, or load the model "
                "from the folder that it was saved in."
            )
        hf_config, transformer = transformer_from_module(
            source, config, device=device, dtype=dtype, check_memory=check_memory
        )
        came_from = getattr(getattr(source, "config", None), "_name_or_path", "")
        model_name = name or (name_of_source(came_from) if came_from else type(source).__name__)
        generation_config = {ENTRY: getattr(getattr(source, "generation_config", None), ENTRY, None)}
        ends = end_token_ids(
            generation_config, hf_config, transformer.config.vocab_size, f"{type(source).__name__} in memory"
        )
        own_tokenizer = given_tokenizer and _with_template(given_tokenizer, template)
        return StandardModelContext(model_name, transformer, own_tokenizer, end_token_ids=ends)
    if not isinstance(source, str | PathLike):
        raise InvalidRequestError(
            f"An object of type {type(source).__name__} is not a model. Give a name, a path, an address, a hub id or a "
            "transformers model."
        )
    if isinstance(source, str):
        source, revision = split_revision(source, revision)
    checkpoint = open_checkpoint(
        source if isinstance(source, str) else Path(source), LoadOptions(config, revision, token, pickled)
    )
    model_device, model_dtype = as_device(device), as_dtype(dtype)
    model_name = name or name_of_source(source)

    def create() -> Transformer:
        how: dict[str, Any] = {"dtype": model_dtype, "device": model_device, "is_offloaded": offload is not None}
        if check_memory:
            try:
                refuse_what_does_not_fit(model_name, checkpoint.config, **how)
            except NotEnoughMemoryError:
                if checkpoint.is_here:  # a config of another model may ask for any size, and then that is what is wrong
                    checkpoint.check_tensors()
                raise
        return checkpoint.create_transformer(**how)

    return StandardModelContext(
        model_name,
        tokenizer=_with_template(given_tokenizer or checkpoint.read_tokenizer(), template),
        config=checkpoint.config,
        device=model_device,
        create=create,
        end_token_ids=end_token_ids(
            checkpoint.generation_config, checkpoint.hf_config, checkpoint.config.vocab_size, without_secrets(source)
        ),
        reopen=partial(  # without the token: an access token is not written into pickles
            open_model,
            _source_elsewhere(source),
            device=model_device,
            dtype=model_dtype,
            revision=revision,
            tokenizer=given_tokenizer,
            chat_template=template,
            config=None if config is None else dict(config),
            name=model_name,
            offload=offload,
            check_memory=check_memory,
            pickled=pickled,
        ),
    )


def _with_template(tokenizer: ModelTokenizer, template: str | None) -> ModelTokenizer:
    return tokenizer if template is None else tokenizer.with_chat_template(template)


def _source_elsewhere(source: str | PathLike[str]) -> str:
    """What stands for the same model in another process, which may have another folder and other registered names."""
    registered = find_registered_model(source) if isinstance(source, str) else None
    if registered in BUILT_IN_MODELS:
        return registered.name
    text = os.fspath(source) if registered is None else registered.source()
    path = expanded(text)
    return str(path.absolute()) if not is_url(text) and os.path.exists(path) else text


def name_of_source(source: str | PathLike[str]) -> str:
    """The name of a model whose caller gave none. For a path, its last part: names are shared, folders are private."""
    if isinstance(source, str):
        registered = find_registered_model(source)
        if registered is not None:
            return registered.name
        if is_url(source):
            return without_secrets(source)
    path = expanded(source)
    if not os.path.exists(path):
        return as_valid_text(str(source))
    return as_valid_text(path.resolve().stem if path.is_file() else path.resolve().name)
