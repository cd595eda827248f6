"""What a lens read in a prompt: its tables, its picture and its figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, token_strings_of
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.experiments.lenses.jacobian.jacobian_lens import JacobianLens
from neuron_explainer.experiments.lenses.logits_read import TokensRead
from neuron_explainer.experiments.lenses.stream import LensOf
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.wording import counted, number_ranges, shown

_OF = {
    "resid": "the residual stream after each layer",
    "attn": "what attention writes",
    "mlp": "what the MLP writes",
    "heads": "what each head writes",
}


@dataclass(frozen=True, eq=False, repr=False)
class LensReading:
    """The tokens that a lens reads at each layer and position; `ne.lens` makes one.

    A notebook shows it as a heatmap: layers × tokens, in each cell the likeliest token, coloured by its probability,
    with the top ones on hover.

    Attributes:
        model: the model.
        prompt: its tokens.
        of: what was read: "resid", "attn", "mlp" or "heads".
        lens: the Jacobian lens that it was read through; None: the logit lens.
        layers: the layers, ascending.
        positions: the positions, ascending.
        asked: the ids of the tokens that were asked about.
        read: the numbers, whose rows have the axes (layers, components, positions); components are heads, or one.

    >>> import neuron_explainer as ne
    >>> reading = ne.lens(ne.load_model("tiny"), "And the LORD said unto", tokens=" Moses")
    >>> reading.to_dataframe().query("position == 5 and rank == 1").top_token.tolist()
    [' the', ' the', ' her', ' him']
    >>> reading.of_tokens.query("position == 5")["rank"].tolist()
    [73, 21, 12, 7]
    """

    model: ModelContext
    prompt: Prompt
    of: LensOf
    lens: JacobianLens | None
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    asked: tuple[int, ...]
    read: TokensRead

    @property
    def title(self) -> str:
        """What was read, in words."""
        through = "Logit lens" if self.lens is None else f"Jacobian lens ({counted(self.lens.n_prompts, 'prompt')})"
        return f"{through}: {_OF[self.of]}"

    @property
    def row_names(self) -> list[str]:
        """The names of what was read at a position, by layer and head: L2, L2ATTN, L2MLP, L2H3."""
        suffix = {"resid": "", "attn": "ATTN", "mlp": "MLP"}
        if self.of != "heads":
            return [f"L{layer}{suffix[self.of]}" for layer in self.layers]
        return [f"L{layer}H{head}" for layer in self.layers for head in range(self.read.divergences.shape[1])]

    def to_dataframe(self) -> TokenTable:
        """The likeliest tokens: `layer`, `head` (of heads), `position`, `token` (the prompt's), `rank` (from 1),
        `top_token`, `token_id`, `logit` and `probability`.

        Of a part's write the logit is what it adds to the model's logits, and the probability that of its logits
        alone.
        """
        n_top = self.read.token_ids.shape[-1]
        ids = self.read.token_ids.flatten().tolist()
        return TokenTable(
            {
                **self._axes(n_top),
                "rank": list(range(1, n_top + 1)) * (len(ids) // max(1, n_top)),
                "top_token": self.texts_of(ids),
                "token_id": ids,
                "logit": _numbers(self.read.logits),
                "probability": _numbers(self.read.probabilities),
            }
        )

    @cached_property
    def of_tokens(self) -> TokenTable:
        """The tokens that were asked about: `layer`, `head` (of heads), `position`, `token` (the prompt's),
        `asked_token`, `token_id`, `rank` (1: none is likelier), `logit` and `probability`. Without any, no rows.
        """
        n_rows = self.read.divergences.numel()
        ids = list(self.asked) * n_rows
        return TokenTable(
            {
                **self._axes(len(self.asked)),
                "asked_token": self.texts_of(ids),
                "token_id": ids,
                "rank": self.read.asked_ranks.flatten().tolist(),
                "logit": _numbers(self.read.asked_logits),
                "probability": _numbers(self.read.asked_probabilities),
            }
        )

    @cached_property
    def divergence(self) -> TokenTable:
        """How far each distribution is from the model's own: `layer`, `head` (of heads), `position`, `token` and
        `kl`, the Kullback-Leibler divergence Σ p · (log p - log q) in nats, where p is the model's own final
        distribution at the position, and q what the lens reads.
        """
        return TokenTable({**self._axes(1), "kl": _numbers(self.read.divergences)})

    def texts_of(self, token_ids: Sequence[int]) -> list[str]:
        """The texts of tokens; each is decoded once."""
        distinct = sorted(set(token_ids))
        texts = dict(zip(distinct, token_strings_of(self.model, distinct), strict=True))
        return [texts[token] for token in token_ids]

    def __repr__(self) -> str:
        asked = f", asked about {', '.join(shown(text) for text in self.texts_of(self.asked))}" if self.asked else ""
        what = f"{counted(len(self.positions), 'position')}, layers {number_ranges(self.layers)}"
        return f"<LensReading: {self.title}; {self.model.model_name}, {what}{asked}>"

    def figure(self) -> Any:
        """The heatmap as a `plotly.graph_objects.Figure`; in a saved notebook, static HTML stands in for it."""
        from neuron_explainer.views.experiments.lens_page import lens_figure

        return lens_figure(self)

    def _repr_html_(self) -> str:
        from neuron_explainer.views.experiments.lens_page import lens_to_html

        return lens_to_html(self)

    def _axes(self, n_each: int) -> dict[str, list[Any]]:
        """The columns that say where each row is."""
        n_components = self.read.divergences.shape[1]
        places = [
            (layer, component, position)
            for layer in self.layers
            for component in range(n_components)
            for position in self.positions
            for _ in range(n_each)
        ]
        tokens = self.prompt.token_strings
        columns: dict[str, list[Any]] = {"layer": [layer for layer, _, _ in places]}
        if self.of == "heads":
            columns["head"] = [component for _, component, _ in places]
        columns["position"] = [position for _, _, position in places]
        columns["token"] = [tokens[position] for _, _, position in places]
        return columns


def _numbers(tensor: Float[Tensor, ...]) -> list[float]:
    numbers: Iterable[float] = tensor.flatten().tolist()
    return list(numbers)
