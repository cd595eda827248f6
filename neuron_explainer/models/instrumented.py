"""What every instrumented model offers: recordings and interventions, as contexts or for a single pass."""

from collections.abc import Iterable

from torch import Tensor, nn

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.hooks.applied_at import InterventionFunction
from neuron_explainer.models.hooks.contexts import HookContext, Hooks
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import Recording, name_of
from neuron_explainer.models.hooks.taps import PlaceRequest, at_place, resolve_places
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.checks import LayersGiven
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


class Instrumented(nn.Module):
    """A model whose passes can be recorded and intervened on.

    Args:
        config: sizes and options.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self._hooks = Hooks(config.n_layers)

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

    @property
    def has_open_contexts(self) -> bool:
        """Whether a recording or an intervention takes part in this thread's passes."""
        return bool(self._hooks.entered())

    def intervene(
        self,
        place: ActivationLocationType | str,
        layer: LayersGiven,
        fn: InterventionFunction,
        *,
        pass_type: PassType | str = PassType.FORWARD,
        after_recording: bool = False,
        notes_change: bool = True,
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
                may change the tensor in place; recordings do not see that. A function of which two arguments must be
                given is given where it is applied as well: `at.layer`, `at.place`, and `at.positions`, the tokens'
                positions in their texts, shape (rows, tokens), which are the same with and without a cache.
            pass_type: BACKWARD replaces the gradient with respect to the tensor; everything upstream and recordings see
                the new gradient.
            after_recording: recordings see the tensor before this intervention. (An autoencoder that runs within the
                pass does this: it sees what is recorded, and can give its latents a place by `at_place`.)
            notes_change: whether the intervention's `changed` tells if it changed any number, and whether the end of
                the context warns of one that did not. Noting copies and compares the tensor, and never makes a pass
                wait for a GPU; the end of the context waits.

        Returns:
            A context manager that gives the `Intervention`.

        Warns:
            UnchangedByInterventionWarning: when the context ends, if the intervention changed no number.

        Raises:
            UnknownNameError: the place or the pass type is unknown.
            InvalidRequestError: the model does not have a layer, a layer is given for a place without layers, `fn` is
                not a function of one or two arguments, or `after_recording` is set with BACKWARD.
            InterventionNeverFiredError: when the context ends, if the intervention was never applied.
        """
        intervention = self.intervention(
            place, layer, fn, pass_type=pass_type, after_recording=after_recording, notes_change=notes_change
        )
        return HookContext(self._hooks, intervention)

    def intervention(
        self,
        place: ActivationLocationType | str,
        layer: LayersGiven,
        fn: InterventionFunction,
        *,
        pass_type: PassType | str = PassType.FORWARD,
        after_recording: bool = False,
        notes_change: bool = False,
    ) -> Intervention:
        """An intervention to hand to a forward pass as one of its `hooks`. Args and errors are those of `intervene`.

        With `notes_change` its `changed` tells afterwards whether it changed any number. It never warns.
        """
        direction = member_of(PassType, pass_type, "pass type")
        if direction is PassType.BACKWARD and after_recording:
            raise InvalidRequestError(
                "A BACKWARD intervention always changes what is recorded. Leave after_recording out."
            )
        if not callable(fn):
            raise InvalidRequestError(
                f"fn is {shown(fn)}. Give a function of the tensor, or of the tensor and where it is."
            )
        places = resolve_places([(place, layer)], self.config.n_layers)
        return Intervention(places, fn, direction, after_recording, notes_change)

    def at_place(self, place: ActivationLocationType, layer: int | None, tensor: Tensor) -> Tensor:
        """A tensor after the recordings and interventions at a place; for interventions that have places of their own.

        An online autoencoder, which is an intervention, passes its latents and its error through here. So they are
        recorded and intervened on like any place of the model. Outside of a pass nothing happens to the tensor.
        """
        plan = self._hooks.running
        return tensor if plan is None else at_place(plan.taps(layer), place, tensor)
