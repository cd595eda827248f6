"""Prompts as token ids, checked against the model and the request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.errors import PromptError, shown
from neuron_explainer.models.beginning import encoded, refuse_for_token_ids
from neuron_explainer.models.chats.messages import Chat, is_text_or_chat
from neuron_explainer.models.layers.token_checks import as_token_ids, only_prompt
from neuron_explainer.models.model_context import ModelContext, StandardModelContext
from neuron_explainer.models.tokenizers.trailing_space import warn_of_trailing_space
from neuron_explainer.vocabulary.checks import checked_token_id
from neuron_explainer.vocabulary.dimensions import Dimension


@dataclass(frozen=True)
class Prompt:
    """A prompt's tokens, as ids and as text; the first `n_beginning` are not of the text that was given."""

    token_ids: list[int]
    token_strings: list[str]
    n_beginning: int


def read_prompt(
    model_context: ModelContext,
    prompt: str | Chat | Sequence[int] | Tensor,
    prepend_bos: bool | None = None,
    *,
    warns: bool = True,
) -> Prompt:
    """The tokens of a text, of messages or of token ids, which may be a batch of one prompt, as `to_tokens` gives it.

    Args:
        model_context: the model.
        prompt: a text, a list of messages, or token ids.
        prepend_bos: for a text, whether the beginning-of-sequence token comes first; None: as the tokenizer does.
        warns: whether there is a warning of a text that ends in a space.

    Raises:
        InvalidRequestError: `prepend_bos` is given with messages or token ids, or cannot be followed.
        PromptError: the prompt has no tokens, too many, or some that the model does not have; or messages are
            malformed.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.
    """
    if is_text_or_chat(prompt):
        token_ids, n_beginning = encoded(model_context, prompt, prepend_bos)
        if warns:
            warn_of_trailing_space(model_context.tokenizer, prompt, token_ids)
    else:
        n_beginning = 0
        refuse_for_token_ids(prepend_bos)
        only = only_prompt(prompt, "use derive_batch")
        token_ids = as_token_ids(only, "a text or a flat sequence of token ids")
    given = f"The prompt {shown(prompt)}" if isinstance(prompt, str) else "The prompt"
    if not token_ids:
        raise PromptError(f"{given} has no tokens. Give at least one.")
    longest = model_context.max_context_length
    if len(token_ids) > longest:
        raise PromptError(f"{given} has {len(token_ids)} tokens; {model_context.model_name} reads at most {longest}.")
    for token_id in token_ids:
        checked_token_id(token_id, model_context.vocab_size, model_context.model_name, PromptError)
    return Prompt(token_ids, token_strings_of(model_context, token_ids), n_beginning)


def token_strings_of(model_context: ModelContext, token_ids: Sequence[int]) -> list[str]:
    """The tokens' texts; of a model without a tokenizer, the numbers in brackets."""
    has_tokenizer = not isinstance(model_context, StandardModelContext) or model_context.has_tokenizer
    return model_context.decode_token_list(token_ids) if has_tokenizer else [f"<{number}>" for number in token_ids]


def token_id_of(model_context: ModelContext, token: str | int) -> int:
    """The id of a token that is given as text, or as id.

    Raises:
        NotOneTokenError: the text is not exactly one token.
        InvalidRequestError: the model has no token with that id.
    """
    if isinstance(token, str):
        return model_context.encode_token_str(token)
    return checked_token_id(token, model_context.vocab_size, model_context.model_name)


def check_token_positions(bound_configs: Iterable[BoundConfig], lengths: Sequence[int]) -> None:
    """Refuse token positions that a prompt does not have, and values for another number of tokens.

    Args:
        bound_configs: the configurations.
        lengths: how many tokens each prompt has.

    Raises:
        IndexOutOfRangeError: the position of a trace, node or ablation is out of range.
        InvalidRequestError: values that overwrite something are for another number of tokens.
    """
    shortest = min(lengths)
    sizes = {Dimension.SEQUENCE_TOKENS: shortest, Dimension.ATTENDED_TO_SEQUENCE_TOKENS: shortest}
    for bound in bound_configs:
        n_layers = bound.model.config.n_layers
        for index in (bound.config.trace_config, bound.config.node_index_for_attribution):
            if index is not None:
                index.check_against(n_layers, sizes)
        for ablation in bound.ablations:
            ablation.check_prompts(lengths, n_layers)
