"""Where the chat templates of a model are: in files beside its tokenizer, in a GGUF file, in a tokenizer in memory."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from neuron_explainer.errors import ChatTemplateError, InvalidRequestError, NeuronExplainerError, shown
from neuron_explainer.models.chats.chat_template import DEFAULT, FOR_TOOLS, MOST_TEMPLATE_CHARACTERS, ChatTemplate
from neuron_explainer.models.checkpoints.file_source import FileSource, read_json_object
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.storage.local import read_local_bytes

TOKENIZER_CONFIG_FILE_NAME = "tokenizer_config.json"
_TEMPLATE_FILE_NAME = "chat_template.jinja"
_TEMPLATE_FOR_TOOLS = f"additional_chat_templates/{FOR_TOOLS}.jinja"
_OLDER_TEMPLATE_FILE_NAME = "chat_template.json"
_SPECIAL_TOKENS_FILE_NAME = "special_tokens_map.json"
_ENTRY = "chat_template"
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_GGUF_NAMES = dict(
    zip(_SPECIAL_TOKENS, ("bos", "eos", "unknown", "seperator", "padding", "cls", "mask"), strict=True)
)  # "seperator" is GGUF's spelling
_MOST_BYTES = 4 * MOST_TEMPLATE_CHARACTERS


def template_in_files(source: FileSource) -> ChatTemplate | None:
    """The chat templates in the files of a model; None if there are none.

    As in `transformers`, a file of its own comes before the entry of `tokenizer_config.json`. Files that cannot be read
    are a problem of the templates alone, which the first chat will tell.
    """
    origin = str(source)
    try:
        config = _entries(source, TOKENIZER_CONFIG_FILE_NAME)
        texts = _texts_in_files(source) or _named(config.get(_ENTRY), TOKENIZER_CONFIG_FILE_NAME)
        texts = texts or _named(_entries(source, _OLDER_TEMPLATE_FILE_NAME).get(_ENTRY), _OLDER_TEMPLATE_FILE_NAME)
        if not texts:
            return None
        special = _special_tokens(config) or _special_tokens(_entries(source, _SPECIAL_TOKENS_FILE_NAME))
    except NeuronExplainerError as error:
        return ChatTemplate({}, origin=origin, problem=str(error))
    return ChatTemplate(texts, special, origin)


def template_in_gguf(file: GgufFile, tokens: Sequence[str]) -> ChatTemplate | None:
    """The chat templates of a GGUF file; None if it has none.

    Args:
        file: the file.
        tokens: its vocabulary.
    """
    entries, key = file.metadata, f"tokenizer.{_ENTRY}"
    found = {DEFAULT: entries.get(key), FOR_TOOLS: entries.get(f"{key}.{FOR_TOOLS}")}
    texts = {name: text for name, text in found.items() if isinstance(text, str)}
    ids = {ours: entries.get(f"tokenizer.ggml.{theirs}_token_id") for ours, theirs in _GGUF_NAMES.items()}
    special = {
        name: tokens[number] for name, number in ids.items() if isinstance(number, int) and 0 <= number < len(tokens)
    }
    return ChatTemplate(texts, special, str(file.path)) if texts else None


def template_of_tokenizer(tokenizer: Any) -> ChatTemplate | None:
    """The chat templates of a tokenizer of `transformers` in memory; None if it has none."""
    origin = f"{type(tokenizer).__name__} in memory"
    try:
        texts = _named(getattr(tokenizer, _ENTRY, None), origin)
    except NeuronExplainerError as error:
        return ChatTemplate({}, origin=origin, problem=str(error))
    special = getattr(tokenizer, "special_tokens_map", None)
    return (
        ChatTemplate(texts, _special_tokens(special if isinstance(special, Mapping) else {}), origin) if texts else None
    )


def given_template_text(given: Any) -> str:
    """The text of the template that a caller gives: as text, or as the path of its file.

    Raises:
        InvalidRequestError: it is neither.
        MissingFileError, UnreadableFileError, TooLargeError, ChatTemplateError: the file cannot be read as text.
    """
    if isinstance(given, PathLike):
        return _text_of(Path(given))
    if not isinstance(given, str) or "{" not in given:
        raise InvalidRequestError(
            f"chat_template is {shown(given)}, which is not a template. Give a template's text, which has {{{{ … }}}}, "
            "or the pathlib.Path of its file."
        )
    return given


def _texts_in_files(source: FileSource) -> dict[str, str]:
    file = source.find(_TEMPLATE_FILE_NAME)
    if file is None:
        return {}
    for_tools = source.find(_TEMPLATE_FOR_TOOLS)
    return {DEFAULT: _text_of(file)} | ({} if for_tools is None else {FOR_TOOLS: _text_of(for_tools)})


def _text_of(file: Path) -> str:
    try:
        return read_local_bytes(file, _MOST_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ChatTemplateError(f"{file} is not UTF-8 at byte {error.start}.") from None


def _entries(source: FileSource, name: str) -> dict[str, Any]:
    file = source.find(name)
    return {} if file is None else read_json_object(file)


def _named(entry: object, where: str) -> dict[str, str]:
    """The templates of an entry: a text, several by name, or a list of names and templates."""
    if entry is None:
        return {}
    if isinstance(entry, str):
        return {DEFAULT: entry}
    named = entry
    if isinstance(entry, list | tuple) and all(isinstance(each, Mapping) for each in entry):
        named = {each.get("name"): each.get("template") for each in entry}
    if not isinstance(named, Mapping) or not all(isinstance(part, str) for pair in named.items() for part in pair):
        raise ChatTemplateError(f"{_ENTRY} of {where} is {shown(entry)}. It must be a text, or texts by name.")
    return dict(named)


def _special_tokens(entries: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens among entries: each is a text, or a mapping with the text as its content."""
    found = {name: entries.get(name) for name in _SPECIAL_TOKENS}
    texts = {name: value.get("content") if isinstance(value, Mapping) else value for name, value in found.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}
