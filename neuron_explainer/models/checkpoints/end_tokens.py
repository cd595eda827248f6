"""The tokens at which generation stops: those of the generation config, else those of the model's config."""

from collections.abc import Mapping, Sequence
from typing import Any

from neuron_explainer.errors import MalformedCheckpointError, shown
from neuron_explainer.vocabulary.checks import whole_number

ENTRY = "eos_token_id"
GENERATION_CONFIG_FILE_NAME = "generation_config.json"


def end_token_ids(
    generation_config: Mapping[str, Any], hf_config: Mapping[str, Any], vocab_size: int, file: object
) -> tuple[int, ...]:
    """The ids of the tokens that end a text.

    As in `transformers`, the generation config comes first: chat models name the end of a turn there.

    Args:
        generation_config: the entries of `generation_config.json`; empty if there is none.
        hf_config: the entries of `config.json`.
        vocab_size: ids outside of the vocabulary are left out, because no model generates them.
        file: where the entries were found, for errors.

    Raises:
        MalformedCheckpointError: the entry is neither a whole number nor a list of them.

    >>> end_token_ids({"eos_token_id": [2, 5]}, {"eos_token_id": 1}, 100, "model")
    (2, 5)
    """
    given = generation_config.get(ENTRY)
    if given is None:
        given = hf_config.get(ENTRY)
    if given is None:
        return ()
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    numbers = [whole_number(each) for each in several]
    if any(number is None for number in numbers):
        raise MalformedCheckpointError(
            f"{file}: {ENTRY} is {shown(given)}; it must be a token id or a list of token ids.", file=file
        )
    return tuple(dict.fromkeys(number for number in numbers if number is not None and 0 <= number < vocab_size))
