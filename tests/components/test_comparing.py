"""Several components on the same texts: the numbers, the page, and what cannot be compared."""

import numpy as np
import pytest

import neuron_explainer as ne
from benchmarks.small_models import small_context
from neuron_explainer.components.comparing import compare_components
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, UnknownNameError

TEXTS = ["t5 t9 t3 t40", "t7 t8"]


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2", "mixtral"])
def test_the_numbers_are_those_of_derive(family):
    context = small_context(family)
    table = compare_components(["L2N5", "L0H1"], TEXTS, model=context).to_dataframe()
    assert table["text"].tolist() == [0] * 4 + [1] * 2
    for number, text in enumerate(TEXTS):
        store = ne.derive(text, ["mlp_post_act", "attn_write_norm"], context)
        of_text = table[table["text"] == number]
        neuron = store.activations("mlp_post_act")[2][:, 5].numpy()
        pairs = store.activations("attn_write_norm")[0][:, 1].numpy()
        assert np.allclose(of_text["L2N5"], neuron, atol=1e-5)
        largest = [pairs[row * (row + 1) // 2 :][: row + 1].max() for row in range(len(of_text))]
        assert np.allclose(of_text["L0H1"], largest, atol=1e-5)


def test_one_scale_or_one_for_each(tmp_path):
    shared = compare_components(["L2N5", "L1N3"], TEXTS, model=small_context("gpt2"))
    own = compare_components(shared.components, TEXTS, scale="own")
    assert shared._repr_html_().count('class="ne-legend"') == 1
    assert own.to_html().count('class="ne-legend"') == 4
    own.save_html(tmp_path / "page.html")
    assert "<script" not in (tmp_path / "page.html").read_text()
    assert repr(own) == "<ComponentComparison of L2N5, L1N3 on 2 texts>"


def test_several_of_one_name():
    contexts = small_context("gpt2"), small_context("qwen2")
    several = [ne.component(context, "L1N3") for context in contexts]
    assert compare_components(several, TEXTS).labels == ("L1N3 of gpt2", "L1N3 of qwen2")


def test_what_cannot_be_compared():
    context = small_context("gpt2")
    with pytest.raises(NotAtHandError, match="model="):
        compare_components(["L1N3"], TEXTS)
    with pytest.raises(InvalidRequestError, match="empty"):
        compare_components([], TEXTS, model=context)
    with pytest.raises(InvalidRequestError, match="list"):
        compare_components("L1N3", TEXTS, model=context)
    with pytest.raises(UnknownNameError):
        compare_components(["L1N3"], TEXTS, model=context, scale="none")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="different tokens"):
        compare_components([ne.component(context, "L1N3"), ne.component("tiny", "L1N3")], TEXTS)


def test_texts_have_the_numbers_that_the_caller_gave():
    context = small_context("gpt2")
    given = ["", TEXTS[0], "", TEXTS[1]]
    for texts in (given, tuple(given), iter(given), [{"text": each} for each in given]):
        comparison = compare_components(["L2N5", "L0H1"], texts, model=context)
        assert comparison.to_dataframe()["text"].tolist() == [1] * 4 + [3] * 2
    assert list(map(len, comparison.tokens())) == [0, 4, 0, 2]
    html = comparison.to_html()
    assert "Text 1<" in html
    assert "Text 3<" in html
    assert "Text 0<" not in html
    for name in ("L2N5", "L0H1"):
        table = ne.component(context, name).activations(iter(given))
        assert sorted(set(table["text"])) == [1, 3]


@pytest.mark.parametrize("prepend_bos", [False, True])
def test_positions_go_on_in_the_later_parts_of_a_long_text(prepend_bos):
    context = small_context("gpt2")
    size = context.max_context_length
    text = " ".join(f"t{2 + number % 40}" for number in range(2 * size + 3))
    n_tokens = 2 * size + 3 + prepend_bos
    for name in ("L2N5", "L1H0"):
        table = ne.component(context, name).activations(["t3 t4", text], prepend_bos=prepend_bos)
        of_text = table[table["text"] == 1]
        assert sorted(set(table["text"])) == [0, 1]
        keys = ["position"] if name == "L2N5" else ["position", "attended_to_position"]
        assert not of_text.duplicated(keys).any()
        by_position = of_text.drop_duplicates("position")
        assert by_position["position"].tolist() == list(range(n_tokens))
        words = by_position["token"].str.strip().tolist()[int(prepend_bos) :]
        assert words == text.split()
    comparison = compare_components(["L2N5", "L1H0"], ["t3 t4", text], model=context, prepend_bos=prepend_bos)
    assert list(map(len, comparison.tokens())) == [2 + prepend_bos, n_tokens]
    frame = comparison.to_dataframe()
    assert frame[frame["text"] == 1]["position"].tolist() == list(range(n_tokens))
    # A later part is what the model makes of it alone.
    step = size - prepend_bos
    part = " ".join(text.split()[step : 2 * step])
    alone = ne.component(context, "L2N5").activations(part, prepend_bos=prepend_bos)["activation"].to_numpy()
    whole = frame[frame["text"] == 1]["L2N5"].to_numpy()
    assert np.allclose(whole[step + prepend_bos :][:step], alone[int(prepend_bos) :], atol=1e-5)
