"""The checks of a model beside its counterpart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from neuron_explainer.checking.alone.repeated import everything
from neuron_explainer.checking.alone.windows import long_probe
from neuron_explainer.checking.beside.counterpart import Counterpart, evaluating
from neuron_explainer.checking.beside.gradients import gradients_beside
from neuron_explainer.checking.beside.implementations import implementations
from neuron_explainer.checking.beside.norms import norms_beside
from neuron_explainer.checking.beside.precision import precision
from neuron_explainer.checking.beside.theirs import (
    UnobservableError,
    refuse_other_shapes,
    their_logits,
    their_places,
)
from neuron_explainer.checking.beside.tokenizers import tokens_beside
from neuron_explainer.checking.comparison import PlaceDifference, difference_at, finding_of, in_order, place_differences
from neuron_explainer.checking.copies import in_dtype, why_not_in
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.models.model_context import StandardModelContext

_ALLOWED_IN_EXACT = 1e-4
"""In float64, `transformers` rounds norms, rotations and softmax to float32 on the way."""
_THOROUGH = (torch.float32, torch.bfloat16, torch.float16)


@dataclass
class Beside:
    """A model and its counterpart, compared.

    Attributes:
        model, counterpart: the two.
        context: the model's, with its tokenizer, if there is one.
        places: after the comparison: a row for each place and layer.
        precision: what each dtype costs.
    """

    model: Transformer
    counterpart: Counterpart
    context: StandardModelContext | None = None
    places: pandas.DataFrame | None = None
    precision: pandas.DataFrame | None = None
    _exact: tuple[Transformer, Counterpart] | None = field(default=None, init=False)

    def parts(self, probe: Probe, thorough: bool) -> list[tuple[str, Callable[[], Iterable[Finding]]]]:
        """What is checked, in order.

        Args:
            probe: the prompts.
            thorough: whether all dtypes are looked at, and not the model's alone.
        """
        context = self.context
        own = () if self.model.dtype == torch.float64 else (self.model.dtype,)
        dtypes = [*own, *(each for each in _THOROUGH if thorough and each not in own)]
        return [
            *(
                [("tokens beside the counterpart", lambda: tokens_beside(context, self.counterpart.tokenizer))]
                if context is not None
                else []
            ),
            ("every place beside the counterpart", lambda: self._compared(probe)),
            ("norms alone", lambda: norms_beside(self._pair[0], self._pair[1].model, self._allowed)),
            (
                "gradients beside the counterpart",
                lambda: gradients_beside(self._pair[0], self._pair[1].model, probe, 10 * self._allowed),
            ),
            ("attention of the counterpart", lambda: self._implementations(probe)),
            *([("long prompts", self._long)] if thorough else []),
            ("precision", lambda: self._precision(probe, dtypes)),
        ]

    def _why_not_in(self, dtype: torch.dtype) -> str | None:
        """Why the two cannot be compared in a dtype; None if they can."""
        if self.model.dtype == self._their_dtype == dtype:
            return None
        if not self.counterpart.can_be_copied:
            return "the counterpart's forward method was replaced, so it cannot be copied"
        return why_not_in(dtype, self.model)

    @property
    def _their_dtype(self) -> torch.dtype:
        found: torch.dtype = next(self.counterpart.model.parameters()).dtype
        return found

    @property
    def _pair(self) -> tuple[Transformer, Counterpart]:
        return (self.model, self.counterpart) if self._exact is None else self._exact

    @property
    def _allowed(self) -> float:
        dtype = self._pair[0].dtype
        return _ALLOWED_IN_EXACT if dtype == torch.float64 else allowed_in(dtype)

    def _compared(self, probe: Probe) -> Iterator[Finding]:
        import pandas as pd

        reasons = []
        for dtype in (torch.float64, torch.float32):
            why_not = self._why_not_in(dtype)
            if why_not is None:
                self._exact = in_dtype(self.model, dtype), self.counterpart.in_dtype(dtype)
                break
            reasons.append(f"{str(dtype).removeprefix('torch.')}: {why_not}")
        if reasons:
            yield not_checked("more exact dtypes", f"Places are not compared in {'; nor in '.join(reasons)}.")
        model, theirs = self._pair[0], self._pair[1].model
        try:
            by_prompt = [self._of_prompt(probe.alone(prompt), prompt) for prompt in range(len(probe.tokens))]
        except UnobservableError as error:
            yield not_checked("every place beside the counterpart", str(error))
            return
        compared = [max(several, key=lambda each: each.relative) for several in zip(*by_prompt, strict=True)]
        rows = [
            (each.where.place.value, each.where.layer, each.absolute, each.magnitude, each.relative, each.where.token)
            for each in compared
        ]
        columns = ["place", "layer", "largest_difference", "largest_magnitude", "relative", "token"]
        self.places = pd.DataFrame(rows, columns=columns).astype({"layer": "Int64", "token": "Int64"})
        dtype_name = str(self._pair[0].dtype).removeprefix("torch.")
        yield finding_of(
            "every place beside the counterpart",
            compared,
            self._allowed,
            f"All {len(compared):,} places and layers agree, in {dtype_name}.",
        )
        if any(rotary is not None and rotary.scaling == "longrope" for rotary in model.config.rotary_by_layer):
            return  # the length of the padded batch counts, so a prompt alone is another question
        key = (ActivationLocationType.LOGITS, None)
        with torch.no_grad():
            padded = model(probe.tokens, attention_mask=probe.real)
        assert padded is not None
        beside = []
        for prompt, n in enumerate(probe.lengths):
            alone = probe.alone(prompt)
            with evaluating(theirs):
                expected = their_logits(theirs, alone)
            beside += place_differences({key: padded[prompt : prompt + 1, :n]}, {key: expected}, [key], alone.real)
        yield finding_of(
            "padding beside the counterpart",
            beside,
            self._allowed,
            "A padded batch gives the logits that the counterpart gives for each prompt alone.",
        )

    def _of_prompt(self, alone: Probe, prompt: int) -> list[PlaceDifference]:
        """The differences at every place for one prompt."""
        model, theirs = self._pair[0], self._pair[1].model
        found, expected = everything(model, alone), their_places(theirs, alone)
        refuse_other_shapes(found, expected)
        several = place_differences(found, expected, in_order(model.config.n_layers), alone.real)
        return [replace(each, where=replace(each.where, prompt=prompt)) for each in several]

    def _implementations(self, probe: Probe) -> Iterator[Finding]:
        with torch.no_grad():
            logits = self.model(probe.tokens, attention_mask=probe.real)
        assert logits is not None
        return implementations(self.counterpart.model, logits, probe, allowed_in(self.model.dtype))

    def _long(self) -> Iterator[Finding]:
        """The last token's logits of a prompt that is longer than the windows."""
        name = "long prompts beside the counterpart"
        probe = long_probe(self.model, 0)
        if probe is None:
            yield not_checked(name, "The model has no sliding windows that a prompt can be longer than.")
            return
        key = (ActivationLocationType.LOGITS, None)
        theirs = self.counterpart.model
        with torch.no_grad(), evaluating(theirs):
            found = self.model(probe.tokens, logits_at="last")
            expected = their_logits(theirs, probe)[:, -1:]
        assert found is not None
        apart = difference_at(key, found, expected, probe.real[:, -1:], first_token=probe.tokens.shape[1] - 1)
        n = probe.tokens.shape[1]
        said = f"The last of {n:,} tokens, of which windows hide the first, has the counterpart's logits."
        yield finding_of(name, [apart], allowed_in(self.model.dtype), said)

    def _precision(self, probe: Probe, dtypes: list[torch.dtype]) -> Iterator[Finding]:
        if self._exact is None or not dtypes:
            yield not_checked("precision", "There is no more exact pass to measure from.")
            return
        alone = probe.alone(0)
        try:
            exact = their_places(self._exact[1].model, alone)
            findings, self.precision = precision(self.model, self.counterpart, exact, alone, dtypes)
        except UnobservableError as error:
            yield not_checked("precision", str(error))
            return
        yield from findings
