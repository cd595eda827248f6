"""Run the passes of questions: prompts of similar length together, as many at once as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivers import catalogue as _catalogue  # noqa: F401  # fills the table of derivers
from neuron_explainer.activations.derived_scalars.engine.capture_plan import CapturePlan
from neuron_explainer.activations.derived_scalars.engine.evaluation import Deriver
from neuron_explainer.activations.derived_scalars.engine.non_finite import warn_of_non_finite
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, check_token_positions
from neuron_explainer.activations.derived_scalars.engine.requests import parse_requests
from neuron_explainer.activations.derived_scalars.engine.running import Run, TensorsByKey, of_prompt, run_plan
from neuron_explainer.activations.derived_scalars.losses.objective import Evaluated, Objective
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation
from neuron_explainer.attribution.computing import effects as cutting
from neuron_explainer.attribution.computing.attention_parts import ATTENTION_PARTS
from neuron_explainer.attribution.computing.batches import batches_of
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.embedding_parts import EMBEDDING_PARTS
from neuron_explainer.attribution.computing.latent_parts import LatentScale, latent_parts_of, latent_scale_of
from neuron_explainer.attribution.computing.mlp_parts import MLP_PARTS
from neuron_explainer.models.layers.token_checks import padded
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_DST = DerivedScalarType
NODES: tuple[DerivedScalarType, ...] = (
    _DST.TOKEN_ATTRIBUTION,
    _DST.RESID_POST_EMBEDDING_NORM,
    _DST.MLP_POST_ACT,
    _DST.MLP_ACT_TIMES_GRAD,
    _DST.ATTN_VALUE,
    _DST.ATTN_QK_PROBS,
    _DST.UNFLATTENED_ATTN_ACT_TIMES_GRAD,
)
"""The derived scalars of every node that an answer keeps."""
LATENTS: dict[NodeType, tuple[DerivedScalarType, DerivedScalarType]] = {
    NodeType.AUTOENCODER_LATENT: (_DST.ONLINE_AUTOENCODER_LATENT, _DST.ONLINE_AUTOENCODER_ACT_TIMES_GRAD),
    NodeType.MLP_AUTOENCODER_LATENT: (_DST.ONLINE_MLP_AUTOENCODER_LATENT, _DST.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD),
    NodeType.ATTENTION_AUTOENCODER_LATENT: (
        _DST.ONLINE_ATTENTION_AUTOENCODER_LATENT,
        _DST.ONLINE_ATTENTION_AUTOENCODER_ACT_TIMES_GRAD,
    ),
}
"""Latents, and their activation times gradient, by kind of autoencoder."""


@dataclass(frozen=True)
class Setting:
    """The model that runs, and what takes part in its passes: autoencoders and ablations."""

    config: DstConfig
    ablations: tuple[Ablation, ...] = ()
    notes: tuple[str, ...] = ()
    """What each ablation does, in words."""

    def limited_to(self, layers: Sequence[int]) -> Setting:
        """The same for some layers alone."""
        return replace(self, config=replace(self.config, layer_indices=list(layers)))


ObjectiveOf = Callable[[Sequence[int]], Objective]
"""Gives the objective of some of the prompts, by their numbers."""


@torch.inference_mode(mode=False)  # what is made in inference mode cannot be differentiated
def run_passes(
    setting: Setting, prompts: Sequence[Prompt], objective_of: ObjectiveOf, done: Callable[[int], object] | None = None
) -> list[Effects]:
    """Run a pass for each prompt, and give its effects.

    Args:
        setting: the model, autoencoders and ablations.
        prompts: the tokens of each pass.
        objective_of: gives the objective of a batch of them.
        done: told how many more passes are done.

    Raises:
        As `derive`.
    """
    results: dict[int, Effects] = {}
    model = setting.config.get_or_create_model()
    batches = list(batches_of([len(prompt.token_ids) for prompt in prompts], model))
    for batch, numbers in enumerate(batches):
        plan = _plan(setting, objective_of(numbers))
        check_token_positions(plan.bound_configs, [len(prompts[number].token_ids) for number in numbers])
        tokens, attention_mask = padded([prompts[number].token_ids for number in numbers])
        with part_of_work(batch, len(batches)):
            run = run_plan(plan, tokens, attention_mask)
        own = [of_prompt(run.tensors, row, len(prompts[number].token_ids)) for row, number in enumerate(numbers)]
        warn_of_non_finite(own, plan.bound, [prompts[number].token_ids for number in numbers])
        for row, number in enumerate(numbers):
            results[number] = _effects(setting, prompts[number], run, row, own[row])
        if done is not None:
            done(len(numbers))
    return [results[number] for number in range(len(prompts))]


def _plan(setting: Setting, objective: Objective) -> CapturePlan:
    """What the passes record and compute."""
    kinds = setting.config.autoencoder_kinds
    wanted = [*NODES, *(dst for kind in kinds for dst in LATENTS[kind])]
    requests = parse_requests(wanted, setting.config, objective, setting.ablations)
    others: dict[str, Deriver] = {
        "embedding": EMBEDDING_PARTS,
        "attention": ATTENTION_PARTS,
        "mlp": MLP_PARTS,
        **{f"latents {kind.value}": latent_parts_of(kind) for kind in kinds},
        **{f"scale {kind.value}": latent_scale_of(kind) for kind in kinds},
    }
    return CapturePlan(requests, others)


def _effects(setting: Setting, prompt: Prompt, run: Run, row: int, tensors: TensorsByKey) -> Effects:
    """One prompt's effects."""
    evaluated = of_objective(run)
    details = evaluated.details[row]
    n_rows, n_tokens = len(details.positions), len(prompt.token_ids)
    value = float(evaluated.values[row])
    context = setting.config.get_model_context()

    def own(by_layer: Mapping[int | None, Any]) -> Iterator[tuple[Any, Any]]:
        for layer, parts in by_layer.items():
            yield layer, cutting.parts_of_prompt(parts, row, n_rows, n_tokens)

    return Effects(
        prompt=prompt,
        store=DerivedScalarStore(
            tensors,
            prompt.token_strings,
            token_ids=prompt.token_ids,
            loss=value,
            model_name=context.model_name,
            n_beginning=prompt.n_beginning,
        ),
        rows=details.positions,
        value=value,
        linear_value=details.linear_value,
        capped_value=details.capped_value,
        constants={name: float(constant[row]) for name, constant in evaluated.constants.items()},
        directions=_directions(evaluated, row, n_rows),
        embedding=dict(own(run.others["embedding"])).get(None),
        attention=dict(own(run.others["attention"])),
        mlp=dict(own(run.others["mlp"])),
        latents=_by_kind_and_layer("latents ", own, run),
        latent_scales={
            (kind, layer): LatentScale(
                scale.gain, None if scale.factor is None else scale.factor[row, :n_tokens].clone()
            )
            for (kind, layer), scale in _by_kind_and_layer("scale ", lambda by_layer: by_layer.items(), run).items()
        },
        logits=details.logits,
        logits_softcap=setting.config.get_or_create_model().config.logits_softcap,
        final_scales=details.final_scales,
    )


def _by_kind_and_layer(
    prefix: str, own: Callable[[Mapping[int | None, Any]], Iterable[tuple[Any, Any]]], run: Run
) -> dict[tuple[NodeType, int], Any]:
    """What a run computed for each kind of autoencoder, in one mapping."""
    return {
        (NodeType(name.removeprefix(prefix)), layer): parts
        for name, by_layer in run.others.items()
        if name.startswith(prefix)
        for layer, parts in own(by_layer)
    }


def _directions(evaluated: Evaluated, row: int, n_rows: int) -> Float[Tensor, "rows d_model"]:
    if evaluated.directions is None:
        raise RuntimeError("the objective gave no directions")
    return evaluated.directions[row, :n_rows].clone()


def of_objective(run: Run) -> Evaluated:
    """What the objective of a run gives."""
    if run.result.objective is None:
        raise RuntimeError("the plan had no objective")
    return run.result.objective
