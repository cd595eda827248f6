# %% [markdown]
# # Derived scalars
#
# `ne.attribute` asks why a model says one token rather than another (`why_this_token.ipynb`). This notebook is about what
# lies below that call: `ne.derive` runs a model once, and computes from the pass whatever numbers are asked for.
# These are the *derived scalars*: activations, norms of what is written, direct effects, activation times gradient, and
# more, for heads, neurons and latents of autoencoders.

# %%
import pandas as pd
import torch

import neuron_explainer as ne
from neuron_explainer.views import ranked_table

Dst, Place = ne.DerivedScalarType, ne.ActivationLocationType
pd.set_option("display.precision", 3)

model = ne.load_model("tiny", device="cpu")
prompt = "Mr. Darcy looked at Elizabeth and said to"

# %% [markdown]
# ## What can be derived
#
# `ne.derived_scalars()` lists every type with its axes and what it means. A type is asked for by its member, or by its name.

# %%
listed = ne.derived_scalars()
print(f"{len(listed)} types")
listed[listed["name"].str.startswith("MLP_")][["name", "meaning", "axes"]].head(5)

# %%
store = ne.derive(prompt, [Dst.MLP_POST_ACT, "mlp_write_norm", "attn_qk_probs"], model)
store

# %% [markdown]
# The result is a *store*. For each type it has a tensor for each layer: here the neurons' activations, (tokens, neurons).

# %%
tuple(store.activations(Dst.MLP_POST_ACT)[2].shape), store.to_dataframe(3, dsts="mlp_write_norm")["name"].tolist()

# %% [markdown]
# ## Gradients
#
# Some types need a gradient, and so a *loss*: the number that is differentiated. Here it is the logit of " her" minus
# that of " him" after the last token. A loss can also be a function of the logits. A `DstConfig` says what else is to be
# known: the model, some of its layers, autoencoders, a trace.
#
# - *Direct effects* (`…_write_to_final_residual_grad`) are what a component writes, dotted with the gradient at the last
#   residual stream. With `freeze_final_norm=True` the scale of the last norm is held constant: then they add up to the
#   loss. Without it each also counts that it makes the residual stream longer or shorter, which the norm takes back:
#   together they sum to 0.
# - *Act×grad* is an activation times its gradient, through all later layers: an estimate of what it does in all.

# %%
config = ne.DstConfig(model_context=model)
loss = ne.LossFnConfig("logit_diff", target_tokens=[" her"], distractor_tokens=[" him"])
direct = [Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD, Dst.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD]
effects = ne.derive(prompt, direct, config, loss=loss, freeze_final_norm=True)
effects.to_dataframe(6)[["name", "value", "derived_scalar"]]

# %% [markdown]
# Each head has a picture of who attends to whom. In layer 3, the direct effect of reading from each earlier token (a
# column) at each token (a row), orange for " her" and blue for " him":

# %%
effects.plot(Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD, 3)

# %% [markdown]
# The types for whole layers add up with the embedding and the bias of the last norm to the loss, frozen. Unfrozen, they do
# not:

# %%
wholes = [
    Dst.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
    Dst.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    Dst.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
]
her, him = model.encode_token_str_list([" her", " him"])
unembedding = model.get_or_create_model().unembedding_weight
from_bias = float(model.get_weight("final_layer_norm_bias") @ (unembedding[her] - unembedding[him]))
for frozen in (True, False):
    layers = ne.derive(prompt, wholes, config, loss=loss, freeze_final_norm=frozen)
    summed = sum(float(part.sum()) for dst in wholes for part in layers.activations(dst).values())
    print(f"freeze_final_norm={frozen}: {summed:.4f} + {from_bias:.4f} = {summed + from_bias:.4f}", end="; ")
    print(f"the loss is {layers.loss:.4f}")
    assert (abs(summed + from_bias - layers.loss) < 1e-3) == frozen

# %%
from IPython.display import HTML

whole_effect = [Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD, Dst.MLP_ACT_TIMES_GRAD]
estimates = ne.derive(prompt, whole_effect, config, loss=loss)
HTML(ranked_table(estimates, 6))

# %% [markdown]
# ## Ablations
#
# An *ablation* overwrites activations while the model runs. `ne.parse_node` makes one of a name; `AblationSpec` says it in
# full; `TensorAblation` takes tensors, such as another prompt's activations. Values are numbers or "mean", over the text
# that comes with the package.

# %%
values, indices = estimates.topk(6, dsts=Dst.MLP_ACT_TIMES_GRAD)
neurons = [ne.parse_node(estimates.name(index)) for index in indices]


def fall(node: ne.NodeName, value: float | str) -> float:
    """By how much the loss falls when a node is overwritten."""
    ablation = node.to_ablation(value)
    return estimates.loss - ne.derive(prompt, Dst.ALWAYS_ONE, config, loss=loss, ablations=ablation).loss


tested = pd.DataFrame(
    {
        "neuron": [str(neuron) for neuron in neurons],
        "estimate": values.tolist(),
        "at 0": [fall(neuron, 0) for neuron in neurons],
        "at its mean": [fall(neuron, "mean") for neuron in neurons],
    }
)
tested

# %% [markdown]
# The estimate is of the fall when a neuron is 0. Against its mean the fall is another question, with other answers.

# %%
assert tested["estimate"].corr(tested["at 0"]) > 0.5
head = ne.AblationSpec(ne.ActivationIndex(Place.ATTN_QK_PROBS, 3, ("All", "All", 0)), 0.0)
without = ne.derive(prompt, Dst.ALWAYS_ONE, config, loss=loss, ablations=[head])
print(f"{estimates.loss:.3f}; without all attention of head L3H0 {without.loss:.3f}")

# %% [markdown]
# ## Traces
#
# A *trace* starts the backward pass at one activation instead of the loss. Head L3H0 looks from " to" back at
# " Elizabeth". Through **Q**: what at " to" makes it ask for this. Through **K**: what at " Elizabeth" makes it the answer.
# Through **V**: what the head brings along, measured by what it does to the loss.

# %%
reads_her = ne.parse_node("L3H0@' to'<-' Elizabeth'", tokens=store.tokens).to_node_index()


def traced(kind: ne.AttentionTraceType, act: ne.PreOrPostAct) -> pd.Series:
    """What each token's embedding contributes to the traced quantity, by act×grad."""
    trace = ne.DstConfig(model_context=model, trace_config=ne.TraceConfig(reads_her, act, attention_trace_type=kind))
    of_tokens = ne.derive(prompt, Dst.TOKEN_ATTRIBUTION, trace, loss=loss).activations(Dst.TOKEN_ATTRIBUTION)[None]
    return pd.Series(of_tokens.squeeze(-1).tolist(), name=kind.value)


traces = [
    traced(ne.AttentionTraceType.Q, ne.PreOrPostAct.PRE),
    traced(ne.AttentionTraceType.K, ne.PreOrPostAct.PRE),
    traced(ne.AttentionTraceType.V, ne.PreOrPostAct.POST),
]
pd.concat([pd.Series(store.tokens, name="token"), *traces], axis=1).round(3)

# %% [markdown]
# Q reads nothing after " to", K and V nothing after " Elizabeth": later tokens cannot matter. Which neurons of
# earlier layers made the head attend to " Elizabeth"?

# %%
key_trace = ne.TraceConfig(reads_her, ne.PreOrPostAct.PRE, attention_trace_type=ne.AttentionTraceType.K)
upstream = ne.derive(prompt, Dst.MLP_ACT_TIMES_GRAD, ne.DstConfig(model_context=model, trace_config=key_trace))
print(f"the attention logit is {upstream.traced_activation:.3f}")
upstream.to_dataframe(4)[["name", "value"]]

# %% [markdown]
# ## Many prompts, and arithmetic with stores
#
# `derive_batch` runs several prompts in one padded pass. Each may have a loss and ablations of its own.

# %%
prompts = [
    "Mr. Darcy looked at Elizabeth and said to",
    "Mr. Darcy looked at Elizabeth and came to",
    "And the LORD said unto",
]
losses = [loss, loss, ne.LossFnConfig("logit_diff", [" Moses"], [" her"])]
stores = ne.derive_batch(prompts, direct, config, loss=losses, ablations=[[], [head], []], freeze_final_norm=True)
pd.DataFrame({"prompt": prompts, "loss": [each.loss for each in stores]})

# %% [markdown]
# A store can be filtered (`select`), summed over an axis, subtracted from another and averaged. What has changed most
# at the last token, in the layers 2 and 3, now that another verb is there and head L3H0 is off?

# %%
changed = stores[0].difference(stores[1])
print(f"the difference of the losses is {changed.loss:.3f}")
changed.select(layers=[2, 3]).to_dataframe(4, tokens=len(store.tokens) - 1)[["name", "value"]]

# %%
mean = ne.DerivedScalarStore.mean([stores[0], stores[1]])
by_head = mean.sum_over(ne.Dimension.ATTENDED_TO_SEQUENCE_TOKENS)
by_head.to_dataframe(3, dsts=Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD)[["name", "value"]]

# %% [markdown]
# `store.save("store.safetensors")` saves a store, and `ne.DerivedScalarStore.load` loads it.

# %% [markdown]
# ## Latents of an autoencoder
#
# One neuron often means several things. A *sparse autoencoder* rewrites a layer's neurons as many more latents, few of
# them active at a time. Here is a small one, trained in seconds on the neurons of layer 1 over some of the text
# that comes with the package; one from a file would be loaded with `load_autoencoders`.

# %%
import gzip
import importlib.resources
import json

from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.latent_activations import TopK

LAYER, N_LATENTS, K = 1, 1024, 16
sample = importlib.resources.files("neuron_explainer") / "data" / "tiny" / "sample.jsonl.gz"
texts = [json.loads(line)["text"] for line in gzip.decompress(sample.read_bytes()).decode().splitlines()]
contexts = [model.encode(text)[:128] for text in texts]
contexts = [tokens for tokens in contexts if len(tokens) == 128][:240]
acts = []
for start in range(0, len(contexts), 40):
    with model.get_or_create_model().record([(Place.MLP_POST_ACT, LAYER)]) as recording:
        model.get_or_create_model()(torch.tensor(contexts[start : start + 40]), logits_at=None)
    acts.append(recording[Place.MLP_POST_ACT, LAYER][:, 1:].flatten(0, 1))
acts = torch.cat(acts)
acts.shape

# %%
torch.manual_seed(0)
mean = acts.mean(0)
decoder = torch.nn.functional.normalize(torch.randn(N_LATENTS, acts.shape[1]), dim=1)
encoder, latent_bias = decoder.clone().requires_grad_(), torch.zeros(N_LATENTS, requires_grad=True)
decoder.requires_grad_()
optimizer, top_k = torch.optim.Adam([encoder, decoder, latent_bias], lr=3e-3), TopK(K)
for _ in range(200):
    batch = acts[torch.randint(len(acts), (256,))]
    latents = top_k((batch - mean) @ encoder.T + latent_bias)
    error = (latents @ decoder + mean - batch).square().sum(-1).mean()
    optimizer.zero_grad()
    error.backward()
    optimizer.step()
    with torch.no_grad():
        decoder /= decoder.norm(dim=1, keepdim=True)
autoencoder = Autoencoder(encoder.detach(), decoder.detach().T, mean, latent_bias.detach(), top_k)
unexplained = (autoencoder.reconstruct(acts) - acts).square().sum() / (acts - mean).square().sum()
print(f"{autoencoder!r}: explains {1 - unexplained:.0%} of the variance with {K} of {N_LATENTS} latents a token")
assert unexplained < 0.7

# %% [markdown]
# An *online* autoencoder is part of the forward pass. The model continues with its reconstruction plus its error (what it
# leaves unexplained), so the logits stay the same. Now latents have effects, as neurons do:

# %%
autoencoders = ne.AutoencoderContext.from_autoencoders(Dst.MLP_POST_ACT, {LAYER: autoencoder})
with_latents = ne.DstConfig(model_context=model, autoencoder_context=autoencoders, layer_indices=[LAYER])
latent_store = ne.derive(
    prompt,
    [Dst.ONLINE_MLP_AUTOENCODER_LATENT, Dst.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD],
    with_latents,
    loss=loss,
)
assert abs(latent_store.loss - estimates.loss) < 1e-3
latent_store.to_dataframe(6, dsts=Dst.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD)[["name", "value"]]

# %%
latent_store.plot(Dst.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD, LAYER, k=12)

# %% [markdown]
# What does the strongest latent stand for? The tokens on which it is largest:

# %%
_, (best, *_) = latent_store.topk(1, dsts=Dst.ONLINE_MLP_AUTOENCODER_ACT_TIMES_GRAD)
latent = best.tensor_indices[-1]
on_text = autoencoder.encode(acts, slice(latent, latent + 1)).squeeze(-1)
rows = []
for place in on_text.topk(8).indices.tolist():
    context, position = contexts[place // 127], place % 127 + 1
    pieces = model.decode_token_list(context[max(0, position - 6) : position + 1])
    rows.append({"activation": float(on_text[place]), "text up to the token": "".join(pieces)})
pd.DataFrame(rows)
