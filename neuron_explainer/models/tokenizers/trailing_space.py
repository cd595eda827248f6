"""A hint about prompts that end in a space."""

from neuron_explainer.errors import shown
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.models.chats.messages import Chat
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.notices import TrailingSpaceWarning, warn


def warn_of_trailing_space(tokenizer: ModelTokenizer, prompt: str | Chat, token_ids: list[int]) -> None:
    """Warn if a prompt ends in a token of spaces alone, and the tokenizer joins a space to the word after it.

    Models have rarely seen such an end in training, so what they predict after it says little.

    Args:
        tokenizer: the tokenizer.
        prompt: the text; how a chat ends is its template's affair.
        token_ids: its tokens.
    """
    if not isinstance(prompt, str) or isinstance(prompt, ChatText):
        return
    if not prompt.endswith(" ") or not token_ids or prompt.isspace():
        return
    (last,) = tokenizer.decode_token_list(token_ids[-1:])
    joins_spaces = " " not in tokenizer.decode_token_list(tokenizer.encode("a a", add_special_tokens=False))
    if last and not last.strip(" ") and joins_spaces:
        warn(
            f"The prompt {_end_of(prompt)} ends in a space, which is a token of its own here. In most texts the space "
            "belongs to the token of the next word. Leave it out, or give token ids if you mean it.",
            TrailingSpaceWarning,
        )


def _end_of(prompt: str) -> str:
    return shown(prompt if len(prompt) <= 40 else f"…{prompt[-40:]}")
