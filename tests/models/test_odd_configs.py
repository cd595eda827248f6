"""Configs at odd sizes, with settings in any combination: a model is right, or refused by name, and never wrong."""

from typing import Any

import pytest
import torch
import transformers

from helpers.installed_transformers import IS_OLD, hf_config_of, model_of, or_skipped
from helpers.odd_configs import LIKE_GPT, LIKE_LLAMA, odd_config
from helpers.tiny_models import random_tokens
from neuron_explainer.errors import UnsupportedCheckpointError
from neuron_explainer.models.transformer import Transformer


def is_refused(family: str, entries: dict[str, Any]) -> bool:
    """Whether a config has a setting that is refused by name."""
    return bool(
        entries.get("qk_layernorm")
        or entries.get("alibi")
        or (family == "opt" and not entries["do_layer_norm_before"])
        or (family == "opt" and entries["word_embed_proj_dim"] != entries["hidden_size"])
    )


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("family", or_skipped([*LIKE_GPT, *LIKE_LLAMA]))
def test_a_model_is_right_or_refused(family: str, number: int) -> None:
    if IS_OLD and family == "gpt_oss":
        pytest.skip("transformers before 5 does not read swiglu_limit and swiglu_alpha")
    torch.manual_seed(number)
    try:
        config = hf_config_of({"model_type": family, **odd_config(family, number)})
        theirs = model_of(config)
    except (AttributeError, TypeError, ValueError) as error:
        if not IS_OLD:
            raise
        pytest.skip(f"transformers {transformers.__version__} cannot make this model: {error!s:.100}")
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    if is_refused(family, config.to_dict()):
        with pytest.raises(UnsupportedCheckpointError, match=r"config has .* = "):
            Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())
        return
    ours = Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())
    tokens = random_tokens(2, (1, 5, 20, 30)[number % 4], vocab_size=31)
    with torch.no_grad():
        expected = theirs(tokens).logits
    torch.testing.assert_close(ours(tokens), expected, rtol=0, atol=1e-4 * max(1.0, float(expected.abs().max())))
