"""Where chat templates come from, and that they stay with their model."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import neuron_explainer as ne
from helpers.chats import CHATML, INSTRUCTIONS, chat_tokenizer, said
from helpers.checkpoints import byte_level_tokenizer, save_folder, small_llama
from helpers.gguf_files import write_llama
from neuron_explainer.errors import ChatTemplateError, InvalidRequestError, MissingFileError

ASKED = said("Hi")
NAMED = [{"name": "default", "template": "d{{ bos_token }}"}, {"name": "tool_use", "template": "t{{ eos_token }}"}]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(small_llama(), tmp_path_factory.mktemp("chats") / "base")


def folder_with(base: Path, folder: Path, files: dict[str, Any]) -> Path:
    folder.mkdir()
    for file in base.iterdir():
        (folder / file.name).symlink_to(file)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


FILES: list[tuple[dict[str, Any], str, str]] = [
    ({"tokenizer_config.json": {"chat_template": "a{{ bos_token }}", "bos_token": "<b>"}}, "a<b>", "a<b>"),
    ({"tokenizer_config.json": {"chat_template": NAMED, "bos_token": {"content": "<b>"}}}, "d<b>", "t"),
    ({"chat_template.jinja": "j{{ eos_token }}", "tokenizer_config.json": {"eos_token": "<e>"}}, "j<e>", "j<e>"),
    ({"chat_template.jinja": "j", "tokenizer_config.json": {"chat_template": "a"}}, "j", "j"),
    ({"chat_template.jinja": "j", "additional_chat_templates/tool_use.jinja": "t"}, "j", "t"),
    ({"chat_template.json": {"chat_template": "p"}}, "p", "p"),
    ({"chat_template.jinja": "{{ bos_token }}", "special_tokens_map.json": {"bos_token": "<b>"}}, "<b>", "<b>"),
]


@pytest.mark.parametrize("number", range(len(FILES)))
def test_templates_in_a_folder(base: Path, tmp_path: Path, number: int) -> None:
    files, plain, with_tools = FILES[number]
    folder = folder_with(base, tmp_path / "model", files)
    model = ne.load_model(folder, device="cpu")
    given = ne.load_model(small_llama(), tokenizer=folder)
    for each in (model, given):
        assert each.chat_text(ASKED) == plain
        assert each.chat_text(ASKED, tools=[]) == with_tools


def test_a_template_stays_with_its_model(base: Path, tmp_path: Path) -> None:
    folder = folder_with(base, tmp_path / "model", FILES[1][0])
    for model in (ne.load_model(folder, device="cpu"), ne.load_model(small_llama(), tokenizer=folder)):
        for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert again.chat_text(ASKED) == "d<b>"


@pytest.mark.parametrize("saves_a_file", [True, False])
def test_what_transformers_saves_is_read(tmp_path: Path, saves_a_file: bool) -> None:
    tokenizer = chat_tokenizer(INSTRUCTIONS)
    small_llama().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path, save_jinja_files=saves_a_file)
    assert (tmp_path / "chat_template.jinja").exists() == saves_a_file
    again = AutoTokenizer.from_pretrained(tmp_path)
    chat = said("a", "b", "c")
    expected = again.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert ne.load_model(tmp_path, device="cpu").chat_tokens(chat) == expected


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"tokenizer_config.json": "{"}, "tokenizer_config.json is not JSON"),
        ({"tokenizer_config.json": {"chat_template": 5}}, "chat_template of tokenizer_config.json is 5"),
        ({"tokenizer_config.json": {"chat_template": [{"name": "a"}]}}, "It must be a text, or texts by name"),
        ({"chat_template.json": "[]"}, "chat_template.json is not a JSON object"),
    ],
)
def test_files_that_cannot_be_read_are_a_problem_of_chats_alone(
    base: Path, tmp_path: Path, files: dict[str, Any], problem: str
) -> None:
    model = ne.load_model(folder_with(base, tmp_path / "model", files), device="cpu")
    assert model.generate("Hi", max_new_tokens=1) is not None
    with pytest.raises(ChatTemplateError, match=f"The chat template of .*model cannot be read: .*{problem}"):
        model.chat_tokens(ASKED)


def test_bytes_that_are_no_text(base: Path, tmp_path: Path) -> None:
    folder = folder_with(base, tmp_path / "model", {})
    (folder / "chat_template.jinja").write_bytes(b"a\xff")
    with pytest.raises(ChatTemplateError, match=r"chat_template.jinja is not UTF-8 at byte 1"):
        ne.load_model(folder, device="cpu").chat_tokens(ASKED)


def test_the_template_of_a_gguf_file(tmp_path: Path) -> None:
    extra: dict[str, str | float | bool] = {
        "tokenizer.chat_template": "{{ eos_token }}{{ messages[0].content }}",
        "tokenizer.chat_template.tool_use": "tools",
    }
    model = ne.load_model(write_llama(tmp_path / "a.gguf", small_llama(), extra=extra), device="cpu")
    assert model.chat_text(ASKED) == "<|endoftext|>Hi"
    assert model.chat_text(ASKED, tools=[]) == "tools"
    assert model.chat_tokens(ASKED)[0] == model.encode_token_str("<|endoftext|>")
    without = ne.load_model(write_llama(tmp_path / "b.gguf", small_llama()), device="cpu")
    with pytest.raises(ChatTemplateError, match="b has no chat template"):
        without.chat_text(ASKED)


def test_a_template_that_is_given(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("mine{{ bos_token }}")
    folder = folder_with(base, tmp_path / "model", FILES[0][0])
    for template in ("mine{{ bos_token }}", file):
        model = ne.load_model(folder, device="cpu", chat_template=template)
        assert model.chat_text(ASKED) == "mine<b>"
        assert pickle.loads(pickle.dumps(model)).chat_text(ASKED) == "mine<b>"
    tokenizer = byte_level_tokenizer()
    assert ne.load_model(small_llama(), tokenizer=tokenizer, chat_template=CHATML).chat_text(ASKED)
    assert ne.load_model(small_llama(), tokenizer=chat_tokenizer(), chat_template=file).chat_text(ASKED) == "mine<s>"
    assert ne.load_model(folder, device="cpu").chat_text(ASKED) == "a<b>"
    for given, error, problem in (
        ("mine.jinja", InvalidRequestError, "'mine.jinja', which is not a template"),
        (tmp_path / "none.jinja", MissingFileError, "none.jinja"),
    ):
        with pytest.raises(error, match=problem):
            ne.load_model(folder, device="cpu", chat_template=given)
    with pytest.raises(InvalidRequestError, match="A chat template needs a tokenizer"):
        ne.load_model(small_llama(), chat_template=CHATML)


def test_a_tokenizer_in_memory_is_copied_with_its_template() -> None:
    tokenizer = chat_tokenizer("first")
    model = ne.load_model(small_llama(), tokenizer=tokenizer)
    tokenizer.chat_template = "second"
    assert model.chat_text(ASKED) == "first"
    tokenizer.chat_template = 5
    broken = ne.load_model(small_llama(), tokenizer=tokenizer)
    with pytest.raises(ChatTemplateError, match=r"cannot be read: chat_template of .* in memory is 5"):
        broken.chat_text(ASKED)
