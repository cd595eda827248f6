"""The clean and the corrupted run, recorded together, and passes that go on from the one that is patched."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.experiments.asking.two_prompts import TwoPrompts
from neuron_explainer.experiments.patching.sites import Site
from neuron_explainer.models.hooks.contexts import Hook
from neuron_explainer.models.layers.block import residual_before
from neuron_explainer.models.layers.logit_positions import LogitsAt
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


class TwoRuns:
    """Two prompts, run once; what was recorded of them is what patches read and write.

    Args:
        site: what is patched.
        prompts: the two prompts, and their metric.
        denoise: whether the corrupted run is the one that is patched.

    Attributes:
        clean_value, corrupted_value: the metric of each run.

    Raises:
        InvalidRequestError: the metric is the same in both.
    """

    def __init__(self, site: Site, prompts: TwoPrompts, denoise: bool) -> None:
        self.site, self.prompts = site, prompts
        self.model = site.bound.model
        self._patched, self._source = (1, 0) if denoise else (0, 1)
        self._token_ids = prompts.token_ids(self.model.device)
        between = {residual_before(layer) for layer in range(self.model.config.n_layers + 1)}
        self._recording = self.model.recording(between | set(site.keys.values()))
        hooks = [*site.hooks(site.keys), self._recording]
        logits = self.model(self._token_ids, logits_at=self._logits_at(2), hooks=hooks)
        with torch.no_grad():
            self.clean_value, self.corrupted_value = self.measured(logits).tolist()
        prompts.check_differs(self.clean_value, self.corrupted_value)

    @property
    def n_tokens(self) -> int:
        """How many tokens each prompt has."""
        return self._token_ids.shape[1]

    @property
    def patched_value(self) -> float:
        """The metric of the run that is patched."""
        return (self.clean_value, self.corrupted_value)[self._patched]

    def patched(self, layer: int | None) -> Tensor:
        """A layer's tensor in the run that is patched, (tokens, …) as its place says."""
        return self._recording[self.site.keys[layer]][self._patched]

    def source(self, layer: int | None) -> Tensor:
        """A layer's tensor in the other run, which patches are taken from, (tokens, …)."""
        return self._recording[self.site.keys[layer]][self._source]

    def change(self, layer: int | None) -> Tensor:
        """What a patch adds to a layer's tensor, in float32 or finer; 0 where the runs agree, infinities included."""
        patched, source = self.patched(layer), self.source(layer)
        precise = torch.promote_types(patched.dtype, torch.float32)
        return torch.where(patched == source, 0.0, source.to(precise) - patched.to(precise))

    def values(
        self,
        first_layer: int | None,
        n_rows: int,
        hooks: Iterable[Hook] = (),
        resid: Float[Tensor, "rows tokens d_model"] | None = None,
    ) -> Float[Tensor, " rows"]:
        """The metric of passes that go on from the run that is patched.

        Args:
            first_layer: the first layer that runs; None: from the tokens on.
            n_rows: how many passes share a batch.
            hooks: what takes part in them.
            resid: the residual stream that the first layer reads; None: that of the run.
        """
        at = self._logits_at(n_rows)
        if first_layer is None:
            tokens = self._token_ids[self._patched].expand(n_rows, -1)
            return self.measured(self.model(tokens, logits_at=at, hooks=tuple(hooks)))
        if resid is None:
            resid = self._recording[residual_before(first_layer)][self._patched].expand(n_rows, -1, -1).contiguous()
        return self.measured(self.model.forward_from(first_layer, resid, logits_at=at, hooks=tuple(hooks)))

    def measured(self, logits: Tensor | None) -> Float[Tensor, " rows"]:
        """The metric of each row's logits, at the positions where it is taken."""
        assert logits is not None
        return self.prompts.measured_rows(logits)

    def _logits_at(self, n_rows: int) -> LogitsAt:
        """Where logits are computed: at all positions also where it is they that are patched."""
        return "all" if self.site.place is _PLACE.LOGITS else self.prompts.logits_at(n_rows)
