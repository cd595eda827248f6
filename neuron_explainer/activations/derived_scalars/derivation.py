"""From a request to its numbers: plan what to record, run the model once, compute.

    store = derive("This is a test", ["mlp_act_times_grad"], model, loss=LossFnConfig("logit_diff", [" one"]))

`derive_batch` derives from several prompts in one padded pass. `BatchDeriver` is for many batches, and leaves the
tensors on the model's device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.asked_change import asked_change
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, DstConfig, as_config
from neuron_explainer.activations.derived_scalars.derivers import catalogue as _catalogue  # noqa: F401  # fills the table of derivers
from neuron_explainer.activations.derived_scalars.engine.capture_plan import CapturePlan
from neuron_explainer.activations.derived_scalars.engine.non_finite import warn_of_non_finite, where_non_finite
from neuron_explainer.activations.derived_scalars.engine.prompts import check_token_positions, read_prompt
from neuron_explainer.activations.derived_scalars.engine.requests import (
    DstOrPair,
    ScalarRequest,
    check_order,
    of_prompts,
    parse_requests,
)
from neuron_explainer.activations.derived_scalars.engine.running import TensorsByKey, of_prompt, run_plan
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.errors import MisconfiguredError, PromptError, shown
from neuron_explainer.models.chats.messages import Chat, is_chat
from neuron_explainer.models.layers.dense_by_layer import DenseByLayer
from neuron_explainer.models.layers.token_checks import only_prompt, padded
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.ablating.given import AblationsByPrompt, AblationsGiven
    from neuron_explainer.activations.derived_scalars.engine.requests import LossByPrompt
    from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
    from neuron_explainer.models.model_context import ModelContext


@torch.inference_mode(mode=False)  # what is made in inference mode, token ids included, cannot be differentiated
def derive(
    prompt: str | Chat | Sequence[int] | Tensor,
    dsts: DstOrPair | Iterable[DstOrPair],
    config: ConfigOrModel | None = None,
    *,
    loss: LossFnConfig | LossFunction | None = None,
    ablations: AblationsGiven = (),
    prepend_bos: bool | None = None,
    freeze_final_norm: bool = False,
) -> DerivedScalarStore:
    """Derive scalars from one prompt, with one forward pass and at most one backward pass.

    Args:
        prompt: a text; a list of messages, which the model's chat template turns into text (`model.chat_tokens` shows
            it, and takes the template's options); or token ids, also as a batch of one, as `model.to_tokens` gives it.
        dsts: one type (a DerivedScalarType, its name or its value), several, or (type, config) pairs. In the signature
            DstOrPair is a type or a pair.
        config: the model, or a DstConfig with the model and whatever else the types require (ConfigOrModel in the
            signature); for types that come without a config of their own.
        loss: what to differentiate: a LossFnConfig, or a function of the logits (tokens, vocabulary) that returns one
            number. If the config has a `trace_config`, that is differentiated instead; the loss is then used only by a
            trace through a head's value without a downstream node, which is projected on the loss's gradient.
        ablations: activations or gradients to overwrite while the model runs: an AblationSpec or a TensorAblation, or
            several. Where two overwrite the same number, the later one counts.
        prepend_bos: for a text, whether its tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does. The store's `n_beginning` says how many tokens come before the text. A chat's template
            writes its own beginning.
        freeze_final_norm: hold the scale of the final norm constant in the backward pass. Then the loss's gradient is
            that of a linear function of the last residual stream, wherever the loss is linear in the logits, so that
            direct effects (`…_write_to_final_residual_grad`) add up to it. The same as an AblationSpec that writes 0
            over the gradient of RESID_FINAL_LAYER_NORM_SCALE, and without effect where no type needs a gradient.

    Returns:
        The results: for each type one detached tensor for each layer.

    Warns:
        NonFiniteWarning: some results are infinite or NaN, as where a model overflows in float16. It names the place
            and the layer where such numbers appear first.
        UnchangedByInterventionWarning: the only ablation changed no number.

    Raises:
        NothingToDifferentiateError: a type needs a gradient, but there is neither a loss nor a trace.
        MissingSettingError: the config lacks what a type is about, such as autoencoders or a node.
        UnknownNameError: a type does not exist.
        NotOneTokenError: a target or distractor of the loss is not exactly one token.
        MisconfiguredError: `freeze_final_norm` is set, and a trace is differentiated instead of a loss; or arguments
            contradict each other.
        PromptError: the prompt is empty, too long, or has ids outside of the vocabulary; or messages are malformed.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.
        InvalidRequestError: a layer, token or component is out of range; or `prepend_bos` is given with messages or
            token ids, or cannot be followed. All errors are raised before the model runs.

    >>> import neuron_explainer as ne
    >>> store = ne.derive("And the LORD said unto", "mlp_write_norm", ne.load_model("tiny"))
    >>> store.topk(3, dsts="mlp_write_norm")[0].shape
    torch.Size([3])
    """
    check_order(prompt, dsts, config)
    if isinstance(prompt, Mapping):
        only_prompt(prompt, "use derive_batch")  # which refuses it
    requests = parse_requests(dsts, config, loss, ablations, freeze_final_norm)
    with asked_change(_only_one(requests)):
        (store,) = _derived([prompt], requests, prepend_bos)
    return store


@torch.inference_mode(mode=False)
def derive_on_the_way(
    prompt: Sequence[int],
    dsts: DstOrPair | Iterable[DstOrPair],
    config: DstConfig,
    *,
    loss: LossFnConfig | LossFunction | None = None,
    ablations: AblationsGiven = (),
) -> DerivedScalarStore:
    """As `derive`, for something that a person asked for with these ablations: nobody is warned of them again."""
    (store,) = _derived([prompt], parse_requests(dsts, config, loss, ablations, False), None)
    return store


def _only_one(requests: Sequence[ScalarRequest]) -> str | None:
    """The ablation in words; None without one, and of several."""
    ablations = requests[0].bound.ablations
    return f"at {ablations[0].index!r}" if len(ablations) == 1 else None


@torch.inference_mode(mode=False)
def derive_batch(
    prompts: Sequence[str | Chat | Sequence[int] | Tensor],
    dsts: DstOrPair | Iterable[DstOrPair],
    config: ConfigOrModel | None = None,
    *,
    loss: LossByPrompt | None = None,
    ablations: AblationsByPrompt = (),
    prepend_bos: bool | None = None,
    freeze_final_norm: bool = False,
) -> list[DerivedScalarStore]:
    """Derive scalars from several prompts in one padded pass: the same as `derive` for each, but faster.

    Token positions (of a trace, a node, an ablation for all prompts) are the same in every prompt. Where longrope
    stretches the positions of long prompts in another way than those of short ones, each kind has a pass of its own.

    Args:
        prompts: texts, lists of messages, or sequences of token ids.
        dsts, config, prepend_bos, freeze_final_norm: as for `derive`.
        loss: as for `derive`, for all prompts; or a list with a loss for each prompt.
        ablations: as for `derive`, for all prompts; or a list with a list for each prompt, which may be empty.

    Returns:
        The results of each prompt, without its padding.

    Raises:
        As `derive`; and MisconfiguredError if there are more or fewer losses, or lists of ablations, than prompts.

    >>> import neuron_explainer as ne
    >>> model = ne.load_model("tiny")
    >>> stores = ne.derive_batch([[5, 17, 3], [8]], "mlp_post_act", model)
    >>> [len(store.tokens) for store in stores]
    [3, 1]
    >>> losses = [ne.LossFnConfig("logit_minus_mean", [target]) for target in (6, 7)]
    >>> no_neuron_5 = ne.AblationSpec(ne.ActivationIndex("mlp_post_act", 0, ("All", 5)), 0)
    >>> stores = ne.derive_batch([[5, 17, 3], [8]], "logits", model, loss=losses, ablations=[[no_neuron_5], []])
    >>> len({store.loss for store in stores})
    2
    """
    check_order(prompts, dsts, config)
    if isinstance(prompts, str):
        raise PromptError(
            f"derive_batch takes a list of prompts. For a single text, here {shown(prompts)}, use derive."
        )
    if is_chat(prompts):
        raise PromptError("derive_batch takes a list of prompts, not of messages. For one chat, use derive.")
    if not isinstance(prompts, Iterable):
        raise PromptError(f"prompts is {shown(prompts)}. Give a list of texts, or of sequences of token ids.")
    given = list(prompts)
    requests = parse_requests(dsts, config, loss, ablations, freeze_final_norm, len(given))
    return _derived(given, requests, prepend_bos)


def _derived(
    prompts: Sequence[str | Chat | Sequence[int] | Tensor],
    requests: Sequence[ScalarRequest],
    prepend_bos: bool | None,
) -> list[DerivedScalarStore]:
    """What is requested, for each prompt."""
    plan = CapturePlan(requests)
    model_context = plan.bound.config.get_model_context()
    read = [read_prompt(model_context, prompt, prepend_bos) for prompt in prompts]
    if not read:
        return []
    check_token_positions(plan.bound_configs, [len(prompt.token_ids) for prompt in read])
    by_kind: dict[tuple[int, ...], list[int]] = {}
    for number, prompt in enumerate(read):
        kind = plan.bound.model.config.layers_rotated_as_long(len(prompt.token_ids))
        by_kind.setdefault(kind, []).append(number)
    by_prompt: dict[int, TensorsByKey] = {}
    outcomes: dict[int, tuple[Tensor | None, Tensor | None]] = {}
    for numbers in by_kind.values():
        tokens, attention_mask = padded([read[number].token_ids for number in numbers])
        of_kind = plan if len(by_kind) == 1 else CapturePlan(of_prompts(requests, numbers))
        run = run_plan(of_kind, tokens, attention_mask)
        result, tensors = run.result, run.tensors
        for row, number in enumerate(numbers):
            by_prompt[number] = of_prompt(tensors, row, len(read[number].token_ids))
            outcomes[number] = (
                None if result.loss is None else result.loss[row],
                None if result.traced is None else result.traced[row],
            )
        del run, tensors
    warn_of_non_finite(
        [by_prompt[number] for number in range(len(read))], plan.bound, [prompt.token_ids for prompt in read]
    )
    return [
        DerivedScalarStore(
            by_prompt[number],
            prompt.token_strings,
            token_ids=prompt.token_ids,
            loss=outcomes[number][0],
            traced_activation=outcomes[number][1],
            model_name=model_context.model_name,
            n_beginning=prompt.n_beginning,
        )
        for number, prompt in enumerate(read)
    ]


class BatchDeriver:
    """Derive scalars from many batches. The pass is planned once, and results stay on the model's device.

    Args:
        model_context: the model.
        dsts: one type, several, or (type, config) pairs.
        config: whatever else the types require; its model is `model_context`.
        loss, ablations, freeze_final_norm: as for `derive`; positions and tensors have to fit every batch.

    Raises:
        As `derive`, apart from errors about prompts; and MisconfiguredError if `config` has another model.

    >>> import neuron_explainer as ne, torch
    >>> deriver = BatchDeriver(ne.load_model("tiny"), ne.DerivedScalarType.MLP_POST_ACT)
    >>> results = deriver.run(torch.tensor([[5, 17, 3]]))
    """

    @torch.inference_mode(mode=False)
    def __init__(
        self,
        model_context: ModelContext,
        dsts: DstOrPair | Iterable[DstOrPair],
        config: ConfigOrModel | None = None,
        *,
        loss: LossFnConfig | LossFunction | None = None,
        ablations: AblationsGiven = (),
        freeze_final_norm: bool = False,
    ) -> None:
        own_config = DstConfig() if config is None else as_config(config)
        if own_config.model_context not in (None, model_context):
            raise MisconfiguredError(
                "The config has another model than the one given. Leave the model out of the config."
            )
        config = dataclasses.replace(own_config, model_context=model_context)
        self._plan = CapturePlan(parse_requests(dsts, config, loss, ablations, freeze_final_norm))

    def run(
        self, tokens: Int[Tensor, "batch tokens"], attention_mask: Bool[Tensor, "batch tokens"] | None = None
    ) -> dict[DerivedScalarType, DenseByLayer]:
        """Derive from one batch, without making a GPU wait for the CPU.

        Args:
            tokens: token ids, padded on the right.
            attention_mask: True for real tokens; best on the CPU. None for prompts of one length.

        Returns:
            For each type, a dict with a tensor for each layer, (batch, *axes). Its entries at padding have no meaning.
        """
        tensors = run_plan(self._plan, tokens, attention_mask).tensors
        return {
            dst: DenseByLayer(by_layer)
            for (dst, pass_type), by_layer in tensors.items()
            if pass_type is PassType.FORWARD
        }

    def where_non_finite(self, token_ids: Sequence[int]) -> str:
        """Where a prompt's numbers that are infinite or NaN appear first, and what to do, in words."""
        return where_non_finite(self._plan.bound, token_ids)
