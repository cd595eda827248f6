"""The tokenizer of a GGUF file, built from its vocabulary, merges and scores."""

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE

from neuron_explainer.errors import TokenizerError, shown
from neuron_explainer.models.chats.finding_templates import template_in_gguf
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.models.tokenizers.backend_errors import backend_errors
from neuron_explainer.models.tokenizers.splitting_rules import SPLITTING_RULES, SplittingRule
from neuron_explainer.models.tokenizers.token_bytes import SPACE_MARK
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.notices import AssumedSettingWarning, warn

# llama.cpp's kinds of token
_LONGEST_TOKEN = 4096
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4

SUPPORTED_VOCABULARIES = ("gpt2", "llama")
_PRE_TOKENIZER = "tokenizer.ggml.pre"


def tokenizer_from_gguf(file: GgufFile) -> ModelTokenizer:
    """Build the tokenizer that a GGUF file describes.

    Two kinds of vocabulary are supported: "gpt2", byte-level BPE with its merges, and "llama", SentencePiece's BPE with
    a score for each piece.

    Raises:
        TokenizerError: the file has no vocabulary, a damaged one, or one of another kind; the error names the
            supported kinds.
    """
    with backend_errors(f"{file.path}: the tokenizer cannot be built"):
        return _tokenizer(file)


def _tokenizer(file: GgufFile) -> ModelTokenizer:
    kind = file.metadata.get("tokenizer.ggml.model")
    if kind not in SUPPORTED_VOCABULARIES:
        raise TokenizerError(
            f"{file.path}: the tokenizer is of kind {shown(kind)}; {', '.join(map(repr, SUPPORTED_VOCABULARIES))} are "
            "supported. Pass `tokenizer=` the path of the model's tokenizer.json."
        )
    tokens = _entry(file, "tokenizer.ggml.tokens", list)
    if any(not isinstance(token, str) or len(token) > _LONGEST_TOKEN for token in tokens):
        raise TokenizerError(f"{file.path}: the vocabulary must be texts of at most {_LONGEST_TOKEN} characters.")
    if len(set(tokens)) != len(tokens):
        raise TokenizerError(f"{file.path}: the vocabulary has the same token twice.")
    if kind == "gpt2":
        tokenizer, begins_texts = _byte_level_bpe(file, tokens)
    else:
        tokenizer, begins_texts = _sentencepiece_bpe(file, tokens), True
    _add_special_tokens(tokenizer, file, tokens)
    _add_sentence_marks(tokenizer, file, tokens, first_token_by_default=begins_texts)
    return ModelTokenizer(tokenizer, origin=str(file.path), chat_template=template_in_gguf(file, tokens))


def _byte_level_bpe(file: GgufFile, tokens: list[str]) -> tuple[Tokenizer, bool]:
    """The tokenizer, and whether it puts the first token before texts if the file does not say."""
    # A merge is stored as its two parts with a space between; a part may itself begin with a space.
    id_by_token = {token: token_id for token_id, token in enumerate(tokens)}
    merges = []
    for merge in _entry(file, "tokenizer.ggml.merges", list):
        cut = merge.find(" ", 1)
        left, right = merge[:cut], merge[cut + 1 :]
        if cut < 0 or not {left, right, left + right} <= id_by_token.keys():
            raise TokenizerError(f"{file.path}: the vocabulary lacks a part or the result of the merge {merge!r}.")
        merges.append((left, right))
    rule = _splitting_rule(file)
    tokenizer = Tokenizer(BPE(vocab=id_by_token, merges=merges, ignore_merges=rule.takes_whole_words))
    normalizer = rule.normalizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = rule.pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, rule.begins_texts


def _splitting_rule(file: GgufFile) -> SplittingRule:
    name = file.metadata.get(_PRE_TOKENIZER, "default")
    if name == "default":  # so do converters write that they do not know it
        warn(
            f"{file.path} does not say how its tokenizer splits text (no {_PRE_TOKENIZER}). GPT-2's rule is assumed; "
            "tokenizer= the path of the model's tokenizer.json gives another.",
            AssumedSettingWarning,
        )
        return SPLITTING_RULES["gpt-2"]
    if not isinstance(name, str) or name not in SPLITTING_RULES:
        raise TokenizerError(
            f"{file.path}: the tokenizer splits text by the rule {shown(name)}; the rules {', '.join(SPLITTING_RULES)} "
            "are supported. Pass `tokenizer=` the path of the model's tokenizer.json."
        )
    return SPLITTING_RULES[name]


def _sentencepiece_bpe(file: GgufFile, tokens: list[str]) -> Tokenizer:
    id_by_token = {token: token_id for token_id, token in enumerate(tokens)}
    scores = _entry(file, "tokenizer.ggml.scores", list)
    unknown = file.metadata.get("tokenizer.ggml.unknown_token_id", 0)
    if len(scores) != len(tokens) or not 0 <= unknown < len(tokens):
        raise TokenizerError(
            f"{file.path}: {len(scores)} scores and the unknown token {unknown} do not fit {len(tokens)} tokens."
        )
    tokenizer = Tokenizer(
        BPE(
            vocab=id_by_token,
            merges=merges_from_scores(tokens, scores),
            unk_token=tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    adds_space = file.metadata.get("tokenizer.ggml.add_space_prefix", True)
    steps: list[normalizers.Normalizer] = [normalizers.Prepend(SPACE_MARK)] if adds_space else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE_MARK)])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE_MARK, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if adds_space else []),
        ]
    )
    return tokenizer


def merges_from_scores(tokens: Sequence[str], scores: Sequence[float]) -> list[tuple[str, str]]:
    """The merges of a SentencePiece BPE vocabulary, in the order in which they are applied.

    SentencePiece joins the two neighbours whose joined piece has the highest score. So every way to split a piece into
    two pieces is a merge, and merges are ordered by the scores of their results.
    """
    known = dict(zip(tokens, scores, strict=True))
    id_by_token = {token: token_id for token_id, token in enumerate(tokens)}
    merges = [
        (-score, id_by_token[token[:cut]], id_by_token[token[cut:]], token[:cut], token[cut:])
        for token, score in known.items()
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    ]
    return [(left, right) for *_, left, right in sorted(merges)]


def _add_special_tokens(tokenizer: Tokenizer, file: GgufFile, tokens: list[str]) -> None:
    """Let control tokens be recognised in text by their names."""
    types = file.metadata.get("tokenizer.ggml.token_type", [])
    special = {_UNKNOWN, _CONTROL}
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, types, strict=False)
            if kind in special
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken(token, special=False, normalized=False)
            for token, kind in zip(tokens, types, strict=False)
            if kind == _USER_DEFINED
        ]
    )


def _add_sentence_marks(
    tokenizer: Tokenizer, file: GgufFile, tokens: list[str], *, first_token_by_default: bool
) -> None:
    """Put the beginning-of-sequence and end-of-sequence tokens around texts if the file says so."""
    before = _mark(file, tokens, "bos", default=first_token_by_default)
    after = _mark(file, tokens, "eos", default=False)
    marks = [mark for mark in (before, after) if mark is not None]
    if marks:
        template = " ".join([*([before[0]] if before else []), "$A", *([after[0]] if after else [])])
        tokenizer.post_processor = processors.Sequence(
            [
                *([tokenizer.post_processor] if tokenizer.post_processor is not None else []),
                processors.TemplateProcessing(single=template, special_tokens=marks),
            ]
        )


def _mark(file: GgufFile, tokens: list[str], name: str, *, default: bool) -> tuple[str, int] | None:
    token_id = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
    if not file.metadata.get(f"tokenizer.ggml.add_{name}_token", default) or token_id is None:
        return None
    if not 0 <= token_id < len(tokens):
        raise TokenizerError(f"{file.path}: the {name} token is {token_id}, but there are only {len(tokens)} tokens.")
    return tokens[token_id], token_id


def _entry(file: GgufFile, key: str, kind: type) -> Any:
    value = file.metadata.get(key)
    if not isinstance(value, kind):
        raise TokenizerError(
            f"{file.path} has no {key}, so its tokenizer cannot be built. Pass `tokenizer=` the path of the model's "
            "tokenizer.json."
        )
    return value
