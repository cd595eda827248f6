"""A comparison with `transformers`, place by place, as a table."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.layers.token_checks import int64_on_cpu
from neuron_explainer.models.parity.reference import ObservedModules
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    import pandas as pd

_PLACE = ActivationLocationType


def check_parity(
    model: Any,
    hf_model: Any,
    *,
    tokens: Int[Tensor, "batch tokens"] | None = None,
    attention_mask: Bool[Tensor, "batch tokens"] | None = None,
) -> "pd.DataFrame":
    """The difference between a model and its `transformers` counterpart, at every place and layer.

    Both run over the same prompts. Every place is compared at the positions of real tokens: the inputs and outputs of
    the counterpart's modules, the inputs of its attention, and what follows from these. The counterpart's logits are
    computed with its own attention implementation.

    Example:
        hf_model = transformers.AutoModelForCausalLM.from_pretrained("gpt2")
        ne.check_parity(ne.load_model(hf_model), hf_model)

    Args:
        model: a `Transformer`, or a model context that has one.
        hf_model: the `transformers` model (a causal language model), with the same weights, dtype and device. It is in
            evaluation mode during the comparison.
        tokens: prompts, shape (batch, tokens); None means two random prompts of different lengths.
        attention_mask: True for real tokens, if `tokens` are padded on the right.

    Returns:
        A DataFrame with a row for each place and layer: `place`, `layer` (missing for a place without layers),
        `largest_difference`, and `largest_magnitude`, the largest finite absolute value in the counterpart.

    Raises:
        InvalidRequestError: `model` is neither of these, or `hf_model` is not a transformers model of the same family
            and sizes, or a place has another shape in it; the error names the place and the layer.
        CheckpointError: the counterpart's family is not supported, or it lacks a tensor that the model has.
    """
    import pandas as pd

    transformer = _transformer_of(model)
    _check_counterpart(transformer, hf_model)
    if tokens is None:
        if attention_mask is not None:
            raise InvalidRequestError("An attention mask belongs to tokens. Give tokens too.")
        tokens, attention_mask = _random_prompts(transformer)
    real = torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask
    places = [place for place in ActivationLocationType if not place.is_online_autoencoder_place]
    with transformer.record(places) as recording:
        transformer(tokens, attention_mask=real)
    observed = ObservedModules(transformer, hf_model)
    was_training = hf_model.training
    hf_model.eval()
    try:
        device = next(hf_model.parameters()).device
        with torch.no_grad():
            logits = hf_model(input_ids=tokens.to(device), attention_mask=real.to(device), use_cache=False).logits
        observed_logits = observed.run(tokens.to(device), real.to(device))
        difference, magnitude = _largest(observed_logits, logits, real)
        if len(observed.attention) != transformer.config.n_layers or difference > 0.01 * magnitude:
            raise InvalidRequestError(
                f"The installed transformers computes the attention of {type(hf_model).__name__} in a way that cannot "
                "be observed. Compare with transformers 5 or newer."
            )
    finally:
        hf_model.train(was_training)
    theirs = {**observed.places(), (_PLACE.LOGITS, None): logits}
    rows = []
    for place in places:
        for layer in [None] if place.has_no_layers else range(transformer.config.n_layers):
            found, expected = recording[place, layer], theirs[place, layer]
            if found.shape != expected.shape:
                where = place.value if layer is None else f"{place.value} of layer {layer}"
                raise InvalidRequestError(
                    f"{where} has shape {tuple(found.shape)} here and {tuple(expected.shape)} in the counterpart. Does "
                    "the family name the right tensors?"
                )
            difference, magnitude = _largest(found, expected, real)
            rows.append((place.value, layer, difference, magnitude))
    table = pd.DataFrame(rows, columns=["place", "layer", "largest_difference", "largest_magnitude"])
    return table.astype({"layer": "Int64"})


def _largest(ours: Tensor, theirs: Tensor, real: Bool[Tensor, "batch tokens"]) -> tuple[float, float]:
    """The largest difference, and the largest finite absolute value of `theirs`, at the positions of real tokens."""
    ours, theirs = (each.detach().cpu()[real.cpu()].double() for each in (ours, theirs))
    differences = torch.where(ours == theirs, 0.0, (ours - theirs).abs())  # equal infinities differ by 0
    return float(differences.max()), float(theirs[theirs.isfinite()].abs().max())


def _random_prompts(model: Transformer) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
    n_tokens = min(24, model.config.max_context_length)
    generator = torch.Generator("cpu").manual_seed(0)
    tokens = torch.randint(
        0, model.config.vocab_size, (2, n_tokens), generator=generator, dtype=torch.int64, device="cpu"
    )
    lengths = int64_on_cpu([[n_tokens], [(n_tokens + 1) // 2]])
    return tokens, int64_on_cpu(range(n_tokens)) < lengths


def _check_counterpart(model: Transformer, hf_model: Any) -> None:
    """Refuse a counterpart that cannot have the same weights."""
    to_dict = getattr(getattr(hf_model, "config", None), "to_dict", None)
    if not isinstance(hf_model, torch.nn.Module) or to_dict is None:
        raise InvalidRequestError(
            f"The counterpart must be a transformers model in memory, not {type(hf_model).__name__}. Load one with "
            "from_pretrained."
        )
    hf_config = to_dict()
    theirs, ours = family_of(hf_config).config(hf_config), model.config
    for what in ("model_type", "n_layers", "d_model", "n_heads", "n_key_value_heads", "d_head", "d_mlp", "vocab_size"):
        if getattr(theirs, what) != getattr(ours, what):
            raise InvalidRequestError(
                f"The models differ: {what} is {getattr(ours, what)} here and {getattr(theirs, what)} in the "
                "counterpart."
            )


def _transformer_of(model: Any) -> Transformer:
    found = model.get_or_create_model() if hasattr(model, "get_or_create_model") else model
    if not isinstance(found, Transformer):
        raise InvalidRequestError(
            f"The model must be a Transformer or a model context that has one, not {type(found).__name__}."
        )
    return found
