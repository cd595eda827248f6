"""The beginning token: the model's own rule for prompts, one argument that changes it, and results that show it."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch

import neuron_explainer as ne
from helpers.collation_models import begun_context, model_context
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.model_context import StandardModelContext

TEXT = "w3 w4 w5"


@pytest.mark.parametrize(
    ("context", "prepend_bos", "begins"),
    [
        (begun_context(), None, [9]),  # its tokenizer puts w9 before every text
        (begun_context(), True, [9]),
        (begun_context(), False, []),
        (model_context(), None, []),
        (model_context(), True, [1]),  # the token that ends a text begins one, too
        (model_context(), False, []),
    ],
)
def test_everything_that_takes_a_text_follows_the_rule(
    context: StandardModelContext, prepend_bos: bool | None, begins: list[int]
) -> None:
    token_ids = [*begins, 3, 4, 5]
    assert context.to_tokens(TEXT, prepend_bos=prepend_bos).tolist() == [token_ids]
    store = ne.derive(TEXT, "mlp_post_act", context, prepend_bos=prepend_bos)
    assert (store.token_ids, store.n_beginning) == (token_ids, len(begins))
    of_ids = ne.derive(token_ids, "mlp_post_act", context)
    assert torch.equal(store.activations("mlp_post_act")[1], of_ids.activations("mlp_post_act")[1])
    batch = ne.derive_batch([TEXT, "w7"], "mlp_post_act", context, prepend_bos=prepend_bos)
    assert [each.token_ids for each in batch] == [token_ids, [*begins, 7]]
    expected = context.generate(token_ids, max_new_tokens=3)
    assert context.generate(TEXT, max_new_tokens=3, prepend_bos=prepend_bos) == expected
    assert context.generate([TEXT], max_new_tokens=3, prepend_bos=prepend_bos) == [expected]
    assert "".join(context.stream(TEXT, max_new_tokens=3, prepend_bos=prepend_bos)) == expected
    (example,) = ne.live_record(context, 1, 2, TEXT, prepend_bos=prepend_bos).most_positive_activation_records
    assert example.tokens == store.tokens
    assert example.activations == pytest.approx(store.activations("mlp_post_act")[1][:, 2].tolist(), rel=1e-5)


def test_a_store_shows_what_was_put_before_the_text(tmp_path: Path) -> None:
    context = begun_context()
    store = ne.derive(TEXT, "mlp_post_act", context)
    store.save(tmp_path / "store")
    for each in (store, store.sum_over("neurons"), store.to("cpu"), ne.DerivedScalarStore.load(tmp_path / "store")):
        assert each.beginning == "w9"
        assert "'w9' put before the text" in repr(each)
        assert "begins with <bdi>w9</bdi>, put before the text" in each._repr_html_()
    bare = ne.derive(TEXT, "mlp_post_act", context, prepend_bos=False)
    assert bare.beginning == ""
    assert "before the text" not in repr(bare) + bare._repr_html_()


def test_what_cannot_be_followed_is_refused() -> None:
    context = begun_context()
    for prepend_bos in (True, False):
        for call in (
            lambda ids, **given: ne.derive(ids, "mlp_post_act", context, **given),
            context.generate,
            context.stream,
        ):
            with pytest.raises(InvalidRequestError, match="prepend_bos is for texts"):
                cast("Any", call)([3, 4], prepend_bos=prepend_bos)
    without = StandardModelContext("no token", context.get_or_create_model(), model_context().tokenizer)
    with pytest.raises(InvalidRequestError, match="no token has no beginning-of-sequence token"):
        ne.derive(TEXT, "mlp_post_act", without, prepend_bos=True)
