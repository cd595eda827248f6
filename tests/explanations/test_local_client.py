"""A model at hand that answers: one of this library, or of transformers."""

import math
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers

import neuron_explainer as ne
from helpers.asking_clients import question
from helpers.chats import ALTERNATING, chat_model, chat_tokenizer
from neuron_explainer.errors import InvalidRequestError, PromptError, StoppedError
from neuron_explainer.explanations import ChatClient, ChatRequest, LocalClient
from neuron_explainer.explanations.clients.own_model import without_system


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def theirs() -> tuple[Any, Any]:
    tokenizer = chat_tokenizer()
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=256, n_embd=16, n_layer=1, n_head=2, bos_token_id=None, eos_token_id=None
    )
    return transformers.GPT2LMHeadModel(config).eval(), tokenizer


def test_a_model_without_chats_goes_on_with_the_texts(tiny: ne.StandardModelContext):
    client = LocalClient(tiny)
    texts = ["Once upon a time", "The dog was big and it", "She", "Once upon a time"]
    answers = client.ask([question(text, max_tokens=6) for text in texts])
    assert [answer.text for answer in answers] == [tiny.generate(f"{text}\n", max_new_tokens=6) for text in texts]
    assert answers[0] is answers[3]  # asked once
    assert not answers[0].is_whole
    assert (answers[0].n_prompt_tokens, answers[0].n_answer_tokens) == (len(tiny.encode("Once upon a time\n")), 6)
    assert isinstance(client, ChatClient)
    assert (client.name, repr(client)) == ("tiny", "LocalClient('tiny')")


def test_a_chat_is_written_by_the_models_template():
    model = chat_model()
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    expected = model.generate(model.chat_text(messages, add_generation_prompt=True), max_new_tokens=4)
    request = ChatRequest((("system", "Be kind."), ("user", "Hello")), max_tokens=4)
    assert LocalClient(model, name="mine").ask([request])[0].text == expected
    assert LocalClient(model, name="mine").name == "mine"


def test_a_template_that_refuses_the_system_gets_its_words_with_the_users():
    model = chat_model(ALTERNATING)
    joined = [{"role": "user", "content": "Be kind.\n\nHello"}]
    expected = model.generate(model.chat_text(joined, add_generation_prompt=True), max_new_tokens=4)
    request = ChatRequest((("system", "Be kind."), ("user", "Hello")), max_tokens=4)
    assert LocalClient(model).ask([request])[0].text == expected
    assert without_system([("user", "a"), ("system", "b")]) == [("user", "a"), ("user", "b")]


def test_a_seed_gives_the_same_answer_whatever_is_asked_beside_it(tiny: ne.StandardModelContext):
    client = LocalClient(tiny)
    sampled = [question("Once", max_tokens=6, temperature=1.0, seed=seed) for seed in range(4)]
    alone = [client.ask([each])[0].text for each in sampled]
    together = [answer.text for answer in client.ask([question("She", max_tokens=2), *sampled])[1:]]
    assert together == alone
    assert len(set(alone)) > 1
    unseeded = client.ask([question("Once", max_tokens=6, temperature=1.0)] * 4)
    assert len({answer.text for answer in unseeded}) > 1


def test_logprobs_are_those_of_the_model(tiny: ne.StandardModelContext):
    (answer,) = LocalClient(tiny).ask([question("Once upon a time", max_tokens=3, top_logprobs=2)])
    assert answer.logprobs is not None
    assert len(answer.logprobs) == 3
    logits = tiny.get_or_create_model()(tiny.to_tokens("Once upon a time\n"), logits_at="last")
    expected, ids = logits[0, 0].log_softmax(-1).topk(2)
    assert list(answer.logprobs[0]) == tiny.decode_token_list(ids.tolist())
    assert list(answer.logprobs[0].values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert "".join(max(each, key=lambda token: each[token]) for each in answer.logprobs) == answer.text


def test_a_schema_changes_nothing(tiny: ne.StandardModelContext):
    asked = ChatRequest((("user", "Hi"),), max_tokens=2)
    client = LocalClient(tiny)
    plain, with_schema = client.ask([asked]), client.ask([replace(asked, schema={"type": "object"})])
    assert with_schema == plain


def test_an_answer_ends_with_the_context_and_a_question_must_fit(tiny: ne.StandardModelContext):
    room = tiny.max_context_length
    (answer,) = LocalClient(tiny).ask([question("dog " * (room // 2 - 10), max_tokens=500)])
    assert answer.n_prompt_tokens is not None
    assert answer.n_answer_tokens is not None
    assert answer.is_whole or answer.n_answer_tokens == room - answer.n_prompt_tokens + 1
    with pytest.raises(PromptError, match="do not fit"):
        LocalClient(tiny).ask([question("dog " * room)])


def test_interventions_take_part_and_work_can_be_stopped(tiny: ne.StandardModelContext):
    import threading

    from neuron_explainer.models.watching import watched_passes

    client, stop = LocalClient(tiny), threading.Event()
    told: list[float] = []
    before = client.ask([question("Once", max_tokens=4)])[0].text
    with tiny.intervene("resid_post_mlp", 3, torch.zeros_like):
        assert client.ask([question("Once", max_tokens=4)])[0].text != before
    with watched_passes(told.append):
        client.ask([question("Once", max_tokens=2), question("She", max_tokens=3)])
    assert told[-1] == 1.0
    stop.set()
    with watched_passes(stop=stop), pytest.raises(StoppedError):
        client.ask([question("Once", max_tokens=2)])


def test_a_model_of_transformers_answers(theirs: tuple[Any, Any]):
    model, tokenizer = theirs
    client = LocalClient(model, tokenizer, name="theirs")
    before = torch.random.get_rng_state()
    greedy, one, same, other = client.ask(
        [
            question("hi", max_tokens=4, top_logprobs=2),
            question("hi", max_tokens=4, temperature=1.0, seed=1),
            question("hi", max_tokens=4, temperature=1.0, seed=1),
            question("hi", max_tokens=4, temperature=1.0, seed=2),
        ]
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one == same != other
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([ids])
    with torch.no_grad():
        for _ in range(4):
            tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], -1)
        logprobs = model(tokens).logits[0, len(ids) - 1].log_softmax(-1)
    assert greedy.text == tokenizer.decode(tokens[0, len(ids) :], skip_special_tokens=True)
    assert (greedy.n_prompt_tokens, greedy.n_answer_tokens, greedy.is_whole) == (len(ids), 4, False)
    assert greedy.logprobs is not None
    assert math.isclose(max(greedy.logprobs[0].values()), float(logprobs.max()), abs_tol=1e-5)


def test_a_long_question_to_a_model_of_transformers_is_refused(theirs: tuple[Any, Any]):
    with pytest.raises(PromptError, match="context 256"):
        LocalClient(*theirs).ask([question("a b c d " * 200)])


@pytest.mark.parametrize(("given", "said_of_it"), [((5,), "model is 5"), (("tiny",), "model is 'tiny'")])
def test_what_is_no_model_is_refused(given: tuple[Any, ...], said_of_it: str):
    with pytest.raises(InvalidRequestError, match=said_of_it):
        LocalClient(*given)


def test_tokenizers_belong_to_models_of_transformers(tiny: ne.StandardModelContext, theirs: tuple[Any, Any]):
    with pytest.raises(InvalidRequestError, match="Give the model alone"):
        LocalClient(tiny, theirs[1])
    with pytest.raises(InvalidRequestError, match="Give the tokenizer of the model"):
        LocalClient(theirs[0])


def test_threads_sample_as_their_seeds_say(theirs: tuple[Any, Any]):
    client = LocalClient(*theirs)
    asked = [question(f"Tell {number}", max_tokens=8, temperature=1.0, seed=number) for number in range(6)]
    expected = [answer.text for answer in client.ask(asked)]
    found: list[list[str]] = []

    def ask() -> None:
        found.append([answer.text for answer in client.ask(asked)])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6
