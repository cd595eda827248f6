"""The tensors of a `transformers` model at every place, observed by hooks."""

from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.parity.observed_attention import observed_attention
from neuron_explainer.models.parity.observed_experts import neurons_of_experts
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


class ObservedModules:
    """The inputs and outputs of the modules whose parameters are ours, and the inputs of attention.

    What is computed from these is computed by the reference's config alone: nothing of a model of ours takes part.

    Args:
        hf_model: a `transformers` model of a supported family.

    Attributes:
        attention: what was observed of attention, for each layer in turn.
    """

    def __init__(self, hf_model: Any) -> None:
        hf_config = hf_model.config.to_dict()
        family = family_of(hf_config)
        self.model = model = Transformer(family.config(hf_config))  # without weights: its norms' scales need none
        self.hf_model = hf_model
        available = {name for name, _ in hf_model.named_parameters(remove_duplicate=False)}
        located = {
            parameter: family.located(source, available) for parameter, source in family.each_source(model.config)
        }
        self._sources = {parameter: source for parameter, (_, source) in located.items()}
        self._name_by_parameter = {parameter: name for parameter, (name, _) in located.items()}
        self._path_by_parameter = {
            parameter: name.rpartition(".")[0] for parameter, name in self._name_by_parameter.items()
        }
        self._mixtures = {
            layer: self._path(layer, "mlp.router_weight").rpartition(".")[0]
            for layer in range(model.config.n_layers if model.config.n_experts else 0)
        }
        self._axes = (0, 0)
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Any] = {}
        self.attention: list[dict[ActivationLocationType, Tensor]] = []

    def run(self, tokens: Int[Tensor, "batch tokens"], attention_mask: Bool[Tensor, "batch tokens"]) -> Tensor:
        """Run the model over prompts and keep what is observed; returns the logits."""
        self._axes = (tokens.shape[0], tokens.shape[1])
        with ExitStack() as stack, torch.no_grad():
            scales = self.model.config.attention_scale_by_layer
            stack.enter_context(observed_attention(self.hf_model, scales, self.attention))
            for path in {*self._path_by_parameter.values(), *self._mixtures.values()}:
                hook = self.hf_model.get_submodule(path).register_forward_hook(self._keeper(path), with_kwargs=True)
                stack.callback(hook.remove)
            return self.hf_model(input_ids=tokens, attention_mask=attention_mask, use_cache=False).logits

    def places(self) -> dict[PlaceAndLayer, Tensor]:
        """The observed tensors by place and layer, in the shapes of our recordings; without logits."""
        final = self._path_by_parameter["final_norm.gain"]
        found: dict[PlaceAndLayer, Tensor] = {
            (_PLACE.RESID_POST_EMBEDDING, None): self._read_by_attention(0),
            (_PLACE.RESID_FINAL_LAYER_NORM_SCALE, None): self.model.final_norm.scale(self._inputs[final]),
            (_PLACE.RESID_POST_FINAL_LAYER_NORM, None): self._outputs[final],
        }
        for block in self.model.blocks:
            found.update({(place, block.layer): tensor for place, tensor in self._layer(block).items()})
        return found

    def path_of(self, parameter: str) -> str:
        """The reference's module that has one of our parameters."""
        return self._path_by_parameter[parameter]

    def paths_of_stream(self) -> list[str]:
        """For each layer the module whose input is the residual stream before it; last, the final norm."""
        has_norm = self.model.config.input_norms
        of_layers = [
            self._path(layer, "attention_norm.gain") if has_norm else self._first_of_attention(layer)
            for layer in range(self.model.config.n_layers)
        ]
        return [*of_layers, self.path_of("final_norm.gain")]

    def _layer(self, block: Block) -> dict[ActivationLocationType, Tensor]:
        config, layer = self.model.config, block.layer
        before, between = self._read_by_attention(layer), self._read_by_mlp(layer)
        paths = self._path(layer, "attention.output_weight"), self._mlp_output(layer)
        if config.post_norms:
            paths = self._path(layer, "attention_post_norm.gain"), self._path(layer, "mlp_post_norm.gain")
        attention_write, mlp_write = (self._outputs[path] * config.residual_multiplier for path in paths)
        is_last = layer == config.n_layers - 1
        after = (
            self._inputs[self._path_by_parameter["final_norm.gain"]] if is_last else self._read_by_attention(layer + 1)
        )
        summed = self._inputs[self._path(layer, "attention.output_weight")]
        return {
            _PLACE.ATTN_INPUT_LAYER_NORM_SCALE: block.attention_norm.scale(before),
            _PLACE.RESID_POST_MLP_LAYER_NORM: self._inputs[self._first_of_attention(layer)],
            **self.attention[layer],
            _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES: summed.unflatten(-1, (config.n_heads, config.d_head)),
            _PLACE.RESID_DELTA_ATTN: attention_write,
            _PLACE.RESID_POST_ATTN: before + attention_write if config.parallel_residual else between,
            _PLACE.MLP_INPUT_LAYER_NORM_SCALE: block.mlp_norm.scale(between),
            _PLACE.RESID_POST_ATTN_LAYER_NORM: self._inputs[self._first_of_mlp(layer)],
            **self._neurons(layer),
            _PLACE.RESID_DELTA_MLP: mlp_write,
            _PLACE.RESID_POST_MLP: after,
        }

    def _first_of_attention(self, layer: int) -> str:
        """The module that reads attention's input."""
        separate = self.model.config.qkv_layout == "separate"
        return self._path(layer, "attention.query_weight" if separate else "attention.qkv_weight")

    def _read_by_attention(self, layer: int) -> Tensor:
        """The residual stream before attention's norm, or where there is none, what attention itself reads."""
        has_norm = self.model.config.input_norms
        return self._inputs[self._path(layer, "attention_norm.gain") if has_norm else self._first_of_attention(layer)]

    def _read_by_mlp(self, layer: int) -> Tensor:
        """The residual stream before the MLP's norm, or where there is none, what the MLP itself reads."""
        config = self.model.config
        if not config.input_norms:
            return self._inputs[self._first_of_mlp(layer)]
        return self._inputs[self._path(layer, "attention_norm.gain" if config.shared_norm else "mlp_norm.gain")]

    def _first_of_mlp(self, layer: int) -> str:
        """The module that reads the MLP's input."""
        return self._mixtures.get(layer) or self._path(layer, "mlp.input_weight")

    def _mlp_output(self, layer: int) -> str:
        """The module that gives the MLP's output."""
        return self._mixtures.get(layer) or self._path(layer, "mlp.output_weight")

    def _neurons(self, layer: int) -> dict[ActivationLocationType, Tensor]:
        if layer not in self._mixtures:
            return {
                _PLACE.MLP_PRE_ACT: self._own_outputs(layer, "mlp.input_weight"),
                _PLACE.MLP_POST_ACT: self._inputs[self._path(layer, "mlp.output_weight")],
            }

        def weight_of(name: str) -> Tensor:
            parameter = f"blocks.{layer}.mlp.{name}"
            tensor = self.hf_model.get_parameter(self._name_by_parameter[parameter])
            return self._sources[parameter].convert(tensor.detach())

        router = self._outputs[self._path(layer, "mlp.router_weight")]
        return neurons_of_experts(self.model.config, self._inputs[self._mixtures[layer]], router, weight_of)

    def _own_outputs(self, layer: int, parameter: str) -> Tensor:
        """The outputs that come from one weight of ours; its module may compute more, such as gate and up in one."""
        parameter = f"blocks.{layer}.{parameter}"
        output = self._outputs[self._path_by_parameter[parameter]]
        weight = self.hf_model.get_parameter(self._name_by_parameter[parameter])
        numbers = torch.arange(output.shape[-1], dtype=torch.int64, device=output.device)
        by_row = numbers[:, None].expand(-1, weight.shape[1])
        rows = self._sources[parameter].convert(
            by_row if by_row.shape == weight.shape else numbers.expand(weight.shape)
        )
        if not torch.equal(rows, rows[:, :1].expand(rows.shape)):  # a square matrix with its inputs first, as GPT-2's
            rows = self._sources[parameter].convert(numbers.expand(weight.shape))
        return output[..., rows[:, 0]]

    def _path(self, layer: int, parameter: str) -> str:
        return self._path_by_parameter[f"blocks.{layer}.{parameter}"]

    def _with_axes(self, tensor: Tensor) -> Tensor:
        """The tensor with axes for prompts and tokens, which some models join before the MLP."""
        joined = tensor.ndim == 2 and len(tensor) == self._axes[0] * self._axes[1]
        return tensor.unflatten(0, self._axes) if joined else tensor

    def _keeper(self, path: str) -> Any:
        is_mixture = path in self._mixtures.values()

        def keep(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
            self._inputs[path] = self._with_axes(arguments[0] if arguments else next(iter(keywords.values())))
            if is_mixture and isinstance(output, tuple):
                output = output[0]  # the second is the router's
            is_tensor = isinstance(output, Tensor)
            self._outputs[path] = self._with_axes(output.clone()) if is_tensor else output  # Falcon adds to it later

        return keep
