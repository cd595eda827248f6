"""Tokenizers that fail: errors and panics of the package are typed errors, and threads do not disturb each other."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from helpers.checkpoints import byte_level_tokenizer
from neuron_explainer.errors import InvalidRequestError, TokenizerError
from neuron_explainer.models.tokenizers import tokenizer as module
from neuron_explainer.models.tokenizers.backend_errors import backend_errors
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer

_NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**32, 10**30, 1.5, float("inf"), "", "x", "\u0000", [], {}, [[]], {"a": 1}, ["a", "b"],
)  # fmt: skip


def written(content: str | bytes, folder: Path) -> Path:
    file = folder / "tokenizer.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def mutated(value: Any, generator: random.Random) -> Any:
    """The value with one entry somewhere in it replaced by a nasty one."""
    if isinstance(value, dict) and value and generator.random() < 0.9:
        key = generator.choice(list(value))
        return {**value, key: mutated(value[key], generator)}
    if isinstance(value, list) and value and generator.random() < 0.7:
        place = generator.randrange(len(value))
        return [*value[:place], mutated(value[place], generator), *value[place + 1 :]]
    return generator.choice(_NASTY)


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    whole = json.loads(byte_level_tokenizer(270).to_str())
    whole["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    whole["padding"] = {
        "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "!",
    }  # fmt: skip
    whole["normalizer"] = {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}
    whole["post_processor"] = {
        "type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
        "special_tokens": {},
    }  # fmt: skip
    generator = random.Random(0)
    outcomes = set()
    for _ in range(600):
        file = written(json.dumps(mutated(whole, generator)), tmp_path)
        try:
            tokenizer = ModelTokenizer.from_file(file)
            tokenizer.decode(tokenizer.encode("The <|endoftext|> é\ufeff"))
            assert len(tokenizer.token_strings) == tokenizer.n_tokens
            outcomes.add("read")
        except TokenizerError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_deeply_nested_file_is_refused(depth: int, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="cannot be read as a tokenizer"):
        ModelTokenizer.from_file(written('{"decoder":' + "[" * depth + "]" * depth + "}", tmp_path))


def test_files_and_vocabularies_have_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = json.loads(byte_level_tokenizer(300).to_str())
    huge["model"]["vocab"]["a"] = 2**32 - 1
    with pytest.raises(TokenizerError, match=r"has the token id 4294967295\. The limit is"):
        ModelTokenizer.from_file(written(json.dumps(huge), tmp_path))
    huge["model"]["vocab"]["a"] = module.MOST_TOKENS - 1  # would take 350 MB for a file of 4 KB
    with pytest.raises(TokenizerError, match=r"has the token id 4194303, but 300 tokens in all"):
        ModelTokenizer.from_file(written(json.dumps(huge), tmp_path))
    huge["model"]["vocab"]["a"] = 100_000  # some vocabularies have gaps
    assert ModelTokenizer.from_file(written(json.dumps(huge), tmp_path)).n_tokens == 100_001
    monkeypatch.setattr(module, "MOST_TOKENIZER_BYTES", 100)
    with pytest.raises(TokenizerError, match="The limit for a tokenizer is 100"):
        ModelTokenizer.from_file(written(" " * 101, tmp_path))


@pytest.mark.parametrize("end", ["start", "stop"])
@pytest.mark.parametrize("n_characters", [1001, 2**31, 2**63 - 1])
def test_decoders_that_would_not_end_are_refused(end: str, n_characters: int, tmp_path: Path) -> None:
    whole = json.loads(byte_level_tokenizer(270).to_str())
    step = {"type": "Strip", "content": " ", "start": 1, "stop": 0, end: n_characters}
    whole["decoder"] = {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Sequence", "decoders": [step]}]}
    with pytest.raises(TokenizerError, match=rf"removes {n_characters} characters .* The limit is 1000"):
        ModelTokenizer.from_file(written(json.dumps(whole), tmp_path))
    step[end] = 1000
    tokenizer = ModelTokenizer.from_file(written(json.dumps(whole), tmp_path))
    assert tokenizer.decode(tokenizer.encode("The")) == "The"


def with_prefix(prefix: str) -> str:
    whole = json.loads(byte_level_tokenizer(270).to_str())
    whole["model"]["continuing_subword_prefix"] = prefix
    return json.dumps(whole)


def test_a_panic_is_a_typed_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TokenizerError, match="It fails: the tokenizers package panicked"), backend_errors("It fails"):
        Tokenizer.from_str(with_prefix("xx"))
    capfd.readouterr()  # the package writes about panics by itself


@pytest.mark.parametrize("prefix", ["x", "\0", "##", "é"])
def test_a_file_that_would_end_the_process_is_refused(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"its merge .* does not fit the prefix"):
        ModelTokenizer.from_file(written(with_prefix(prefix), tmp_path))


def test_an_interrupt_stays_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), backend_errors("It fails"):
        raise KeyboardInterrupt


def test_errors_while_encoding_are_typed() -> None:
    lacking = ModelTokenizer(Tokenizer(models.WordLevel({"a": 0}, unk_token="<unk>")))
    with pytest.raises(TokenizerError, match=r"cannot encode 'b': .*UNK"):
        lacking.encode("b")
    with pytest.raises(InvalidRequestError, match="at character 1: half of a surrogate pair"):
        lacking.encode("a\ud800")
    assert lacking.decode_token_list([2**40]) == lacking.decode([2**40]).splitlines()


def test_many_threads_use_one_tokenizer_while_its_original_changes() -> None:
    original = byte_level_tokenizer()
    ours = ModelTokenizer(original)
    text = "The capital of France is Paris. " * 20
    expected = ours.encode(text)

    def encodes(_: int) -> bool:
        return all(ours.encode(text) == expected and ours.decode(expected) == text for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        results = pool.map(encodes, range(8))
        for length in range(1, 200):
            original.enable_truncation(length)
            original.enable_padding(length=length)
        assert all(results)
    assert original.truncation is not None  # the original stays as its owner made it
