"""Answers to the same kind of question about several prompts, with means over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas


class Attributions(Sequence[Attribution]):
    """The answers about several prompts, in their order. Each is an Attribution; tables here are means over prompts.

    >>> import neuron_explainer as ne
    >>> prompts = ["And the LORD said unto", "And God said unto"]
    >>> several = ne.attribute(ne.load_model("tiny"), prompts, " Moses", " her")
    >>> len(several), list(several.heads(2).columns[3:])
    (2, ['direct_effect', 'direct_effect_std', 'total_effect', 'total_effect_std'])
    """

    def __init__(self, answers: Sequence[Attribution]) -> None:
        self._answers = list(answers)

    @overload
    def __getitem__(self, index: int) -> Attribution: ...

    @overload
    def __getitem__(self, index: slice) -> Attributions: ...

    def __getitem__(self, index: int | slice) -> Attribution | Attributions:
        return Attributions(self._answers[index]) if isinstance(index, slice) else self._answers[index]

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self._answers)

    @property
    def values(self) -> list[float]:
        """The metric of each prompt."""
        return [why.value for why in self._answers]

    @property
    def residues(self) -> list[float]:
        """What the parts leave over, of each prompt."""
        return [why.residue for why in self._answers]

    def table(self) -> pandas.DataFrame:
        """One row for each prompt: `prompt`, `question` (what the number is), `value`, `residue`."""
        import pandas

        return pandas.DataFrame(
            {
                "prompt": ["".join(why.stores[0].tokens) for why in self._answers],
                "question": [why.inquiry.title for why in self._answers],
                "value": self.values,
                "residue": self.residues,
            }
        )

    def parts(self) -> pandas.DataFrame:
        """The mean over prompts of each part's direct effect, and its standard deviation (NaN of a single prompt).

        Columns: `part`, `layer`, `direct_effect`, `direct_effect_std`. A part that a prompt does not have counts as 0.
        """
        return self._mean(lambda why: why.parts(), ["part", "layer"], ["direct_effect"])

    def heads(self, n: SupportsIndex | None = None, by: str = "direct_effect") -> pandas.DataFrame:
        """The n heads (None: all) with the largest mean effect, as Attribution.heads, each effect with its `_std`."""
        return self._components(lambda why: why.heads(None, by), n, by)

    def neurons(self, n: SupportsIndex | None = 20, by: str = "direct_effect") -> pandas.DataFrame:
        """The n neurons with the largest mean effect; as `heads`."""
        return self._components(lambda why: why.neurons(None, by), n, by)

    def latents(self, n: SupportsIndex | None = 20, by: str = "direct_effect") -> pandas.DataFrame:
        """The n latents with the largest mean effect; as `heads`."""
        return self._components(lambda why: why.latents(None, by), n, by)

    def _components(
        self, table_of: Callable[[Attribution], pandas.DataFrame], n: SupportsIndex | None, by: str
    ) -> pandas.DataFrame:
        number = None if n is None else checked_number("n", n)
        mean = self._mean(table_of, ["name", "layer", "component"], ["direct_effect", "total_effect"])
        order = mean[str(by)].abs().sort_values(ascending=False, kind="stable").index
        return mean.loc[order[:number]].reset_index(drop=True)

    def _mean(
        self, table_of: Callable[[Attribution], pandas.DataFrame], keys: list[str], effects: list[str]
    ) -> pandas.DataFrame:
        import pandas

        if not self._answers:
            raise InvalidRequestError("There are no prompts here, so nothing has a mean.")
        of_prompts = []
        for number, why in enumerate(self._answers):
            summed = pandas.DataFrame(table_of(why)).groupby(keys, dropna=False, sort=False)[effects].sum()
            of_prompts.append(summed.assign(prompt=number).set_index("prompt", append=True))
        joined: Any = pandas.concat(of_prompts).unstack("prompt", fill_value=0.0, sort=False)
        columns = {}
        for effect in effects:
            columns[effect] = joined[effect].mean(axis=1)
            columns[f"{effect}_std"] = joined[effect].std(axis=1)
        return pandas.DataFrame(columns).reset_index()

    def __repr__(self) -> str:
        mean = sum(self.values) / len(self) if self._answers else float("nan")
        return f"<Attributions: {len(self)} prompts, mean value {mean:.4g}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.attribution.several import attributions_html

        return attributions_html(self)
