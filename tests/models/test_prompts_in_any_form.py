"""What generation and derivation take as a prompt, and the hint about a prompt that ends in a space."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models

import neuron_explainer as ne
from helpers.checkpoints import small_gpt2
from neuron_explainer.notices import TrailingSpaceWarning


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def test_a_text_and_its_ids_are_continued_alike(tiny: ne.StandardModelContext) -> None:
    expected = tiny.generate("And the LORD", max_new_tokens=4)
    ids = tiny.encode("And the LORD")
    for prompt in (ids, np.array(ids), torch.tensor(ids), tiny.to_tokens("And the LORD")):
        assert tiny.generate(prompt, max_new_tokens=4) == expected


def test_a_list_of_texts_gives_a_list(tiny: ne.StandardModelContext) -> None:
    texts, sampling = ["And", "And the LORD said"], ne.Sampling(temperature=1, seed=0)
    found = tiny.generate(texts, max_new_tokens=4, sampling=sampling)
    assert found == [tiny.generate(text, max_new_tokens=4, sampling=sampling) for text in texts]


def test_a_context_records_and_intervenes_as_its_transformer(tiny: ne.StandardModelContext) -> None:
    tokens, transformer = tiny.to_tokens("And the"), tiny.get_or_create_model()
    with tiny.record([("MLP_POST_ACT", np.arange(2))]) as ours, transformer.record("mlp.post_act") as theirs:
        transformer(tokens)
    assert torch.equal(ours["mlp_post_act", 1], theirs["mlp_post_act", 1])
    with tiny.intervene("MLP_POST_ACT", np.int64(1), torch.zeros_like), tiny.record("mlp_post_act") as ablated:
        transformer(tokens)
    assert not ablated["mlp_post_act", 1].equal(ours["mlp_post_act", 1])


ENDS_IN_A_SPACE = ["And the ", "And the  "]


@pytest.mark.parametrize("text", ENDS_IN_A_SPACE)
def test_a_space_at_the_end_is_pointed_out(tiny: ne.StandardModelContext, text: str) -> None:
    for call in (
        lambda: tiny.generate(text, max_new_tokens=1),
        lambda: ne.derive(text, "mlp_post_act", tiny),
        lambda: ne.derive_batch(["And", text], "mlp_post_act", tiny),
    ):
        with pytest.warns(TrailingSpaceWarning, match="ends in a space") as found:
            call()
        assert len(found) == 1


def test_other_prompts_are_left_alone(tiny: ne.StandardModelContext) -> None:
    spelled = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate("And the")}, merges=[]))
    letters = ne.load_model(small_gpt2(), tokenizer=spelled)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in ("And the", "And the\n", " ", "And\t"):
            tiny.generate(text, max_new_tokens=1)
        tiny.generate(tiny.encode("And the "), max_new_tokens=1)
        ne.derive(tiny.encode("And the "), "mlp_post_act", tiny)
        letters.generate("And the ", max_new_tokens=1)  # its tokenizer has a token for each letter, spaces included


def test_the_hint_names_the_users_own_line() -> None:
    code = (
        "import neuron_explainer as ne\nmodel = ne.load_model('tiny')\nmodel.generate('And the ', max_new_tokens=1)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.startswith("<string>:3: TrailingSpaceWarning: The prompt 'And the ' ends in a space")
