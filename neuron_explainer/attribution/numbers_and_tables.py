"""An answer's numbers and tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, SupportsIndex

from neuron_explainer.activations.derived_scalars.engine.prompts import token_strings_of
from neuron_explainer.activations.derived_scalars.names.kinds import KindGiven
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.attribution.computing.effects import Effects, memory_of
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.files.kept import KeptSetting
from neuron_explainer.attribution.files.tensors import tensors_of
from neuron_explainer.attribution.history import Step
from neuron_explainer.attribution.inquiry import Inquiry
from neuron_explainer.attribution.tables.answers import answer_table
from neuron_explainer.attribution.tables.columns import EFFECTS, NodeColumn
from neuron_explainer.attribution.tables.components import (
    LATENT_TYPES,
    Sums,
    component_sums,
    effect_named,
    table_of_components,
)
from neuron_explainer.attribution.tables.filters import NamesGiven, columns_given, node_filter
from neuron_explainer.attribution.tables.groups import Group, groups_of
from neuron_explainer.attribution.tables.next_tokens import next_token_table
from neuron_explainer.attribution.tables.nodes import NodeFilter, by_several, node_table
from neuron_explainer.attribution.tables.parts import part_table, residue_of
from neuron_explainer.attribution.tables.tokens import TokenSums, token_frame, token_sums
from neuron_explainer.attribution.tables.write_norms import WITHOUT_MODEL, WriteNorms
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import checked_flag, checked_number
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    import pandas


class AttributionTables:
    """An answer's numbers and tables; `Attribution` adds experiments, and says more.

    Args:
        setting: the model, autoencoders and ablations; None in an answer that was read from a file without its model.
        inquiry: what was asked.
        effects: what each pass gave.
        history: the answers that led to this one, the first one first.
        kept: what a file says of the setting, in an answer that was read without its model; None in others.
    """

    def __init__(
        self,
        setting: Setting | None,
        inquiry: Inquiry,
        effects: Sequence[Effects],
        history: tuple[Step, ...] = (),
        kept: KeptSetting | None = None,
    ) -> None:
        self.setting = setting
        self.inquiry = inquiry
        self.history = history
        self.kept = kept
        self._effects = list(effects)
        self._coefficients = [asked.coefficient for asked in inquiry.passes]

    # Numbers

    @property
    def value(self) -> float:
        """The metric, in its own unit: of logits that are soft-capped, before the cap."""
        return self._weighted(effects.value for effects in self._effects)

    @property
    def capped_value(self) -> float:
        """The metric of the model's own logits; `value` unless the model caps its logits."""
        return self._weighted(effects.capped_value for effects in self._effects)

    @cached_property
    def residue(self) -> float:
        """What the parts leave over: `value` minus their sum. It is the rounding of the model's numbers."""
        return self._weighted(residue_of(effects, self.inquiry.is_linear) for effects in self._effects)

    @property
    def hints(self) -> tuple[str, ...]:
        """What may mislead about the question, in words."""
        return self.inquiry.hints

    def _weighted(self, numbers: Iterable[float]) -> float:
        return float(sum(each * number for each, number in zip(self._coefficients, numbers, strict=True)))

    @property
    def ablated(self) -> tuple[str, ...]:
        """What is overwritten, in words."""
        setting = self.setting or self.kept
        return () if setting is None else setting.notes

    @property
    def effects(self) -> list[Effects]:
        """The tensors behind the tables, of each pass."""
        return self._effects

    @property
    def stores(self) -> list[DerivedScalarStore]:
        """The derived scalars of each pass: several where answers of several tokens are compared."""
        return [effects.store for effects in self._effects]

    @property
    def store(self) -> DerivedScalarStore:
        """The derived scalars of the pass: activations, and activation times gradient, of every node.

        Raises:
            InvalidRequestError: there are several passes; use `stores`.
        """
        if len(self._effects) > 1:
            answers = ", ".join(repr(asked.answer) for asked in self.inquiry.passes)
            raise InvalidRequestError(f"Each answer has a store of its own ({answers}). Use stores, a list of them.")
        return self._effects[0].store

    @property
    def model(self) -> ModelContext:
        """The model.

        Raises:
            MisconfiguredError: the answer was read from a file, without its model.
        """
        return self.asked_setting.config.get_model_context()

    @property
    def asked_setting(self) -> Setting:
        """The model, autoencoders and ablations; errors are those of `model`."""
        if self.setting is None:
            raise MisconfiguredError(f"This needs the model. {WITHOUT_MODEL}")
        return self.setting

    def texts_of(self, token_ids: Sequence[int]) -> list[str]:
        """The texts of tokens; in an answer that was read from a file, the ids of those that it does not know."""
        if self.setting is not None:
            return token_strings_of(self.model, token_ids)
        known = {} if self.kept is None else self.kept.texts
        return [known.get(token, f"<{token}>") for token in token_ids]

    @property
    def n_bytes(self) -> int:
        """How many bytes the answer's tensors take, with the norms of writes that tables have asked for."""
        computed = [
            group.write_norm
            for own in self.__dict__.get("groups", [])
            for group in own
            if "write_norm" in group.__dict__
        ]
        kept = [tensor for effects in self._effects for tensor in tensors_of(effects).values()]
        return memory_of([*kept, *computed])

    @cached_property
    def groups(self) -> list[list[Group]]:
        """The nodes of each pass, by kind and layer."""
        config = None if self.setting is None else self.setting.config
        return [list(groups_of(effects, WriteNorms(config, effects))) for effects in self._effects]

    # Tables

    def next_tokens(self, n: SupportsIndex = 10) -> pandas.DataFrame:
        """The n tokens that the model most likely goes on with, and always targets and distractors.

        Columns: `token`, `token_id`, `logit`, `probability` (from 0 to 1), `rank` (from 1), `asked` ("target" or
        "distractor"); `capped_logit` where the model caps its logits. It is about the position of the metric; of
        several, the last one.

        Raises:
            InvalidRequestError: n is not a positive whole number, or the answer is about an activation, not logits.
        """
        return next_token_table(self._effects[0], self.inquiry, self.texts_of, checked_number("n", n))

    def answers(self) -> pandas.DataFrame:
        """Each target and distractor with the model's own probability of it, at the position that is asked about.

        Columns: `answer`, `asked` ("target" or "distractor"), `n_tokens`, `probability` (from 0 to 1; of several
        tokens, each given those before it), `log_probability` (natural logarithm). Empty for a metric that is a
        function.

        Raises:
            InvalidRequestError: the answer is about an activation, not logits.
        """
        return answer_table(self._effects, self.inquiry)

    def parts(self) -> pandas.DataFrame:
        """The parts that add up to `value`, in the order in which they are written.

        Columns: `part`, `layer` (NA where there is none), `direct_effect`. Answers of several tokens have
        rows of their own, for each of their tokens: `answer` and `predicting_position` say which.
        """
        return part_table(self.inquiry, self._effects, self._coefficients)

    def nodes(
        self,
        n: SupportsIndex = 50,
        by: NodeColumn | str | Iterable[NodeColumn | str] = NodeColumn.TOTAL_EFFECT,
        *,
        kinds: KindGiven | Iterable[KindGiven] | None = None,
        layers: SupportsIndex | Iterable[SupportsIndex] | None = None,
        tokens: SupportsIndex | str | Iterable[SupportsIndex | str] | None = None,
        names: NamesGiven = None,
    ) -> pandas.DataFrame:
        """The n nodes whose number in a column is largest in magnitude: heads at pairs of tokens, neurons, latents.

        Columns: `name`, `token`, `attended_to`, `activation`, `write_norm`, `direct_effect` (of the write on the
        metric, scales of norms held constant; NaN where an autoencoder stands for the node), `total_effect`
        (activation times gradient). `write_norm` has the sign of the activation, as in `ne.derive`. It needs the
        model: in an answer that was read from a file without it, it is NaN. The table's index is each row's NodeIndex,
        which `ablate` and `trace` take. Of answers of several tokens, `answer` says in whose pass the node is, and
        `predicting_position` at which position, if any, the node has a direct effect on the token that comes next.

        Args:
            n: how many; fewer come back if fewer are not 0.
            by: the column, by magnitude. Of several columns, the n nodes with the largest numbers in each are taken,
                each node once, and ordered by the first column.
            kinds: "head", "neuron", "latent", "embedding", or several; None for all.
            layers: a layer or several; None for all.
            tokens: positions, or tokens as "@' Mary'"; of a head, those attended from. None for all.
            names: a node or several, as names ("L23H3", "L23H3@14", "L23H3@14<-1", "EMB@3"), NodeIndexes or rows. They
                are taken at all tokens, or pairs of tokens, that the name does not rule out. None for all.

        Raises:
            InvalidRequestError: n is not a positive whole number; a layer, token or component is out of range; or a
                name is not that of a head, neuron, latent or embedding.
            UnknownNameError: a kind or column does not exist, or a name cannot be read.
            MisconfiguredError: `by` has "write_norm", and the answer was read from a file without its model.
        """
        columns, number = columns_given(by), checked_number("n", n)
        chosen = self.chosen_nodes(kinds, layers, tokens, names)
        ranked = by_several(self.groups, self._coefficients, columns, number, chosen)
        return node_table(self.groups, self._effects, self.inquiry, ranked)

    def chosen_nodes(
        self,
        kinds: KindGiven | Iterable[KindGiven] | None = None,
        layers: SupportsIndex | Iterable[SupportsIndex] | None = None,
        tokens: SupportsIndex | str | Iterable[SupportsIndex | str] | None = None,
        names: NamesGiven = None,
    ) -> NodeFilter:
        """Which nodes `nodes` takes, read and checked."""
        return node_filter(self._effects, kinds, layers, tokens, names, groups=self.groups[0], setting=self.setting)

    def heads(self, n: SupportsIndex | None = None, by: str = "direct_effect") -> pandas.DataFrame:
        """The n heads (None: all) with the largest effect in magnitude, summed over tokens.

        Columns: `name`, `layer`, `component`, `direct_effect`, `total_effect`; the index is each head's NodeIndex.

        Raises:
            InvalidRequestError: n is not a positive whole number.
            UnknownNameError: `by` is neither effect.
        """
        return self._components((NodeType.ATTENTION_HEAD,), n, by)

    def neurons(self, n: SupportsIndex | None = 20, by: str = "direct_effect") -> pandas.DataFrame:
        """The n neurons with the largest effect; as `heads`."""
        return self._components((NodeType.MLP_NEURON,), n, by)

    def latents(self, n: SupportsIndex | None = 20, by: str = "direct_effect") -> pandas.DataFrame:
        """The n latents with the largest effect; as `heads`.

        Raises:
            MisconfiguredError: the question was asked without autoencoders.
        """
        return self._components(LATENT_TYPES, n, by)

    def _components(self, kinds: Sequence[NodeType], n: SupportsIndex | None, by: str) -> pandas.DataFrame:
        number = None if n is None else checked_number("n", n)
        return table_of_components(self.component_sums(kinds), effect_named(by), number, EFFECTS)

    def component_sums(self, kinds: Collection[NodeType]) -> Sums:
        """Direct and total effects of all heads, neurons or latents, summed over tokens, by kind and layer.

        Raises:
            MisconfiguredError: latents are asked for, but the question was asked without autoencoders.
        """
        if kinds == LATENT_TYPES and not any(group.node_type in kinds for group in self.groups[0]):
            raise MisconfiguredError("No autoencoder of this answer lies upstream of it. Pass some: autoencoders=….")
        own = frozenset(kinds)
        if own not in self._component_sums:
            self._component_sums[own] = component_sums(self.groups, self._effects, self._coefficients, own)
        return self._component_sums[own]

    @cached_property
    def _component_sums(self) -> dict[frozenset[NodeType], Sums]:
        """Every table of heads, or of neurons, begins with these sums of all their numbers."""
        return {}

    def tokens(self, by_layer: bool = False) -> pandas.DataFrame:
        """Total effects by token of the prompt: of its embedding, of attention from it and to it, and of MLPs at it.

        Columns: `token`, `position`, `embedding`, `attention_from`, `attention_to`, `mlp`, and `latents` with
        autoencoders; `answer` of answers of several tokens.

        Args:
            by_layer: whether there is a row for each layer and token, whose sums over layers are the numbers of the
                other table. `layer` then comes first, and there is no `embedding`, which has no layer.

        Raises:
            InvalidRequestError: `by_layer` is neither True nor False.
        """
        import pandas

        per_layer = checked_flag("by_layer", by_layer)
        has_latents = any(group.node_type in LATENT_TYPES for group in self.groups[0])
        frames = []
        for sums, effects, asked in zip(self._token_sums, self._effects, self.inquiry.passes, strict=True):
            frame = token_frame(sums, effects, per_layer, has_latents)
            if self.inquiry.is_by_answer:
                frame.insert(0, "answer", asked.answer)
            frames.append(frame)
        return frames[0] if len(frames) == 1 else pandas.concat(frames, ignore_index=True)

    @cached_property
    def _token_sums(self) -> list[TokenSums]:
        return [
            token_sums(own, effects, coefficient)
            for own, effects, coefficient in zip(self.groups, self._effects, self._coefficients, strict=True)
        ]

    def step(self) -> Step:
        """This answer as a step of another's history."""
        return Step(self.inquiry.request, self.inquiry.title, self.value, self.parts(), self.nodes())

    def __repr__(self) -> str:
        is_capped = abs(self.capped_value - self.value) > 0  # False of NaN
        capped = f" (capped: {self.capped_value:.4g})" if is_capped else ""
        ablated = ", with ablations" if self.ablated else ""
        title = f"{type(self).__name__}: {self.inquiry.title}{ablated}"
        return f"<{title} = {self.value:.4g}{capped}, residue {self.residue:.1e}>"
