"""`ne.steer`: a direction at layers and positions, while the model reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, as_config
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, read_prompt
from neuron_explainer.attribution.question.question import PromptGiven
from neuron_explainer.attribution.question.settings import AutoencodersGiven, with_autoencoders
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.experiments.steering.answers import SteeredAnswer, SteeredAnswers
from neuron_explainer.experiments.steering.change import (
    SteeredPositions,
    SteeringMode,
    read_mode,
    read_steered_positions,
    steering_function,
)
from neuron_explainer.experiments.steering.direction import SteeringDirection, unit
from neuron_explainer.experiments.steering.reading import Reading, read_text
from neuron_explainer.experiments.steering.sources import DirectionGiven, steering_direction
from neuron_explainer.experiments.steering.writing import continuations, end_tokens
from neuron_explainer.models.generation.sampling import Sampling, check_sampling
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import LayersGiven, checked_flag, checked_number, finite_number, is_several
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.wording import number_ranges

if TYPE_CHECKING:
    import pandas

StrengthsGiven = SupportsFloat | Iterable[SupportsFloat] | None
_RESIDUAL = ActivationLocationType.RESID_POST_MLP
_LONGEST = 2**40  # tokens of a prompt, whatever the model reads


def steer(
    model: ConfigOrModel,
    direction: DirectionGiven,
    *,
    layers: LayersGiven = None,
    positions: SteeredPositions = None,
    mode: SteeringMode = "add",
    strength: SupportsFloat | None = None,
    freeze_attention: bool = False,
    autoencoders: AutoencodersGiven = None,
) -> Steering:
    """Steer a model along a direction of its residual stream. Nothing runs until the result is asked.

    With r the residual stream at the end of a layer, v the direction, u the unit vector along it, and s the strength, a
    steered token goes on with

    - "add": r + s v
    - "project_out": r - s (r · u) u; with s = 1 nothing is left along the direction
    - "clamp": r + (s - r · u) u, so that the coefficient along u is s

    computed in float32 at least, and rounded to the model's dtype.

    Args:
        model: the model, or a DstConfig with a model and autoencoders.
        direction: a SteeringDirection, or what `ne.steering_direction` makes one from: pairs of prompts, a neuron or
            latent such as "L5N131", a tensor, a dict of tensors by layer, or a .gguf file.
        layers: one layer or several; None: the direction's usual ones. At several layers, each changes what the one
            below has changed already.
        positions: which tokens are steered: None for all; positions in the text from 0, negative ones from the
            prompt's end; or "generated", those after the prompt. (Then the first new token is chosen as without the
            direction: what chooses it is the prompt's last token.) Positions are the same with a cache and without.
        mode: what is done with the direction.
        strength: s, where a call gives no strengths; None: 1. "clamp" needs one.
        freeze_attention: attention patterns are those of the run without the direction, over the same text, in all
            heads above the first steered layer: the direction acts through values, MLPs and the residual stream alone.
            That is defined where a whole text is read (`logits`, `log_probability`), not for `generate` and `applied`,
            where the tokens that follow would be others without the direction.
        autoencoders: of latents, as `ne.load_autoencoders` gives them.

    Raises:
        InvalidRequestError: an argument is invalid, the direction is 0, or as `ne.steering_direction`, whose other
            errors are raised too.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny", device="cpu")
    >>> steering = ne.steer(model, ne.steering_direction(model, token=" king"), strength=4)
    >>> steering
    <Steering: add the unembedding of ' king' at layer 2, strength 4>
    >>> table = steering.log_probability("The son of the", " king", strengths=[-4, 4])
    >>> bool(table["change"][2] > 0 > table["change"][1])
    True
    """
    chosen_mode = read_mode(mode)
    config = with_autoencoders(as_config(model, "model"), autoencoders)
    made = steering_direction(config, direction, layers=layers)
    number = 1.0 if strength is None else finite_number(strength)
    if number is None:
        raise InvalidRequestError(f"strength is {shown(strength)}. Give a finite number.")
    has_strength = strength is not None or chosen_mode != "clamp"
    for layer in made.usual_layers:
        unit(made.at(layer), layer)  # refuses 0
    return Steering(
        config.get_model_context(),
        made,
        read_steered_positions(positions),
        chosen_mode,
        number if has_strength else None,
        checked_flag("freeze_attention", freeze_attention),
    )


class Steering:
    """A model that can be steered along a direction; `ne.steer` makes it.

    Attributes:
        model: the model.
        direction: the direction, whose `usual_layers` are the steered ones.
        positions: which tokens are steered.
        mode: what is done with the direction.
        strength: where a call gives none; None: it must.
        freeze_attention: whether attention patterns are those without the direction.
    """

    def __init__(
        self,
        model: ModelContext,
        direction: SteeringDirection,
        positions: Any,
        mode: SteeringMode,
        strength: float | None,
        freeze_attention: bool,
    ) -> None:
        self.model = model
        self.direction = direction
        self.positions = positions
        self.mode = mode
        self.strength = strength
        self.freeze_attention = freeze_attention

    @property
    def layers(self) -> tuple[int, ...]:
        """The steered layers."""
        return self.direction.usual_layers

    @contextmanager
    def applied(
        self, *, strength: SupportsFloat | None = None, n_prompt: SupportsIndex | None = None
    ) -> Iterator[Intervention]:
        """Within this context every pass of this thread is steered: generation, `ne.derive`, `ne.attribute`.

        Args:
            strength: None: the steering's own.
            n_prompt: how many tokens the prompt has, where the steered positions depend on that.

        Returns:
            A context manager that gives the `Intervention`, whose `changed` tells whether a number changed (None where
            there would be no warning).

        Raises:
            InvalidRequestError: the strength is invalid, attention is to be frozen, or positions depend on a prompt.
            InterventionNeverFiredError: when the context ends, if no pass reached the layers.

        Warns:
            UnchangedByInterventionWarning: when the context ends, if no number was changed. Not where the strength is
                0, nor of generated tokens, of which there may be none.

        >>> import neuron_explainer as ne
        >>> model = ne.load_model("tiny", device="cpu")
        >>> with ne.steer(model, "L2N5").applied(strength=20):
        ...     text = model.generate("Once upon a time", max_new_tokens=3)
        """
        self._check_not_frozen("applied")
        if strength is not None and finite_number(strength) is None:
            raise InvalidRequestError(f"strength is {shown(strength)}. Give one finite number.")
        (number,) = self._strengths(strength)
        prompt_length = None if n_prompt is None else checked_number("n_prompt", n_prompt, at_most=_LONGEST)
        fn = steering_function(self.mode, self._on_device(), [number], self.positions, prompt_length)
        # A strength of 0 is a comparison's baseline, and a text may end before there are tokens after the prompt.
        notes = (number != 0 or self.mode == "clamp") and not self.positions.only_generated
        transformer = self.model.get_or_create_model()
        with transformer.intervene(_RESIDUAL, self.layers, fn, notes_change=notes) as intervention:
            yield intervention

    def logits(
        self, prompt: PromptGiven, *, strengths: StrengthsGiven = None, prepend_bos: bool | None = None
    ) -> Float[Tensor, "strengths tokens vocab"]:
        """The logits of a prompt, without the direction and with it.

        Args:
            prompt: a text, messages, or token ids.
            strengths: one or several; None: the steering's own.
            prepend_bos: for a text, whether its tokens begin with the beginning-of-sequence token; None: as the
                model's tokenizer does.

        Returns:
            The logits without the direction, then those with each strength.

        Raises:
            PromptError: the prompt is malformed.
            InvalidRequestError, IndexOutOfRangeError: a strength or a position is invalid.
        """
        read = read_prompt(self.model, prompt, prepend_bos)
        reading = self._reading(read.token_ids, len(read.token_ids), self._strengths(strengths))
        return torch.cat([logits for _, logits in reading.logits()])

    def log_probability(
        self,
        prompt: PromptGiven,
        text: str | Sequence[int],
        *,
        strengths: StrengthsGiven = None,
        prepend_bos: bool | None = None,
    ) -> pandas.DataFrame:
        """How likely a text is after a prompt, without the direction and with it.

        Args:
            prompt: a text, messages, or token ids.
            text: what may follow; as text (its tokens are appended to the prompt's; mind its leading space) or token
                ids.
            strengths: one or several, in one batch where memory allows; None: the steering's own.
            prepend_bos: as for `logits`.

        Returns:
            A row for each strength, the first without the direction: `strength` (NaN in the first),
            `log_probability`, the sum over the text's tokens of ln p(token | what is before), `change` against the
            first row, and `n_tokens`.

        Raises:
            PromptError: the prompt is malformed, or too long together with the text.
            InvalidRequestError, IndexOutOfRangeError: the text, a strength or a position is invalid.
        """
        import pandas

        numbers = self._strengths(strengths)
        found = self._log_probabilities(read_prompt(self.model, prompt, prepend_bos), text, numbers)
        n_tokens = len(read_text(self.model, text))
        return pandas.DataFrame(
            {
                "strength": [float("nan"), *numbers],
                "log_probability": found,
                "change": [number - found[0] for number in found],
                "n_tokens": n_tokens,
            }
        )

    def generate(
        self,
        prompt: PromptGiven,
        *,
        max_new_tokens: SupportsIndex = 20,
        strengths: StrengthsGiven = None,
        text: str | Sequence[int] | None = None,
        sampling: Sampling | None = None,
        prepend_bos: bool | None = None,
        progress: bool | None = None,
    ) -> SteeredAnswers:
        """Continue a prompt without the direction and with it, side by side.

        Args:
            prompt: a text, messages, or token ids.
            max_new_tokens: the largest number of new tokens.
            strengths: one or several; None: the steering's own. The likeliest tokens of all are generated in one batch
                where memory allows; sampled ones one after the other, each with the same random numbers.
            text: a text whose log-probability after the prompt is given beside the answers; see `log_probability`.
            sampling: how tokens are chosen; None: the likeliest.
            prepend_bos: as for `logits`.
            progress: whether there is a bar; None: on a terminal or in a notebook.

        Raises:
            PromptError: the prompt is malformed, or too long for that many new tokens.
            InvalidRequestError: attention is to be frozen; a strength, a position or another argument is invalid; or a
                strength is so large that logits are NaN.

        >>> import neuron_explainer as ne
        >>> steering = ne.steer(ne.load_model("tiny", device="cpu"), "L2N5")
        >>> answers = steering.generate("Once upon a time", max_new_tokens=4, strengths=[5, 10])
        >>> answers.to_dataframe()["strength"].tolist()
        [nan, 5.0, 10.0]
        """
        self._check_not_frozen("generate")
        numbers = self._strengths(strengths)
        if sampling is not None:
            check_sampling(sampling)
        read = read_prompt(self.model, prompt, prepend_bos)
        known: list[float | None] = [None] * (len(numbers) + 1)
        if text is not None:
            known = [*self._log_probabilities(read, text, numbers)]
        texts = continuations(
            self.model,
            read.token_ids,
            [None, *numbers],
            lambda rows, n_tokens: steering_function(
                self.mode, self._on_device(), rows, self.positions, len(read.token_ids), n_tokens
            ),
            self.layers,
            checked_number("max_new_tokens", max_new_tokens),
            sampling,
            progress,
        )
        stops = frozenset(end_tokens(self.model))
        rows = tuple(
            SteeredAnswer(
                number, self.model.decode([token for token in ids if token not in stops]), tuple(ids), likelihood
            )
            for number, ids, likelihood in zip([None, *numbers], texts, known, strict=True)
        )
        asked = text if text is None or isinstance(text, str) else self.model.decode(read_text(self.model, text))
        return SteeredAnswers(tuple(read.token_strings), self._where(), self.mode, rows, asked)

    def _log_probabilities(self, prompt: Prompt, text: Any, numbers: Sequence[float]) -> list[float]:
        ids = [*prompt.token_ids, *read_text(self.model, text)]
        read_prompt(self.model, ids)  # refuses what is too long
        reading = self._reading(ids, len(prompt.token_ids), numbers)
        return [found for _, logits in reading.logits() for found in reading.log_probabilities(logits)]

    def _reading(self, token_ids: Sequence[int], n_prompt: int, numbers: Sequence[float]) -> Reading:
        return Reading(
            self.model,
            list(token_ids),
            n_prompt,
            [None, *numbers],
            lambda rows: steering_function(
                self.mode, self._on_device(), rows, self.positions, n_prompt, len(token_ids)
            ),
            self.layers,
            self.freeze_attention,
        )

    def _on_device(self) -> dict[int, Tensor]:
        device = self.model.get_or_create_model().device
        return {layer: self.direction.at(layer).to(device) for layer in self.layers}

    def _strengths(self, given: StrengthsGiven) -> list[float]:
        if given is None:
            if self.strength is None:
                raise InvalidRequestError(
                    'mode="clamp" holds the coefficient along the direction at the strength. Give one.'
                )
            return [self.strength]
        single = finite_number(given)
        several = [given] if single is not None else list(given) if is_several(given) else []
        numbers = [finite_number(each) for each in several]
        if not numbers or None in numbers or isinstance(given, str | bytes | bytearray):
            raise InvalidRequestError(f"The strength is {shown(given)}. Give a finite number, or several for a sweep.")
        return [number for number in numbers if number is not None]

    def _check_not_frozen(self, asked: str) -> None:
        if self.freeze_attention:
            raise InvalidRequestError(
                f"freeze_attention is set, and {asked} cannot keep the patterns of a run without the direction: it "
                "would be over other tokens. Use logits or log_probability, or leave freeze_attention out."
            )

    def _where(self) -> str:
        return f"{self.direction.source} at layer{'' if len(self.layers) == 1 else 's'} {number_ranges(self.layers)}"

    def __repr__(self) -> str:
        strength = "" if self.strength is None else f", strength {self.strength:g}"
        frozen = ", attention frozen" if self.freeze_attention else ""
        return f"<Steering: {self.mode} {self._where()}{strength}{frozen}>"
