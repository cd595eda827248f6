"""The checks of a model beside its reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from neuron_explainer.checking.beside.alike import made_alike, why_not_both_in
from neuron_explainer.checking.beside.evaluation import used_by_one_check
from neuron_explainer.checking.beside.given_reference import Reference
from neuron_explainer.checking.beside.gradients import gradients_beside
from neuron_explainer.checking.beside.implementations import implementations
from neuron_explainer.checking.beside.long_prompts import long_prompt_beside, three_prompts, three_prompts_beside
from neuron_explainer.checking.beside.norms import norms_beside
from neuron_explainer.checking.beside.padded import batch_beside
from neuron_explainer.checking.beside.precision import Pass, Row, precision_of, precision_table
from neuron_explainer.checking.beside.same_model import same_model
from neuron_explainer.checking.beside.theirs import (
    NotFinitePassError,
    UnobservableError,
    refuse_other_shapes,
    their_places,
)
from neuron_explainer.checking.beside.tokenizers import tokens_beside
from neuron_explainer.checking.comparison import PlaceDifference, finding_of, in_order, place_differences
from neuron_explainer.checking.copies import in_dtype
from neuron_explainer.checking.findings import EVERY_PLACE, Finding, Part, not_checked
from neuron_explainer.checking.passes import all_places
from neuron_explainer.checking.probes import Probe, depends_on_length
from neuron_explainer.checking.routers import settled
from neuron_explainer.checking.tolerances import allowed_beside
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.transformer import Transformer

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.models.model_context import StandardModelContext

_THOROUGH = (torch.float32, torch.bfloat16, torch.float16)


@dataclass
class Beside:
    """A model and its reference, compared.

    Attributes:
        model, reference: the two; after the first part, copies with weights of one dtype where they had two.
        context: the model's, with its tokenizer, if there is one.
        places: after the comparison: a row for each place and layer.
        precision: what each dtype costs.
    """

    model: Transformer
    reference: Reference
    context: StandardModelContext | None = None
    places: pandas.DataFrame | None = None
    precision: pandas.DataFrame | None = None
    _exact: tuple[Transformer, Reference] | None = field(default=None, init=False)
    _exact_passes: tuple[Pass, Pass] | None = field(default=None, init=False)
    _can_be_compared: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._given = self.reference.model  # copies of it are this check's own

    def parts(self, probe: Probe, thorough: bool, seed: int) -> list[Part]:
        """What is checked, in order.

        Args:
            probe: the prompts.
            thorough: whether longer prompts and all dtypes are looked at, and not the model's alone.
            seed: of the longer prompts.
        """
        parts: list[Part] = [
            ("dtypes beside the reference", self._make_alike),
            ("the same model", lambda: same_model(self.model, self.reference.model)),
            (EVERY_PLACE, lambda: self._compared(probe)),
            ("norms alone", lambda: norms_beside(self._pair[0], self._pair[1].model, self._allowed)),
            (
                "gradients beside the reference",
                lambda: gradients_beside(self._pair[0], self._pair[1].model, probe, 10 * self._allowed),
            ),
            ("attention of the reference", lambda: self._implementations(probe)),
        ]
        if thorough:
            parts += [
                ("longer prompts beside the reference", lambda: self._longer(seed)),
                (
                    "long prompts beside the reference",
                    lambda: long_prompt_beside(self.model, self.reference.model, seed),
                ),
            ]
        parts.append(("precision", lambda: self._precision(probe, thorough)))
        context = self.context
        of_tokens = [("tokens beside the reference", lambda: self._tokens(context))] if context is not None else []
        return [*of_tokens, *((name, partial(self._run_alone, run)) for name, run in parts)]

    def _run_alone(self, run: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
        """One of the parts, while no other check uses the reference; none where the two cannot be made alike."""
        if self._can_be_compared:
            with used_by_one_check(self._given):
                yield from run()

    def _make_alike(self) -> Iterator[Finding]:
        self._can_be_compared = False
        for each in made_alike(self.model, self.reference):
            if isinstance(each, Finding):
                yield each
            else:
                self.model, self.reference = each
                self._can_be_compared = True

    def _tokens(self, context: StandardModelContext) -> Iterator[Finding]:
        return tokens_beside(context, self.reference.tokenizer, self.reference.why_no_tokenizer)

    @property
    def _pair(self) -> tuple[Transformer, Reference]:
        return (self.model, self.reference) if self._exact is None else self._exact

    @property
    def _allowed(self) -> float:
        return allowed_beside(self._pair[0].dtype)

    def _compared(self, probe: Probe) -> Iterator[Finding]:
        import pandas as pd

        reasons = []
        for dtype in (torch.float64, torch.float32):
            why_not = why_not_both_in(dtype, self.model, self.reference)
            if why_not is None:
                self._exact = in_dtype(self.model, dtype), self.reference.in_dtype(dtype)
                break
            reasons.append(f"{name_of_dtype(dtype)}: {why_not}")
        if reasons:
            yield not_checked("more exact dtypes", f"Places are not compared in {'; nor in '.join(reasons)}.")
        model, theirs = self._pair[0], self._pair[1].model
        try:
            first, *others = (probe.alone(prompt) for prompt in range(len(probe.tokens)))
            passes = self._passes(first)
            by_prompt = [self._differences(passes, first, 0)]
            by_prompt += [self._differences(self._passes(each), each, number) for number, each in enumerate(others, 1)]
        except UnobservableError as error:
            yield not_checked(EVERY_PLACE, str(error))
            return
        except NotFinitePassError as error:
            self._can_be_compared = False
            yield not_checked(EVERY_PLACE, f"{error} Nothing is compared with it.")
            return
        self._exact_passes = passes
        by_place = list(zip(*by_prompt, strict=True))
        compared = [max(several, key=lambda each: each.relative) for several in by_place]
        rows = [
            (
                farthest.where.place.value,
                farthest.where.layer,
                max(each.absolute for each in several),
                max(each.magnitude for each in several),
                farthest.relative,
                farthest.where.token,
                farthest.where.prompt,
            )
            for farthest, several in zip(compared, by_place, strict=True)
        ]
        columns = ["place", "layer", "largest_difference", "largest_magnitude", "relative", "token", "prompt"]
        self.places = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("layer", "token", "prompt"), "Int64"))
        yield finding_of(
            EVERY_PLACE,
            compared,
            self._allowed,
            f"All {len(compared):,} places and layers agree, in {name_of_dtype(model.dtype)}.",
        )
        if not depends_on_length(model):
            said = "A padded batch gives the logits that the reference gives for each prompt alone."
            yield batch_beside("padding beside the reference", model, theirs, probe, self._allowed, said)

    def _longer(self, seed: int) -> Iterator[Finding]:
        model, theirs = self._pair[0], self._pair[1].model
        name, probe = "a longer prompt beside the reference", three_prompts(model, seed)
        try:
            longest = probe.alone(0)
            compared = self._differences(self._passes(longest), longest, 0)
        except (UnobservableError, NotFinitePassError) as error:
            yield not_checked(name, str(error))
        else:
            said = f"All {len(compared):,} places and layers agree over a prompt of {probe.lengths[0]} tokens."
            yield finding_of(name, compared, self._allowed, said)
        yield from three_prompts_beside(model, theirs, probe, self._allowed)

    def _passes(self, alone: Probe) -> tuple[Pass, Pass]:
        """All places of the model and of the reference for one prompt, as exact as can be."""
        found, expected = all_places(self._pair[0], alone), their_places(self._pair[1].model, alone)
        refuse_other_shapes(found, expected)
        return found, expected

    def _differences(self, passes: tuple[Pass, Pass], alone: Probe, prompt: int) -> list[PlaceDifference]:
        """How far two passes over one prompt are apart at every place."""
        model, (found, expected) = self._pair[0], passes
        several = place_differences(found, expected, in_order(model.config.n_layers), alone.real)
        return [settled(each.of_prompt(prompt), model.config, model.dtype, alone.real) for each in several]

    def _implementations(self, probe: Probe) -> Iterator[Finding]:
        with torch.no_grad():
            logits = self.model(probe.tokens, attention_mask=probe.real)
        assert logits is not None
        return implementations(self.model.config, self.reference.model, logits, probe, allowed_beside(self.model.dtype))

    def _precision(self, probe: Probe, thorough: bool) -> Iterator[Finding]:
        own = () if self.model.dtype == torch.float64 else (self.model.dtype,)
        wanted = [*own, *(each for each in _THOROUGH if thorough and each not in own)]
        if self._exact is None or not wanted:
            yield not_checked("precision", "There is no more exact pass to measure from.")
            return
        if self._exact_passes is None:
            yield not_checked("precision", "There are no places to measure it at.")
            return
        alone = probe.alone(0)
        rows: list[Row] = []
        for dtype in wanted:
            name = f"precision of {name_of_dtype(dtype)}"
            why_not = why_not_both_in(dtype, self.model, self.reference)
            if why_not is not None:
                yield not_checked(name, f"It is not run: {why_not}.")
                continue
            pair = in_dtype(self.model, dtype), self.reference.in_dtype(dtype).model
            try:
                found, of_dtype = precision_of(dtype, pair, self._exact_passes, alone)
            except (UnobservableError, NotFinitePassError) as error:
                yield not_checked(name, str(error))
                continue
            yield found
            rows += of_dtype
        if rows:
            self.precision = precision_table(rows)
