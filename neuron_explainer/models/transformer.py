"""One instrumented transformer for every supported family."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, SupportsIndex, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype, differentiable
from neuron_explainer.models.families.fill_parameters import config_of_tensors, fill_parameters, uses_of_tensors
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.hooks.contexts import Hook, HookContext, Hooks
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import Recording, name_of
from neuron_explainer.models.hooks.taps import PlaceRequest, TapPlan, at_place, resolve_places
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
from neuron_explainer.vocabulary.checks import MOST_SEED, LayersGiven, checked_number, checked_type
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_FINAL_NORM_PLACES = frozenset({_PLACE.RESID_FINAL_LAYER_NORM_SCALE, _PLACE.RESID_POST_FINAL_LAYER_NORM})


class Transformer(nn.Module):
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
        super().__init__()
        self.config = checked_type("config", config, TransformerConfig)
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
        self._hooks = Hooks(config.n_layers)
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

    def _run(
        self, tokens: Tensor, counts: Tensor | None, logits_at: LogitsAt, cache: KeyValueCache | None, plan: TapPlan
    ) -> Tensor | None:
        if cache is not None and plan.gradients:
            raise InvalidRequestError("Gradients need the whole prompt in one pass. Leave the cache out.")
        with torch.set_grad_enabled(plan.gradients), weights_in_use(self._on_disk, plan.gradients):
            span = Span(tokens.shape[1], self.device, cache)
            resid = self._embedded(tokens.to(self.device, non_blocking=True), span, plan)
            computes_logits = logits_at is not None or plan.needs_logits
            n_layers = self.config.n_layers if computes_logits else plan.last_layer + 1
            watch = watch_of_pass()
            for layer in range(n_layers):
                watch.at_layer(resid, layer, n_layers)
                resid = self.blocks[layer](resid, span, plan.taps(layer))
            watch.at_layer(resid, n_layers, n_layers)
            reads_out = computes_logits or plan.needs_final_norm
            return self._read_out(resid, logits_at, counts, plan) if reads_out else None

    def record(
        self, places: Iterable[PlaceRequest] | PlaceRequest, *, gradients: bool = False
    ) -> HookContext[Recording]:
        """Record the tensors at some places in every forward pass within the context.

        Example:
            with transformer.record(["mlp_post_act", ("attn_qk_probs", [0, 3])]) as recording:
                transformer(tokens)
            recording["attn_qk_probs", 3]  # (batch, tokens, attended_to, heads)

        Args:
            places: one place or several, each alone (all its layers) or as a (place, layers) pair. A place is a member
                of `ActivationLocationType`, or its name or value; layers are one layer, several, or None for all. The
                name of a hook of TransformerLens, "blocks.5.mlp.hook_post", is a place with its layer.
            gradients: run with an autograd graph, so that `recording.backward(scalar)` gives the gradient at every
                recorded place. The graph starts at the first recorded place; nothing below it takes memory.

        Returns:
            A context manager that gives the `Recording`. Contexts can be nested and combined.

        Raises:
            UnknownNameError: a place is unknown.
            InvalidRequestError: the model does not have a layer, a layer is given for a place without layers, or it is
                not the hook's.
        """
        return HookContext(self._hooks, self.recording(places, gradients=gradients))

    def recording(self, places: Iterable[PlaceRequest] | PlaceRequest, *, gradients: bool = False) -> Recording:
        """A recording to hand to a forward pass as one of its `hooks`: it fills this recording and no other.

        Args and errors are those of `record`.

        >>> import neuron_explainer as ne
        >>> model = ne.load_model("tiny", device="cpu")
        >>> transformer = model.get_or_create_model()
        >>> recording = transformer.recording(["resid_post_mlp"])
        >>> logits = transformer(model.to_tokens("Once upon a time"), hooks=[recording])
        >>> recording.layers("resid_post_mlp")
        [0, 1, 2, 3]
        """
        return Recording(resolve_places(places, self.config.n_layers), gradients)

    @property
    def active_interventions(self) -> list[str]:
        """The places and layers of the interventions that take part in this thread's passes."""
        return [name_of(*key) for one in self._hooks.interventions() for key in sorted(one.places, key=str)]

    def intervene(
        self,
        place: ActivationLocationType | str,
        layer: LayersGiven,
        fn: Callable[[Tensor], Tensor],
        *,
        pass_type: PassType | str = PassType.FORWARD,
        after_recording: bool = False,
    ) -> HookContext[Intervention]:
        """Replace the tensor at a place in every forward pass within the context.

        Example:
            with transformer.intervene("mlp_post_act", 3, torch.zeros_like):  # ablate the MLP neurons of layer 3
                transformer(tokens)

        Args:
            place: a member of `ActivationLocationType`, or its name or value; or the name of a hook of TransformerLens,
                with None as layer.
            layer: one layer, several, or None for all (or for a place without layers).
            fn: takes the tensor, shape (batch, *place.shape), and returns the new one, of the same shape and dtype. It
                may change the tensor in place; recordings do not see that.
            pass_type: BACKWARD replaces the gradient with respect to the tensor; everything upstream and recordings see
                the new gradient.
            after_recording: recordings see the tensor before this intervention. (An autoencoder that runs within the
                pass does this: it sees what is recorded, and can give its latents a place by `at_place`.)

        Returns:
            A context manager that gives the `Intervention`.

        Raises:
            UnknownNameError: the place or the pass type is unknown.
            InvalidRequestError: the model does not have a layer, a layer is given for a place without layers, `fn` is
                not a function, or `after_recording` is set with BACKWARD.
            InterventionNeverFiredError: when the context ends, if the intervention was never applied.
        """
        intervention = self.intervention(place, layer, fn, pass_type=pass_type, after_recording=after_recording)
        return HookContext(self._hooks, intervention)

    def intervention(
        self,
        place: ActivationLocationType | str,
        layer: LayersGiven,
        fn: Callable[[Tensor], Tensor],
        *,
        pass_type: PassType | str = PassType.FORWARD,
        after_recording: bool = False,
    ) -> Intervention:
        """An intervention to hand to a forward pass as one of its `hooks`. Args and errors are those of `intervene`."""
        direction = member_of(PassType, pass_type, "pass type")
        if direction is PassType.BACKWARD and after_recording:
            raise InvalidRequestError(
                "A BACKWARD intervention always changes what is recorded. Leave after_recording out."
            )
        if not callable(fn):
            raise InvalidRequestError(f"fn is {shown(fn)}. Give a function of the tensor.")
        places = resolve_places([(place, layer)], self.config.n_layers)
        return Intervention(places, fn, direction, after_recording)

    def at_place(self, place: ActivationLocationType, layer: int | None, tensor: Tensor) -> Tensor:
        """A tensor after the recordings and interventions at a place; for interventions that have places of their own.

        An online autoencoder, which is an intervention, passes its latents and its error through here. So they are
        recorded and intervened on like any place of the model. Outside of a pass nothing happens to the tensor.
        """
        plan = self._hooks.running
        return tensor if plan is None else at_place(plan.taps(layer), place, tensor)

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
