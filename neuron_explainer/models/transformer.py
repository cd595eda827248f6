"""One instrumented transformer for every supported family."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.families.fill_parameters import fill_parameters
from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.hooks.taps import Hooks, PlaceRequest, TapPlan, at_place, resolve_places
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.norms import build_norm
from neuron_explainer.models.layers.rotary import RotaryEmbedding
from neuron_explainer.models.layers.span import Span
from neuron_explainer.models.layers.token_checks import check_tokens, lengths_of_prompts
from neuron_explainer.models.layers.unfilled import fill, unfilled
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

LogitsAt = Literal["all", "last"] | Int[Tensor, "prompts"] | None

_PLACE = ActivationLocationType
_FINAL_NORM_PLACES = frozenset({_PLACE.RESID_FINAL_LAYER_NORM_SCALE, _PLACE.RESID_POST_FINAL_LAYER_NORM})


class Transformer(nn.Module):
    """A decoder-only language model whose every place can be recorded and intervened on.

    Weights never require grad: gradients are with respect to activations. Matrices are (outputs, inputs).

    Attributes:
        config: sizes and choices.
        blocks: the layers; see `Block` for the pieces that each can compute alone.
        final_norm: the norm before the unembedding, a function of the residual stream (`detach_scale=True` holds its
            scale constant).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        rotary = None if config.rotary is None else RotaryEmbedding(config.rotary)
        self.embedding = unfilled(config.vocab_size, config.d_model)
        self.position_embedding = (
            unfilled(config.max_context_length, config.d_model) if config.learned_positions else None
        )
        blocks = nn.ModuleList(Block(config, layer, rotary) for layer in range(config.n_layers))
        self.blocks = cast(Sequence[Block], blocks)
        self.final_norm = build_norm(config, config.d_model)
        self.unembedding = None if config.tied_unembedding else unfilled(config.vocab_size, config.d_model)
        self.unembedding_bias = unfilled(config.vocab_size) if config.unembedding_bias else None
        self._hooks = Hooks(config.n_layers)

    @classmethod
    def from_hf_config_and_tensors(
        cls,
        hf_config: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "Transformer":
        """A model of a Hugging Face config and its tensors, whose memory is shared unless moved or cast.

        Args:
            hf_config: the entries of `config.json` (a transformers model's `config.to_dict()`).
            tensors: by name, as in a checkpoint or a transformers model's `state_dict()`; may read when asked.
            device: where the weights are to be; None leaves each where it is.
            dtype: what they are to be; None leaves each as it is.

        Raises:
            CheckpointError: the family is not supported, or tensors are missing, unexpected or misshapen.
        """
        family = family_of(hf_config)
        model = cls(family.config(hf_config))
        fill_parameters(model, family, model.config, tensors, device=device, dtype=dtype)
        return model

    @classmethod
    def with_random_weights(
        cls,
        config: TransformerConfig,
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "Transformer":
        """A model of any config with small random weights (standard deviation 0.02; gains near their neutral value)."""
        model = cls(config)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in list(model.named_parameters()):
            numbers = torch.randn(parameter.shape, generator=generator) * 0.02
            if name.endswith("gain"):
                numbers += 1.0 if "_norm.gain" in name and not config.norm_gain_offset else 0.0
            fill(model, name, numbers.to(device=device, dtype=dtype))
        return model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights and activations are."""
        return self.embedding.dtype

    @property
    def unembedding_weight(self) -> Float[Tensor, "vocab d_model"]:
        """The unembedding: its own, or the embedding where the two are tied."""
        return self.embedding if self.unembedding is None else self.unembedding

    def forward(
        self,
        tokens: Int[Tensor, "batch tokens"],
        *,
        attention_mask: Bool[Tensor, "batch tokens"] | None = None,
        logits_at: LogitsAt = "all",
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch positions vocab"] | None:
        """Run the model over token ids.

        Args:
            tokens: ids, shape (batch, tokens), padded on the right with any valid id.
            attention_mask: True for real tokens, False for padding, which must come last. Since a token attends to
                earlier ones alone, padding cannot change what is computed for real tokens, and what is computed for
                padding is of no meaning. A mask on the CPU costs a GPU no synchronisation.
            logits_at: where logits are computed: "all" positions, the "last" real token of each prompt, the given
                position of each prompt, or None: nowhere; then layers above the last one that is recorded or
                intervened on are not run, and None is returned.
            cache: keys and values of earlier tokens, extended by this pass.

        Returns:
            Logits, shape (batch, tokens or 1, vocab), or None.

        Raises:
            PromptError: no tokens, too many, ids outside of the vocabulary, or padding that does not come last.
            InvalidRequestError: gradients are to be recorded of a pass with a cache.
        """
        n_earlier = max(cache.lengths, default=0) if cache is not None else 0
        check_tokens(tokens, n_earlier, self.config.vocab_size, self.config.max_context_length)
        counts = None if attention_mask is None else lengths_of_prompts(attention_mask, tokens.shape)
        plan = self._hooks.begin_pass()
        if cache is not None:
            cache.check_batch(len(tokens))
            if plan.gradients:
                raise InvalidRequestError("Gradients need the whole prompt in one pass: leave the cache out.")
        with torch.set_grad_enabled(plan.gradients):
            span = Span(tokens.shape[1], self.device, cache)
            resid = self._embedded(tokens.to(self.device, non_blocking=True), span, plan)
            wants_logits = logits_at is not None or plan.needs_logits
            n_layers = self.config.n_layers if wants_logits else plan.last_layer + 1
            for layer in range(n_layers):
                resid = self.blocks[layer](resid, span, plan.taps(layer))
            logits = self._read_out(resid, logits_at, counts, plan) if wants_logits or plan.needs_final_norm else None
        if cache is not None:
            cache.advance([tokens.shape[1]] * len(tokens) if counts is None else counts.tolist())
        return logits if logits_at is not None else None

    def record(
        self, places: Iterable[PlaceRequest] | ActivationLocationType, *, gradients: bool = False
    ) -> AbstractContextManager[Recording]:
        """Keep the tensors at some places of every forward pass within the context.

        Args:
            places: (place, layers) pairs, layers being an int, several, or None for all layers (or the only one); a
                place alone means all its layers.
            gradients: run with an autograd graph, so that `recording.backward(scalar)` gives the gradient at every
                recorded place. The graph starts at the first place recorded; nothing below it needs memory.

        Returns:
            A context manager that gives the `Recording`. Contexts can be nested and combined.

        Raises:
            InvalidRequestError: a place or layer that is not there.
        """
        return _recording_context(self._hooks, Recording(resolve_places(places, self.config.n_layers), gradients))

    def intervene(
        self,
        place: ActivationLocationType,
        layer: int | Iterable[int] | None,
        fn: Callable[[Tensor], Tensor],
        *,
        pass_type: PassType = PassType.FORWARD,
        after_recording: bool = False,
    ) -> AbstractContextManager[Intervention]:
        """Replace the tensor at a place, in every forward pass within the context.

        Args:
            place: where.
            layer: one layer, several, or None for all layers (or the only one).
            fn: given the tensor, shape (batch, *place.shape), returns what takes its place, of the same shape and
                dtype. It may change the tensor in place; recordings are not touched by that.
            pass_type: BACKWARD replaces the gradient with respect to the tensor, for what lies upstream and for
                recordings.
            after_recording: let recordings see the tensor as it was before this intervention. (An autoencoder that runs
                within the pass is one such: it sees what is recorded, and can give its latents a place by `at_place`.)

        Returns:
            A context manager that gives the `Intervention`.

        Raises:
            InvalidRequestError: a place or layer that is not there, or a BACKWARD intervention after recording.
            InterventionNeverFiredError: at exit, if it was never applied.
        """
        if pass_type == PassType.BACKWARD and after_recording:
            raise InvalidRequestError(
                "A BACKWARD intervention always changes what is recorded; leave after_recording out."
            )
        request = (place, layer)
        places = resolve_places([request], self.config.n_layers)
        return _intervention_context(self._hooks, Intervention(places, fn, pass_type, after_recording))

    def at_place(self, place: ActivationLocationType, layer: int | None, tensor: Tensor) -> Tensor:
        """A tensor after whatever is to happen at a place: for interventions that have places within themselves.

        An online autoencoder, entered as an intervention, passes its latents and its error through here, so that they
        are recorded and intervened on like any place of the model.
        """
        return at_place(self._hooks.plan.taps(layer), place, tensor)

    def embed(
        self, tokens: Int[Tensor, "batch tokens"], position_ids: Int[Tensor, "rows tokens"] | None = None
    ) -> Float[Tensor, "batch tokens d_model"]:
        """RESID_POST_EMBEDDING: token embeddings, and position embeddings where there are (0, 1, … unless given)."""
        resid = nn.functional.embedding(tokens, self.embedding)
        if self.config.embedding_scale != 1.0:
            # rounded to float32 first, as the scale of the released models is
            resid = resid * torch.tensor(self.config.embedding_scale, dtype=torch.float32).to(resid.dtype)
        if self.position_embedding is None:
            return resid
        if position_ids is None:
            return resid + self.position_embedding[: tokens.shape[1]]
        return resid + self.position_embedding[position_ids]

    def unembed(self, normed: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes vocab"]:
        """Logits of the final norm's output, soft-capped where the family does so."""
        logits = nn.functional.linear(normed, self.unembedding_weight, self.unembedding_bias)
        softcap = self.config.logits_softcap
        return logits if softcap is None else (logits / softcap).tanh() * softcap

    def _embedded(self, tokens: Tensor, span: Span, plan: TapPlan) -> Tensor:
        embedded = self.embed(tokens, None if span.is_whole_prompt else span.position_ids)
        return at_place(plan.taps(None), _PLACE.RESID_POST_EMBEDDING, embedded)

    def _read_out(self, resid: Tensor, logits_at: LogitsAt, counts: Tensor | None, plan: TapPlan) -> Tensor | None:
        taps = plan.taps(None)
        norm_is_looked_at = not _FINAL_NORM_PLACES.isdisjoint(taps)
        if not norm_is_looked_at:
            resid = _at_positions(resid, logits_at, counts)
        normed = self.final_norm.tapped(
            resid, taps, _PLACE.RESID_FINAL_LAYER_NORM_SCALE, _PLACE.RESID_POST_FINAL_LAYER_NORM
        )
        if logits_at is None and not plan.needs_logits:
            return None
        if norm_is_looked_at:
            normed = _at_positions(normed, logits_at, counts)
        return at_place(taps, _PLACE.LOGITS, self.unembed(normed))


def _at_positions(resid: Tensor, logits_at: LogitsAt, counts: Tensor | None) -> Tensor:
    """The residual stream at the positions whose logits are asked for."""
    if logits_at is None or (isinstance(logits_at, str) and logits_at == "all"):
        return resid
    if isinstance(logits_at, str):
        if logits_at != "last":
            raise InvalidRequestError(f'logits_at is {logits_at!r}; give "all", "last", None or a position a prompt.')
        if counts is None:
            return resid[:, -1:]
        logits_at = counts - 1
    if logits_at.shape != (len(resid),):
        raise InvalidRequestError(
            f"logits_at has shape {tuple(logits_at.shape)}; it must have one position for each of {len(resid)} prompts."
        )
    # positions on a GPU are not looked at: that would make the pass wait for it
    if logits_at.device.type == "cpu" and not ((logits_at >= 0) & (logits_at < resid.shape[1])).all():
        raise InvalidRequestError(f"logits_at is {logits_at.tolist()}; positions are from 0 to {resid.shape[1] - 1}.")
    rows = torch.arange(len(resid), device=resid.device)
    return resid[rows, logits_at.to(resid.device, non_blocking=True)][:, None]


@contextmanager
def _recording_context(hooks: Hooks, recording: Recording) -> Iterator[Recording]:
    with hooks.entered(recording):
        yield recording


@contextmanager
def _intervention_context(hooks: Hooks, intervention: Intervention) -> Iterator[Intervention]:
    with hooks.entered(intervention):
        yield intervention
    intervention.raise_if_never_fired()  # not reached when an exception is on its way
