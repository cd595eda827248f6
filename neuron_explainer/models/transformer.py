"""One instrumented transformer for every supported family."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, SupportsIndex, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype, differentiable
from neuron_explainer.models.families.fill_parameters import config_of_tensors, fill_parameters, uses_of_tensors
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.hooks.contexts import Hook
from neuron_explainer.models.hooks.taps import TapPlan, at_place
from neuron_explainer.models.instrumented import Instrumented
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.embedding_scale import scaled_embedding
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.logit_positions import LogitsAt, at_positions
from neuron_explainer.models.layers.norms import Norm, build_norm
from neuron_explainer.models.layers.rotary import RotaryEmbedding
from neuron_explainer.models.layers.span import Span
from neuron_explainer.models.layers.token_checks import check_tokens, lengths_of_prompts
from neuron_explainer.models.layers.unfilled import fill, unfilled
from neuron_explainer.models.offload.disk_parameters import DiskParameters, put_on_disk
from neuron_explainer.models.offload.disk_weights import DiskWeights, weights_in_use
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.models.watching import watch_of_pass
from neuron_explainer.vocabulary.checks import MOST_SEED, checked_number, checked_type
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_FINAL_NORM_PLACES = frozenset({_PLACE.RESID_FINAL_LAYER_NORM_SCALE, _PLACE.RESID_POST_FINAL_LAYER_NORM})


class Transformer(Instrumented):
    """A decoder-only language model. Every place of its forward pass can be recorded and intervened on.

    Weights never require gradients: gradients are with respect to activations. Matrices are (outputs, inputs).

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> transformer = model.get_or_create_model()
    >>> with transformer.record("mlp_post_act") as recording:
    ...     logits = transformer(model.to_tokens("Once upon a time"))
    >>> recording["mlp_post_act", 0].shape[-1] == model.n_neurons
    True

    Attributes:
        config: sizes and options.
        blocks: the layers; see `Block` for the parts that each can compute alone.
        final_norm: the norm before the unembedding, a function of the residual stream (`detach_scale=True` holds its
            scale constant).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(checked_type("config", config, TransformerConfig))
        rotary = {each: RotaryEmbedding(each) for each in set(config.rotary_by_layer) if each is not None}
        rotary_by_layer = [None if each is None else rotary[each] for each in config.rotary_by_layer]
        self.embedding = unfilled(config.vocab_size, config.d_model)
        self.position_embedding = (
            unfilled(config.max_context_length, config.d_model) if config.learned_positions else None
        )
        blocks = nn.ModuleList(Block(config, layer, rotary_by_layer[layer]) for layer in range(config.n_layers))
        self.blocks = cast(Sequence[Block], blocks)
        self.final_norm = build_norm(config, config.d_model)
        self.unembedding = None if config.tied_unembedding else unfilled(config.vocab_size, config.d_model)
        self.unembedding_bias = unfilled(config.vocab_size) if config.unembedding_bias else None
        self._on_disk: DiskWeights | None = None

    @classmethod
    def from_hf_config_and_tensors(
        cls,
        hf_config: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        *,
        device: DeviceGiven | None = None,
        dtype: DtypeGiven | None = None,
    ) -> "Transformer":
        """A model with a Hugging Face config and tensors. Their memory is shared unless they are moved or cast.

        Example:
            Transformer.from_hf_config_and_tensors(hf_model.config.to_dict(), hf_model.state_dict())

        Args:
            hf_config: the entries of `config.json` (a transformers model's `config.to_dict()`).
            tensors: by name, as in a checkpoint or a transformers model's `state_dict()`. The mapping may read a tensor
                when it is looked up.
            device: where the weights go; None leaves each where it is.
            dtype: the weights' dtype; None leaves each as it is.

        Raises:
            CheckpointError: the family is not supported, or tensors are missing, unexpected or misshapen.
        """
        family, named_config = family_and_config(hf_config)
        config = config_of_tensors(family, named_config, tensors)
        uses = uses_of_tensors(family, config, tensors.keys())
        model = cls(config)
        to_device, to_dtype = None if device is None else as_device(device), None if dtype is None else as_dtype(dtype)
        fill_parameters(model, uses, tensors, device=to_device, dtype=to_dtype)
        return model

    @classmethod
    def with_random_weights(
        cls,
        config: TransformerConfig,
        *,
        seed: SupportsIndex = 0,
        device: DeviceGiven | None = None,
        dtype: DtypeGiven = torch.float32,
    ) -> "Transformer":
        """A model with small random weights: standard deviation 0.02, gains near their neutral value.

        Raises:
            InvalidRequestError: `config`, `seed` or `device` is invalid.
            UnknownNameError: models do not run in this dtype.
        """
        model = cls(config)
        generator = torch.Generator("cpu").manual_seed(checked_number("seed", seed, 0, at_most=MOST_SEED))
        to_device, to_dtype = None if device is None else as_device(device), as_dtype(dtype)
        gains = {f"{name}.gain" for name, module in model.named_modules() if isinstance(module, Norm)}
        for name, parameter in list(model.named_parameters()):
            numbers = torch.randn(parameter.shape, generator=generator, dtype=torch.float32, device="cpu") * 0.02
            if name in gains and not config.norm_gain_offset:
                numbers += 1.0
            fill(model, name, numbers.to(device=to_device, dtype=to_dtype))
        return model

    @property
    def device(self) -> torch.device:
        """Where the weights are; of an offloaded model, where they are put to be used."""
        return self.embedding.device if self._on_disk is None else self._on_disk.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights and activations."""
        return self.embedding.dtype if self._on_disk is None else self._on_disk.dtype

    @property
    def is_offloaded(self) -> bool:
        """Whether the weights stay in the checkpoint's files, and are read when they are used."""
        return self._on_disk is not None

    def read_weights_from(self, weights: DiskWeights) -> None:
        """Leave the weights on disk, and read each when it is used; called when the model is made."""
        self._on_disk = weights
        put_on_disk(self, weights)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Transformer":
        if self.is_offloaded:
            raise InvalidRequestError(
                "A model with offload='disk' reads its weights from their files, so it cannot be moved or cast. Load "
                "it again with another device or dtype."
            )
        return super()._apply(fn, recurse)

    @property
    def unembedding_weight(self) -> Float[Tensor, "vocab d_model"]:
        """The unembedding; the embedding if the two are tied."""
        return self.embedding if self.unembedding is None else self.unembedding

    def forward(
        self,
        tokens: Int[Tensor, "batch tokens"],
        *,
        attention_mask: Bool[Tensor, "batch tokens"] | None = None,
        logits_at: LogitsAt = "all",
        cache: KeyValueCache | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Float[Tensor, "batch positions vocab"] | None:
        """Run the model over token ids. What the contexts of this thread record and replace takes part.

        Args:
            tokens: ids, shape (batch, tokens), padded on the right with any valid id.
            attention_mask: True for real tokens, False for padding, which must come last. A token attends only to
                earlier tokens, so padding does not change the results of real tokens (but as in `transformers`,
                longrope stretches positions by the length of the padded batch); results at padding mean nothing.
                A mask on the CPU is checked without waiting for a GPU.
            logits_at: where logits are computed: "all" positions, the "last" real token of each prompt, or one given
                position in each prompt. None: nowhere; then layers above the last one that is recorded or intervened on
                do not run, and None is returned.
            cache: keys and values of earlier tokens; this pass adds its own.
            hooks: recordings and interventions of this pass alone, after those of contexts; see `recording` and
                `intervention`.

        Returns:
            Logits, shape (batch, tokens or 1, vocab), or None.

        Raises:
            PromptError: there are no tokens or too many, ids are outside of the vocabulary, or padding does not come
                last.
            InvalidRequestError: gradients are recorded and a cache is given, or `logits_at` or `cache` is invalid.
        """
        if cache is not None:
            checked_type("cache", cache, KeyValueCache)
        n_earlier = max(cache.lengths, default=0) if cache is not None else 0
        check_tokens(tokens, n_earlier, self.config.vocab_size, self.config.max_context_length)
        counts = None if attention_mask is None else lengths_of_prompts(attention_mask, tokens.shape)
        if cache is not None:
            cache.check_batch(len(tokens))
        plan_before = self._hooks.running
        plan = self._hooks.begin_pass(hooks)
        try:
            if plan.gradients and torch.is_inference_mode_enabled():
                tokens, counts, logits_at = map(_differentiable, (tokens, counts, logits_at))
                with torch.inference_mode(False):
                    logits = self._run(tokens, counts, logits_at, cache, plan)
            else:
                logits = self._run(tokens, counts, logits_at, cache, plan)
        finally:
            self._hooks.end_pass(plan_before)
        if cache is not None:
            cache.advance([tokens.shape[1]] * len(tokens) if counts is None else counts.tolist())
        return logits if logits_at is not None else None

    def forward_from(
        self,
        layer: SupportsIndex,
        resid: Float[Tensor, "batch tokens d_model"],
        *,
        logits_at: LogitsAt = "all",
        hooks: Sequence[Hook] = (),
    ) -> Float[Tensor, "batch positions vocab"] | None:
        """Run the layers from one on, over the residual stream that it reads; what is below is not run again.

        What the contexts of this thread record and replace takes part, from that layer on.

        Args:
            layer: the first layer that runs; the number of layers: only the read-out.
            resid: the residual stream at the end of the layer before (RESID_POST_MLP; for layer 0
                RESID_POST_EMBEDDING), of whole prompts of one length.
            logits_at, hooks: as for a pass over tokens.

        Returns:
            Logits, shape (batch, tokens or 1, vocab), or None.

        Raises:
            InvalidRequestError: the layer is out of range, or `resid` has another shape, dtype or device.

        >>> import torch
        >>> import neuron_explainer as ne
        >>> model = ne.load_model("tiny", device="cpu")
        >>> transformer, tokens = model.get_or_create_model(), model.to_tokens("Once upon a time")
        >>> with transformer.record([("resid_post_mlp", 1)]) as recording:
        ...     logits = transformer(tokens)
        >>> torch.equal(transformer.forward_from(2, recording["resid_post_mlp", 1]), logits)
        True
        """
        first = checked_number("layer", layer, 0, at_most=self.config.n_layers)
        checked_type("resid", resid, torch.Tensor)
        if resid.ndim != 3 or resid.shape[-1] != self.config.d_model or 0 in resid.shape:
            raise InvalidRequestError(
                f"resid has shape {tuple(resid.shape)}; it must be (batch, tokens, {self.config.d_model})."
            )
        if (resid.dtype, resid.device) != (self.dtype, self.device):
            raise InvalidRequestError(
                f"resid is {resid.dtype} on {resid.device}, and the model {self.dtype} on {self.device}. Match it."
            )
        if resid.shape[1] > self.config.max_context_length:
            raise InvalidRequestError(
                f"resid has {resid.shape[1]:,} tokens; the model reads at most {self.config.max_context_length:,}."
            )
        plan_before = self._hooks.running
        plan = self._hooks.begin_pass(hooks)
        try:
            if plan.gradients and torch.is_inference_mode_enabled():
                resid = _differentiable(resid)
            with torch.inference_mode(torch.is_inference_mode_enabled() and not plan.gradients):
                span = Span(resid.shape[1], self.device)
                with plan.reading(span), torch.set_grad_enabled(plan.gradients), self._weights_in_use(plan):
                    logits = self._run_from(first, resid, span, logits_at, None, plan)
        finally:
            self._hooks.end_pass(plan_before)
        return logits if logits_at is not None else None

    def _run(
        self, tokens: Tensor, counts: Tensor | None, logits_at: LogitsAt, cache: KeyValueCache | None, plan: TapPlan
    ) -> Tensor | None:
        if cache is not None and plan.gradients:
            raise InvalidRequestError("Gradients need the whole prompt in one pass. Leave the cache out.")
        span = Span(tokens.shape[1], self.device, cache)
        with plan.reading(span), torch.set_grad_enabled(plan.gradients), self._weights_in_use(plan):
            resid = self._embedded(tokens.to(self.device, non_blocking=True), span, plan)
            return self._run_from(0, resid, span, logits_at, counts, plan)

    def _weights_in_use(self, plan: TapPlan) -> AbstractContextManager[None]:
        return weights_in_use(self._on_disk, plan.gradients)

    def _run_from(
        self, first: int, resid: Tensor, span: Span, logits_at: LogitsAt, counts: Tensor | None, plan: TapPlan
    ) -> Tensor | None:
        computes_logits = logits_at is not None or plan.needs_logits
        n_layers = self.config.n_layers if computes_logits else plan.last_layer + 1
        watch = watch_of_pass()
        for layer in range(first, n_layers):
            watch.at_layer(resid, layer, n_layers)
            resid = self.blocks[layer](resid, span, plan.taps(layer))
        watch.at_layer(resid, n_layers, n_layers)
        reads_out = computes_logits or plan.needs_final_norm
        return self._read_out(resid, logits_at, counts, plan) if reads_out else None

    def embed(
        self, tokens: Int[Tensor, "batch tokens"], position_ids: Int[Tensor, "rows tokens"] | None = None
    ) -> Float[Tensor, "batch tokens d_model"]:
        """RESID_POST_EMBEDDING: token plus position embeddings, if any. Positions are 0, 1, … unless given."""
        resid = scaled_embedding(self._embeddings(tokens), self.config)
        if self.position_embedding is None:
            return resid
        if position_ids is None:
            return resid + self.position_embedding[: tokens.shape[1]]
        return resid + self.position_embedding[position_ids]

    def unembed(self, normed: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes vocab"]:
        """Logits from the final norm's output, scaled and soft-capped if the family does so."""
        logits = nn.functional.linear(normed, self.unembedding_weight, self.unembedding_bias)
        if self.config.logits_scale != 1:
            logits = logits * self.config.logits_scale
        softcap = self.config.logits_softcap
        return logits if softcap is None else (logits / softcap).tanh() * softcap

    def _embeddings(self, tokens: Tensor) -> Float[Tensor, "batch tokens d_model"]:
        if isinstance(self._parameters, DiskParameters):
            return self._parameters.rows("embedding", tokens)
        return nn.functional.embedding(tokens, self.embedding)

    def _embedded(self, tokens: Tensor, span: Span, plan: TapPlan) -> Tensor:
        embedded = self.embed(tokens, None if span.is_whole_prompt else span.position_ids)
        return at_place(plan.taps(None), _PLACE.RESID_POST_EMBEDDING, embedded)

    def _read_out(self, resid: Tensor, logits_at: LogitsAt, counts: Tensor | None, plan: TapPlan) -> Tensor | None:
        taps = plan.taps(None)
        norm_is_tapped = not _FINAL_NORM_PLACES.isdisjoint(taps)
        if not norm_is_tapped:
            resid = at_positions(resid, logits_at, counts)
        normed = self.final_norm.tapped(
            resid, taps, _PLACE.RESID_FINAL_LAYER_NORM_SCALE, _PLACE.RESID_POST_FINAL_LAYER_NORM
        )
        if logits_at is None and not plan.needs_logits:
            return None
        if norm_is_tapped:
            normed = at_positions(normed, logits_at, counts)
        return at_place(taps, _PLACE.LOGITS, self.unembed(normed))


def _differentiable(argument: Any) -> Any:
    """What is made in inference mode cannot be saved for a backward pass, token ids included; a copy can."""
    return differentiable(argument) if isinstance(argument, Tensor) else argument
