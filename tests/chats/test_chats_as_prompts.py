"""Wherever a prompt is taken, a list of messages is too: the same tokens, and no special token twice."""

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.chats import CHATML, INSTRUCTIONS, chat_model, said
from neuron_explainer.errors import BadDocumentError, ChatTemplateError, InvalidRequestError, PromptError
from neuron_explainer.models import ChatText, ChatTokens

ASKED, ANSWERED = said("Hi"), said("Hi", "Hello", "Bye. ")


@pytest.fixture(scope="module")
def begun() -> ne.StandardModelContext:
    """Its tokenizer puts <s> before a text, and its template writes <s> too."""
    return chat_model(INSTRUCTIONS)


@pytest.fixture(scope="module")
def bare() -> ne.StandardModelContext:
    """Its tokenizer puts <s> before a text, and its template writes none."""
    return chat_model(CHATML)


@pytest.fixture(params=["begun", "bare"])
def model(request: pytest.FixtureRequest) -> ne.StandardModelContext:
    found: ne.StandardModelContext = request.getfixturevalue(request.param)
    return found


def test_the_beginning_is_the_templates(begun: ne.StandardModelContext, bare: ne.StandardModelContext) -> None:
    beginning = begun.encode_token_str("<s>")
    assert begun.chat_tokens(ANSWERED).count(beginning) == 1
    assert begun.chat_tokens(ANSWERED)[0] == beginning
    assert bare.chat_tokens(ANSWERED).count(beginning) == 0
    assert [ne.derive(ASKED, "mlp_post_act", each).n_beginning for each in (begun, bare)] == [1, 0]


def test_every_way_to_ask_runs_over_the_same_tokens(model: ne.StandardModelContext) -> None:
    tokens = model.chat_tokens(ANSWERED)
    assert model.encode(ANSWERED) == model.encode(model.chat_text(ANSWERED)) == tokens
    assert model.to_tokens(ANSWERED).tolist() == [tokens]
    expected = ne.derive(list(tokens), "mlp_post_act", model)
    for prompt in (ANSWERED, tuple(ANSWERED), tokens, model.chat_text(ANSWERED), torch.tensor(tokens)):
        store = ne.derive(prompt, "mlp_post_act", model)
        assert store.token_ids == tokens
        assert torch.equal(store.activations("mlp_post_act")[1], expected.activations("mlp_post_act")[1])
    stores = ne.derive_batch([ASKED, ANSWERED, "a text", [5, 17]], "mlp_post_act", model)
    assert [store.token_ids for store in stores] == [
        model.chat_tokens(ASKED), tokens, model.encode("a text"), [5, 17]
    ]  # fmt: skip
    answer = model.generate(list(tokens), max_new_tokens=4)
    assert model.generate(ANSWERED, max_new_tokens=4) == "".join(model.stream(ANSWERED, max_new_tokens=4)) == answer
    both: list[Any] = [ANSWERED, "a text"]
    assert model.generate(both, max_new_tokens=4) == [answer, model.generate("a text", max_new_tokens=4)]


def test_a_chat_that_ends_in_a_space_is_not_pointed_out(model: ne.StandardModelContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.generate(said("a", "b "), max_new_tokens=1)
        model.generate(model.chat_text(said("a", "b ")), max_new_tokens=1)


def test_records_of_chats_are_over_the_same_tokens(model: ne.StandardModelContext) -> None:
    layer, neuron = 1, 5
    cases: list[tuple[Any, int]] = [(ANSWERED, 1), ([ANSWERED], 1), ([ANSWERED, "a text", ASKED], 3)]
    for texts, n_examples in cases:
        record = ne.live_record(model, layer, neuron, texts)
        examples = record.most_positive_activation_records
        assert len(examples) == n_examples
        store = ne.derive(ANSWERED, "mlp_post_act", model)
        assert examples[0].tokens == store.tokens
        of_neuron = store.activations("mlp_post_act")[layer][:, neuron].tolist()
        assert examples[0].activations == pytest.approx(of_neuron, rel=1e-4, abs=1e-6)
    assert [len(example.tokens) for example in examples[1:]] == [
        len(model.encode("a text")), len(model.chat_tokens(ASKED))
    ]  # fmt: skip


def test_a_long_chat_is_cut_as_a_text_is(begun: ne.StandardModelContext, bare: ne.StandardModelContext) -> None:
    chat = said("word " * 30)
    for model, begins in ((begun, True), (bare, False)):
        examples = ne.live_record(model, 0, 0, [chat], context_length=16).most_positive_activation_records
        assert len(examples) > 2
        for example in examples:
            assert (example.tokens[0] == "<s>", example.tokens.count("<s>")) == (begins, int(begins))
        together = [token for example in examples for token in example.tokens[int(begins) :]]
        assert together == model.chat_tokens(chat).token_strings[int(begins) :]


def test_a_corpus_of_chats(begun: ne.StandardModelContext, tmp_path: Path) -> None:
    lines = tmp_path / "chats.jsonl"
    lines.write_text("".join(json.dumps({"messages": chat, "n": 1}) + "\n" for chat in (ASKED, ANSWERED)))
    records = [{"messages": ASKED}, {"messages": ANSWERED}]
    folders = []
    chats = [ASKED, ANSWERED]
    given: list[tuple[Any, str]] = [(chats, "text"), (lines, "messages"), (records, "messages"), (iter(chats), "text")]
    for number, (texts, field) in enumerate(given):
        out = tmp_path / f"made{number}"
        folders.append(ne.collate(begun, texts, out, text_field=field, layers=0, context_length=64, progress=False))
    written = [ne.load_neuron(folder, 0, 3).most_positive_activation_records for folder in folders]
    assert all(each == written[0] for each in written)
    assert {"".join(example.tokens) for example in written[0]} == {begun.chat_text(ASKED), begun.chat_text(ANSWERED)}
    assert ne.verify(folders[0], 5, model=begun).largest_difference < 1e-2


def test_what_is_wrong_in_a_corpus_is_named(begun: ne.StandardModelContext) -> None:
    with pytest.raises(BadDocumentError, match=r"^text 1: Message 0 has no content"):
        ne.live_record(begun, 0, 0, [ASKED, [{"role": "user"}]])
    with pytest.raises(ChatTemplateError, match=r"^text 1: The chat template of .* Only user and assistant roles"):
        ne.live_record(begun, 0, 0, [ASKED, [{"role": "system", "content": "a"}]])


def test_a_viewer_shows_a_chat(model: ne.StandardModelContext) -> None:
    both: list[Any] = [ASKED, "a text"]
    for texts in (ASKED, both):
        viewer = ne.NeuronViewer(model, 1, 5, texts=texts)
        assert viewer.record is not None
        assert viewer.record.most_positive_activation_records[0].tokens == model.chat_tokens(ASKED).token_strings
        assert ("which was put before it" in viewer.to_html()) == (texts is not ASKED)
    with pytest.raises(InvalidRequestError, match="Give a text or several, or lists of messages"):
        ne.NeuronViewer(model, texts=[5])  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="Message 0 has no content"):
        ne.NeuronViewer(model, texts=[{"role": "user"}])


def test_a_chat_that_looks_like_a_path_is_a_chat() -> None:
    model = chat_model("{{ messages[0].content }}")
    record = ne.live_record(model, 0, 0, said("no/such/corpus.txt"))
    assert "".join(record.most_positive_activation_records[0].tokens) == "no/such/corpus.txt"


def test_a_text_that_begins_with_the_token_itself_has_it_once(begun: ne.StandardModelContext) -> None:
    text = str(begun.chat_text(ASKED))
    tokens = begun.chat_tokens(ASKED)
    assert type(text) is str
    assert begun.to_tokens(text).tolist() == begun.to_tokens(text, prepend_bos=True).tolist() == [tokens]
    assert begun.to_tokens(text, prepend_bos=False).tolist() == [tokens]
    store = ne.derive(text, "mlp_post_act", begun)
    assert (store.token_ids, store.n_beginning) == (tokens, 1)
    (example,) = ne.live_record(begun, 0, 0, text).most_positive_activation_records
    assert example.tokens == store.tokens


DEEP: list[Any] = []
DEEP.append(DEEP)
WRONG = [
    ([{"content": "a"}], r"Message 0 has no role, only \['content'\]"),
    ([{"role": 5, "content": "a"}], "Message 0 has the role 5"),
    ([{"role": "", "content": "a"}], "Message 0 has the role ''"),
    ([*ASKED, {"role": "user"}], "Message 1 has no content"),
    ([{"role": "user", "content": None}], "Message 0 has no content"),
    ([{"role": "user", "content": 5}], "Message 0 has the content 5. Give a text, or a list of parts"),
    ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "Part 0 of message 0 is 'image'"),
    ([{"role": "user", "content": ["a"]}], "Part 0 of message 0 is 'a'"),
    ([{"role": "user", "content": "a", "time": object()}], "Message 0 holds an object of type object"),
    ([{"role": "user", "content": "a", 5: 6}], "Message 0 has an entry named 5"),
    ([{"role": "user", "content": "a", "deep": DEEP}], "nested too deeply"),
]


@pytest.mark.parametrize(("prompt", "problem"), WRONG, ids=[problem[:30] for _, problem in WRONG])
def test_malformed_messages_are_refused(bare: ne.StandardModelContext, prompt: Any, problem: str) -> None:
    for call in (lambda: bare.generate(prompt), lambda: ne.derive(prompt, "mlp_post_act", bare)):
        with pytest.raises(PromptError, match=problem):
            call()


def test_what_is_no_prompt_for_one_chat_says_so(bare: ne.StandardModelContext) -> None:
    for call in (ne.derive, lambda prompt, _, model, **given: model.generate(prompt, **given)):
        with pytest.raises(InvalidRequestError, match="A chat begins as the model's template writes it"):
            call(ASKED, "mlp_post_act", bare, prepend_bos=True)
    with pytest.raises(PromptError, match="list of messages is empty"):
        bare.chat_tokens([])
    with pytest.raises(InvalidRequestError, match="has no content to continue"):
        bare.chat_tokens([{"role": "assistant", "tool_calls": []}], continue_final_message=True)


def test_a_model_without_a_template_refuses_chats() -> None:
    tiny = ne.load_model("tiny", device="cpu")
    for call in (
        lambda: tiny.generate(ASKED),
        lambda: tiny.chat_tokens(ASKED),
        lambda: ne.derive(ASKED, "mlp_post_act", tiny),
        lambda: ne.NeuronViewer(tiny, texts=ASKED),
    ):
        with pytest.raises(ChatTemplateError, match=r"tiny has no chat template.*`chat_template=`"):
            call()


def test_chat_tokens_show_themselves(bare: ne.StandardModelContext) -> None:
    tokens = bare.chat_tokens(ASKED)
    assert isinstance(tokens, ChatTokens)
    assert isinstance(bare.chat_text(ASKED), ChatText)
    assert repr(tokens).startswith(f"<ChatTokens: {len(tokens)} tokens, '<|im_start|>' ")
    html = tokens._repr_html_()
    assert html.count("<bdi") == len(tokens)
    assert "&lt;|im_start|&gt;" in html
    assert f'title="position 0, token {tokens[0]}"' in html
    table = tokens.to_dataframe()
    assert table["token_id"].tolist() == tokens
    assert table["token"].tolist() == tokens.token_strings == bare.decode_token_list(tokens)
    again = pickle.loads(pickle.dumps(tokens))
    assert (again, again.text, again.token_strings) == (tokens, tokens.text, tokens.token_strings)
