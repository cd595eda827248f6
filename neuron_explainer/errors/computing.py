"""Errors of recording, intervening, autoencoders and derived scalars."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from neuron_explainer.errors.base import (
    InvalidRequestError,
    MisconfiguredError,
    NeuronExplainerError,
    UnknownNameError,
)
from neuron_explainer.wording import choices_sentence, no_layer


class NotRecordedError(NeuronExplainerError, KeyError):
    """The recording does not hold the tensor that was asked for."""

    def __str__(self) -> str:  # KeyError would show the message's repr
        return str(self.args[0])


class InterventionNeverFiredError(NeuronExplainerError, RuntimeError):
    """The context of an intervention ended before the intervention was applied."""


class InterventionResultError(NeuronExplainerError, ValueError, TypeError):
    """An intervention returned something that cannot replace the tensor it was given."""


class StoppedError(NeuronExplainerError, RuntimeError):
    """A person, or newer work, stopped the work before its end."""

    def __init__(self, message: str = "The work was stopped before its end.") -> None:
        super().__init__(message)


class PromptError(InvalidRequestError):
    """The model cannot run the prompt: it is empty, too long, or has token ids outside the vocabulary."""


class AutoencoderFormatError(InvalidRequestError):
    """An autoencoder's file lacks a tensor, has a tensor of the wrong shape, or needs an unsupported feature."""


class AutoencoderMismatchError(MisconfiguredError):
    """An autoencoder was trained on another model, place or layer than it is used with."""


class UnmetNeedError(MisconfiguredError):
    """A derived scalar needs something that was not given. "This" at the start of the message stands for the scalar."""

    @staticmethod
    @contextmanager
    def of(scalar: str) -> Iterator[None]:
        """Within this context, the message of such an error names the derived scalar."""
        try:
            yield
        except UnmetNeedError as error:
            error.args = (re.sub("^This ", f"{scalar} ", str(error)),)
            raise


class NothingToDifferentiateError(UnmetNeedError):
    """Gradients were requested without a loss or a trace to differentiate."""


class MissingSettingError(UnmetNeedError):
    """A derived scalar needs a setting that the DstConfig lacks. `field` is the name of the setting."""

    def __init__(self, field: str, need: str, remedy: str | None = None) -> None:
        self.field = field
        super().__init__(f"This needs {need}. " + (remedy or f"Set DstConfig's `{field}`."))


class NotAtHandError(MisconfiguredError):
    """What a component is asked for needs something that it was made without. `missing` is the argument that gives it.

    >>> print(NotAtHandError("L5N131.writes()", "model", "a model"))
    L5N131.writes() needs a model, and no model is at hand: pass model=, as in ne.component(…, model=…).
    """

    def __init__(self, asked: str, missing: str, need: str, remedy: str | None = None) -> None:
        self.missing = missing
        words = need.removeprefix("a ").removeprefix("an ")
        remedy = f"pass {missing}=, as in ne.component(…, {missing}=…)" if remedy is None else remedy
        verb = "are" if words.endswith("s") else "is"
        super().__init__(f"{asked} needs {need}, and no {words} {verb} at hand: {remedy}.")


class NodeNameError(UnknownNameError, ValueError):
    """A text is not the name of one node, or not of one in the prompt. `choices` lists the names that it may mean."""

    @classmethod
    def saying(cls, message: str, asked: str, choices: Iterable[str] = ()) -> "NodeNameError":
        """The error with that message.

        >>> print(NodeNameError.saying("'23:3' can be read as L23H3 or L23N3.", "23:3", ["L23H3", "L23N3"]))
        '23:3' can be read as L23H3 or L23N3.
        """
        error = cls("node", asked, ())
        error.choices = list(choices)
        error._say_instead(message)
        return error


class MalformedStoreError(NeuronExplainerError, ValueError):
    """A file is not a valid file of derived scalars (or another `kind` of results).

    `source` is the file; `problem` says what is wrong; `kind` is the kind of file that was expected.
    """

    def __init__(self, source: str, problem: str, kind: str = "file of derived scalars") -> None:
        self.source = source
        self.problem = problem
        self.kind = kind
        super().__init__(f"{source} is not a valid {kind}: {problem}.")


class NotDerivedError(UnknownNameError):
    """A result was asked for that was not derived. `choices` lists what was derived."""

    @classmethod
    def of_layer(cls, subject: str, layer: object, derived: Iterable[int | None]) -> "NotDerivedError":
        """The error for a layer that was not derived.

        >>> print(NotDerivedError.of_layer("mlp_post_act", 9, range(4)))
        mlp_post_act has no layer 9; derived: 0–3.
        """
        layers = list(derived)
        message = no_layer(subject, layer, (number for number in layers if number is not None), "derived")
        return cls._saying(message, cls(f"layer of {subject}", str(layer), map(str, layers)))

    @classmethod
    def of_scalar(cls, scalar: str, derived: Iterable[str], is_gradient: bool = False) -> "NotDerivedError":
        """The error for a scalar that was not derived, or whose gradient was not.

        >>> print(NotDerivedError.of_scalar("mlp_write", ["mlp_write_norm"]))
        mlp_write was not derived. Choose one of: mlp_write_norm.
        """
        error = cls("derived scalar", scalar, derived)
        if not is_gradient:
            return cls._saying(f"{scalar} was not derived. {choices_sentence(error.choices)}", error)
        gradients = (
            choices_sentence(error.choices)
            if error.choices
            else "Set DstConfig's `derive_gradients`. If it is set: what is computed after the pass has no gradient, "
            "only activations of the pass (such as mlp_post_act or online_autoencoder_latent) do."
        )
        return cls._saying(f"The gradient of {scalar} was not derived. {gradients}", error)

    @classmethod
    def of_pass(cls, pass_type: str) -> "NotDerivedError":
        """The error for a pass of which nothing was derived.

        >>> print(NotDerivedError.of_pass("backward"))
        Nothing of the backward pass was derived. Set DstConfig's `derive_gradients`.
        """
        hint = " Set DstConfig's `derive_gradients`." if pass_type == "backward" else ""
        return cls._saying(f"Nothing of the {pass_type} pass was derived.{hint}", cls("pass", pass_type, ()))

    @staticmethod
    def _saying(message: str, error: "NotDerivedError") -> "NotDerivedError":
        error._say_instead(message)
        return error
