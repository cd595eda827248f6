"""How byte-level tokenizers split text before byte pairs are merged, by llama.cpp's names of the rules.

A GGUF file has the name alone (`tokenizer.ggml.pre`). The rules are those of the models' own `tokenizer.json`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizers.normalizers import Normalizer
from tokenizers.pre_tokenizers import PreTokenizer

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA_3 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN_2 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}"

# Newer rules part a word where small letters are followed by large ones.
_LARGE, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SLASHED_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _words_by_case(ending: str) -> str:
    before = r"[^\r\n\p{L}\p{N}]?"
    return f"{before}{_LARGE}*{_SMALL}+{ending}|{before}{_LARGE}+{_SMALL}*{ending}"


_TEKKEN = rf"{_words_by_case('')}|\p{{N}}|{_SLASHED_REST}"
_GPT_4O = rf"{_words_by_case(f'{_CONTRACTIONS}?')}|\p{{N}}{{1,3}}|{_SLASHED_REST}"


@dataclass(frozen=True)
class SplittingRule:
    """One rule.

    Attributes:
        steps: makes the steps by which text is split.
        composes: whether letters and their accents become one character first (Unicode's form NFC).
        takes_whole_words: whether a piece that is a token stays whole, whatever the merges make of it.
        begins_texts: whether the first token is put before texts if the file does not say.
    """

    steps: Callable[[], Sequence[PreTokenizer]]
    composes: bool = False
    takes_whole_words: bool = False
    begins_texts: bool = False

    def pre_tokenizer(self) -> PreTokenizer:
        """The steps as one."""
        return pre_tokenizers.Sequence(list(self.steps()))

    def normalizer(self) -> Normalizer | None:
        """What is done to text before it is split."""
        return normalizers.NFC() if self.composes else None


def _byte_level() -> PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _by_pattern(pattern: str) -> SplittingRule:
    return SplittingRule(
        lambda: [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_GPT_2 = SplittingRule(lambda: [_byte_level()])
_SINGLE_DIGITS = SplittingRule(lambda: [pre_tokenizers.Digits(individual_digits=True), _byte_level()])
_FALCON = SplittingRule(
    lambda: [
        pre_tokenizers.Punctuation("contiguous"),
        _byte_level(),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
    ]
)
_WHOLE_WORDS = replace(_by_pattern(_LLAMA_3), takes_whole_words=True)

SPLITTING_RULES: dict[str, SplittingRule] = {
    **dict.fromkeys(("gpt-2", "gpt2", "phi-2"), _GPT_2),
    **dict.fromkeys(("olmo", "mpt"), replace(_GPT_2, composes=True)),  # both are GPT-NeoX's and Pythia's too
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell", "exaone"), _SINGLE_DIGITS),
    "command-r": replace(_SINGLE_DIGITS, composes=True),
    "falcon": _FALCON,
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral"), replace(_WHOLE_WORDS, begins_texts=True)
    ),
    "smaug-bpe": _WHOLE_WORDS,  # SmolLM3's: Llama 3's without a first token
    **dict.fromkeys(("dbrx", "glm4", "chatglm-bpe"), _by_pattern(_LLAMA_3)),
    **dict.fromkeys(("qwen2", "stablelm2"), replace(_by_pattern(_QWEN_2), composes=True)),
    "deepseek-r1-qwen": _by_pattern(_QWEN_2),
    "tekken": replace(_by_pattern(_TEKKEN), takes_whole_words=True, begins_texts=True),
    **dict.fromkeys(("gpt-4o", "llama4"), _by_pattern(_GPT_4O)),
}
