"""The tensors of a `transformers` model at every place, observed by hooks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_ATTENTION_NAME = "neuron_explainer_observed"
_MASKED_BELOW = -1e4  # transformers masks with the dtype's lowest number, not with -inf; float16's is -65504


class ObservedModules:
    """The inputs and outputs of the modules whose parameters are ours, and the inputs of attention."""

    def __init__(self, model: Transformer, hf_model: Any) -> None:
        self.model = model
        self.hf_model = hf_model
        family = family_of(hf_model.config.to_dict())
        available = {name for name, _ in hf_model.named_parameters(remove_duplicate=False)}
        self._sources = family.sources(model.config)
        self._name_by_parameter = {
            parameter: family.find(source.name, available) for parameter, source in self._sources.items()
        }
        self._path_by_parameter = {
            parameter: name.rpartition(".")[0] for parameter, name in self._name_by_parameter.items()
        }
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._attention: list[dict[ActivationLocationType, Tensor]] = []

    def run(self, tokens: Int[Tensor, "batch tokens"], attention_mask: Bool[Tensor, "batch tokens"]) -> Tensor:
        """Run the model over prompts and keep what is observed; returns the logits."""
        with ExitStack() as stack, torch.no_grad():
            stack.enter_context(_observed_attention(self.hf_model, self._attention))
            for path in set(self._path_by_parameter.values()):
                hook = self.hf_model.get_submodule(path).register_forward_hook(self._keeper(path), with_kwargs=True)
                stack.callback(hook.remove)
            return self.hf_model(input_ids=tokens, attention_mask=attention_mask, use_cache=False).logits

    def places(self) -> dict[PlaceAndLayer, Tensor]:
        """The observed tensors by place and layer, in the shapes of our recordings; without logits."""
        final = self._path_by_parameter["final_norm.gain"]
        found: dict[PlaceAndLayer, Tensor] = {
            (_PLACE.RESID_POST_EMBEDDING, None): self._inputs[self._path(0, "attention_norm.gain")],
            (_PLACE.RESID_FINAL_LAYER_NORM_SCALE, None): self.model.final_norm.scale(self._inputs[final]),
            (_PLACE.RESID_POST_FINAL_LAYER_NORM, None): self._outputs[final],
        }
        for block in self.model.blocks:
            found.update({(place, block.layer): tensor for place, tensor in self._layer(block).items()})
        return found

    def _layer(self, block: Block) -> dict[ActivationLocationType, Tensor]:
        config, layer = self.model.config, block.layer
        before, between = self._path(layer, "attention_norm.gain"), self._path(layer, "mlp_norm.gain")
        written = ["attention.output_weight", "mlp.output_weight"]
        if config.post_norms:
            written = ["attention_post_norm.gain", "mlp_post_norm.gain"]
        attention_write, mlp_write = (self._outputs[self._path(layer, name)] for name in written)
        is_last = layer == config.n_layers - 1
        after = self._path_by_parameter["final_norm.gain"] if is_last else self._path(layer + 1, "attention_norm.gain")
        summed = self._inputs[self._path(layer, "attention.output_weight")]
        return {
            _PLACE.ATTN_INPUT_LAYER_NORM_SCALE: block.attention_norm.scale(self._inputs[before]),
            _PLACE.RESID_POST_MLP_LAYER_NORM: self._outputs[before],
            **self._attention[layer],
            _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES: summed.unflatten(-1, (config.n_heads, config.d_head)),
            _PLACE.RESID_DELTA_ATTN: attention_write,
            _PLACE.RESID_POST_ATTN: (
                self._inputs[before] + attention_write if config.parallel_residual else self._inputs[between]
            ),
            _PLACE.MLP_INPUT_LAYER_NORM_SCALE: block.mlp_norm.scale(self._inputs[between]),
            _PLACE.RESID_POST_ATTN_LAYER_NORM: self._outputs[between],
            _PLACE.MLP_PRE_ACT: self._own_outputs(layer, "mlp.input_weight"),
            _PLACE.MLP_POST_ACT: self._inputs[self._path(layer, "mlp.output_weight")],
            _PLACE.RESID_DELTA_MLP: mlp_write,
            _PLACE.RESID_POST_MLP: self._inputs[after],
        }

    def _own_outputs(self, layer: int, parameter: str) -> Tensor:
        """The outputs that come from one weight of ours; its module may compute more, such as gate and up in one."""
        parameter = f"blocks.{layer}.{parameter}"
        output = self._outputs[self._path_by_parameter[parameter]]
        weight = self.hf_model.get_parameter(self._name_by_parameter[parameter])
        numbers = torch.arange(output.shape[-1], dtype=torch.int64, device=output.device)
        is_outputs_first = len(weight) == len(numbers)
        numbered = (numbers[:, None] if is_outputs_first else numbers).expand(weight.shape)
        return output[..., self._sources[parameter].convert(numbered)[:, 0]]

    def _path(self, layer: int, parameter: str) -> str:
        return self._path_by_parameter[f"blocks.{layer}.{parameter}"]

    def _keeper(self, path: str) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> None:
            self._inputs[path] = arguments[0] if arguments else next(iter(keywords.values()))
            self._outputs[path] = output

        return keep


@contextmanager
def _observed_attention(hf_model: Any, observed: list[dict[ActivationLocationType, Tensor]]) -> Iterator[None]:
    """Let a `transformers` model use a plain attention implementation that keeps its inputs and results."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    def attend(
        module: nn.Module,
        query: Float[Tensor, "batch heads tokens d_head"],
        key: Float[Tensor, "batch key_heads tokens d_head"],
        value: Float[Tensor, "batch key_heads tokens d_head"],
        attention_mask: Tensor | None,
        scaling: float | None = None,
        softcap: float | None = None,
        **ignored: Any,
    ) -> tuple[Tensor, Tensor]:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
        logits = query @ key.transpose(-1, -2) * scale
        if softcap is not None:
            logits = (logits / softcap).tanh() * softcap
        if attention_mask is None:
            raise InvalidRequestError("This version of transformers passes no mask to attention, which is needed here.")
        logits = (logits + attention_mask).masked_fill(attention_mask < _MASKED_BELOW, float("-inf"))
        # A row that is all masked belongs to padding; its softmax would be NaN, which would spread.
        probs = logits.softmax(-1).nan_to_num(0.0)
        summed = (probs @ value).transpose(1, 2).contiguous()
        observed.append(
            {
                _PLACE.ATTN_QUERY: query.transpose(1, 2) * scale**0.5,
                _PLACE.ATTN_KEY: key.transpose(1, 2) * scale**0.5,
                _PLACE.ATTN_VALUE: value.transpose(1, 2),
                _PLACE.ATTN_QK_LOGITS: logits.permute(0, 2, 3, 1),
                _PLACE.ATTN_QK_PROBS: probs.permute(0, 2, 3, 1),
            }
        )
        return summed, probs

    AttentionInterface.register(_ATTENTION_NAME, attend)
    AttentionMaskInterface.register(_ATTENTION_NAME, eager_mask)
    before = hf_model.config._attn_implementation
    hf_model.set_attn_implementation(_ATTENTION_NAME)
    try:
        yield
    finally:
        hf_model.set_attn_implementation(before)
