"""The texts and tokens of chats are those of `transformers`, exactly."""

from typing import Any

import pytest

import neuron_explainer as ne
from helpers.chats import CHATML, TEMPLATES, WITH_PARTS, WITH_TOOLS, chat_model, chat_tokenizer, said
from neuron_explainer.errors import ChatTemplateError, MisconfiguredError, PromptError

CHATS = {
    "one message": said("Hello"),
    "three messages": said("Hi there", "Hello.", "  Who are you?\n"),
    "an answer last": said("Count to three", "One, two,"),
    "a space at the end": said("Count", "One, "),
    "a system": said("The capital of Japan?", "Tokyo (東京).", "Thanks 🙂", system=" Be kind. "),
    "names of special tokens": said("a<|im_end|>\n<|im_start|>system\nb</s><s>"),
    "lines and quotes": said("\"a\"\n\n'b'  <c>&amp;\t{{ x }}{% y %}"),
}


def expected(tokenizer: Any, chat: list[dict[str, Any]], **options: Any) -> tuple[str, list[int]] | str:
    """The text and tokens of `transformers`, or what it raises."""
    continues = chat[-1]["role"] == "assistant"
    options = {"add_generation_prompt": not continues, "continue_final_message": continues} | options
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, **options)
    except Exception as error:
        return str(error)
    return text, list(tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False, **options))


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_writes_what_transformers_writes(name: str) -> None:
    tokenizer, model = chat_tokenizer(TEMPLATES[name]), chat_model(TEMPLATES[name])
    n_written = 0
    for chat in CHATS.values():
        for options in ({}, {"add_generation_prompt": False, "continue_final_message": False}):
            theirs = expected(tokenizer, chat, **options)
            if isinstance(theirs, str):
                with pytest.raises(ChatTemplateError):
                    model.chat_tokens(chat, **options)
                continue
            ours = model.chat_tokens(chat, **options)
            assert (ours.text, ours) == theirs
            assert model.chat_text(chat, **options) == theirs[0]
            assert model.decode(ours) == theirs[0]
            n_written += 1
    assert n_written >= 8
    model.free()


def test_tools_variables_and_calls() -> None:
    tokenizer, model = chat_tokenizer(WITH_TOOLS), chat_model(WITH_TOOLS)
    tool = {
        "type": "function",
        "function": {"name": "weather", "description": "é <b>", "parameters": {"type": "object"}},
    }
    called = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"at": "Paris", "n": 1.5}}}
    chat = [
        *said("Is it raining?"),
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "name": "weather", "content": "yes"},
    ]
    for options in ({}, {"tools": [tool]}, {"tools": [tool], "enable_thinking": False}, {"enable_thinking": True}):
        theirs = expected(tokenizer, chat, **options)
        ours = model.chat_tokens(chat, **options)
        assert (ours.text, ours) == theirs
    with pytest.raises(PromptError, match=r"tools holds an object of type function.*get_json_schema"):
        model.chat_tokens(chat, tools=[expected])


def test_thoughts_by_any_name() -> None:
    template = "{% for message in messages %}{{ message.reasoning_content }}/{{ message.thinking }}/{% endfor %}"
    tokenizer, model = chat_tokenizer(template), chat_model(template)
    both = {"reasoning_content": "c", "thinking": "t"}
    for given in ({"reasoning": "r"}, {"thinking": "t"}, both, {"thinking": None}):
        chat = [{"role": "assistant", "content": "a", **given}]
        ours = model.chat_tokens(chat, add_generation_prompt=False)
        assert (ours.text, ours) == expected(tokenizer, chat, continue_final_message=False)


def test_a_template_for_tools_is_taken_where_there_are_tools() -> None:
    named = {"default": "plain{{ messages[0].content }}", "tool_use": "tools{{ messages[0].content }}"}
    model = chat_model([{"name": name, "template": text} for name, text in named.items()])
    assert model.chat_text(said("a")) == "plaina"
    assert model.chat_text(said("a"), tools=[]) == "toolsa"
    with pytest.raises(ChatTemplateError, match="has the chat templates 'other', and none is named 'default'"):
        chat_model({"other": "{{ 1 }}"}).chat_text(said("a"))


def test_smollm2_writes_chatml(smollm2: ne.StandardModelContext) -> None:
    start, end, line = smollm2.encode("<|im_start|>"), smollm2.encode("<|im_end|>"), smollm2.encode("\n")
    assert [len(each) for each in (start, end, line)] == [1, 1, 1]

    def turn(role: str, content: str) -> list[int]:
        return start + smollm2.encode(role) + line + smollm2.encode(content) + end + line

    opened = start + smollm2.encode("assistant") + line
    chat = said("What is 2 + 2?", "4", "And 3 + 3?", system="Be brief.")
    turns = [token_id for message in chat for token_id in turn(message["role"], message["content"])]
    assert smollm2.chat_tokens(chat) == turns + opened
    own = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert smollm2.chat_tokens(said("Hi")) == turn("system", own) + turn("user", "Hi") + opened
    assert smollm2.chat_tokens(said("Hi", "Hel")) == turn("system", own) + turn("user", "Hi") + opened + smollm2.encode(
        "Hel"
    )


@pytest.mark.parametrize("template", [WITH_PARTS, CHATML])
def test_parts_of_text_are_taken_whether_or_not_the_template_reads_them(template: str) -> None:
    model = chat_model(template)
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    joined = "Hello" if template is WITH_PARTS else "Hel\nlo"  # a template that knows no parts: one a line
    assert model.chat_text([{"role": "user", "content": parts}]) == model.chat_text(said(joined))
    answer = [*said("Hi"), {"role": "assistant", "content": parts}]
    assert model.chat_text(answer) == model.chat_text(said("Hi", joined))
    if template is WITH_PARTS:
        assert expected(chat_tokenizer(template), answer) == (model.chat_text(answer), model.chat_tokens(answer))


def test_how_a_chat_ends() -> None:
    model = chat_model()
    asked, answered = said("Hi"), said("Hi", "Hello")
    assert model.chat_text(asked).endswith("Hi<|im_end|>\n<|im_start|>assistant\n")
    assert model.chat_text(asked, add_generation_prompt=False).endswith("Hi<|im_end|>\n")
    assert model.chat_text(asked, continue_final_message=True).endswith("<|im_start|>user\nHi")
    assert model.chat_text(answered).endswith("<|im_start|>assistant\nHello")
    assert model.chat_text(answered, continue_final_message=False).endswith("Hello<|im_end|>\n")
    assert model.chat_text(answered, add_generation_prompt=True).endswith("Hello<|im_end|>\n<|im_start|>assistant\n")
    with pytest.raises(MisconfiguredError, match="Choose one of them"):
        model.chat_text(asked, add_generation_prompt=True, continue_final_message=True)
    cut = chat_model("{{ messages[-1].content[:3] }}")
    with pytest.raises(ChatTemplateError, match="does not write the last message as it is, so it cannot be continued"):
        cut.chat_text(answered)
    assert cut.chat_text(answered, continue_final_message=False) == "Hel"
