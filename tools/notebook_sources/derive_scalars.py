# %% [markdown]
# # Why did the model say that?
#
# A language model adds things up: every attention head and every neuron writes a vector into the *residual stream*, and
# the next token's logits are read from the sum. So "why her and not him?" has answers in numbers: how much each
# component wrote towards one logit rather than the other. This notebook computes such numbers, called *derived scalars*, on
# the small model that comes with the package, checks them by changing the model while it runs, and then does the same
# on SmolLM2, a model with 135 million parameters.

# %%
import pandas as pd
import torch

import neuron_explainer as ne
from neuron_explainer.views import ranked_table

Dst, Place, NodeType, PassType = ne.DerivedScalarType, ne.ActivationLocationType, ne.NodeType, ne.PassType
pd.set_option("display.precision", 3)

model = ne.load_model("tiny", device="cpu")
prompt = "Mr. Darcy looked at Elizabeth and said to"
loss = ne.LossFnConfig("logit_diff", target_tokens=[" her"], distractor_tokens=[" him"])

# %% [markdown]
# ## The question, as a number
#
# `loss` is the logit of " her" minus that of " him" after the last token. 0 would mean that both are as likely; 1.9 means
# that " her" is e^1.9, almost seven times, as likely. One call runs the model once, forwards and backwards, and derives
# everything in the list.

# %%
config = ne.DstConfig(model_context=model)
store = ne.derive(
    prompt,
    [
        Dst.TOKEN_ATTRIBUTION,
        Dst.MLP_POST_ACT,
        Dst.MLP_ACT_TIMES_GRAD,
        Dst.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.ATTN_QK_PROBS,
        Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD,
        Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
    ],
    config,
    loss=loss,
)
store

# %% [markdown]
# ## Direct effects: what each component wrote towards the answer
#
# The *direct effect* of a head or neuron is its write, dotted with the direction in the residual stream that raises the
# logit difference. It counts only what goes straight to the output, not what later layers make of it. Among the largest
# is a head of the last layer, 3:0, that moves something from " Elizabeth" to the token where the answer is predicted, as
# one would hope.

# %%
direct = [Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD, Dst.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD]
store.to_dataframe(8, dsts=direct)[["name", "value", "derived_scalar"]]

# %% [markdown]
# The components that wrote most *against* " her":

# %%
store.to_dataframe(4, largest=False, dsts=direct)[["name", "value", "derived_scalar"]]

# %% [markdown]
# Each head has a picture of who attends to whom. In layer 3, the direct effect of reading from each earlier token (a
# column) at each token (a row), orange for " her" and blue for " him":

# %%
store.plot(Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD, 3)

# %% [markdown]
# ## The parts add up to the whole
#
# The logit difference is a sum: embedding, attention and MLP of each layer, and what the biases add. To see it add up
# exactly, the scale of the last LayerNorm has to be held constant while the direction is taken: that is an *ablation of a
# gradient*, set to 0.

# %%
freeze_scale = ne.AblationSpec(
    ne.ActivationIndex(Place.RESID_FINAL_LAYER_NORM_SCALE, None, ("All", "All"), PassType.BACKWARD), 0.0
)
parts = ne.derive(
    prompt,
    [
        Dst.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
        Dst.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD,
    ],
    config,
    loss=loss,
    ablations=[freeze_scale],
)
by_layer = pd.DataFrame(
    {
        "attention": [
            float(part.sum()) for part in parts.activations(Dst.ATTN_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD).values()
        ],
        "MLP": [float(part.sum()) for part in parts.activations(Dst.MLP_LAYER_WRITE_TO_FINAL_RESIDUAL_GRAD).values()],
    }
).rename_axis("layer")
by_layer

# %%
embedding = float(parts.activations(Dst.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD)[None].sum())
transformer = model.get_or_create_model()
unembedding, her, him = transformer.unembedding_weight, model.encode_token_str(" her"), model.encode_token_str(" him")
bias = model.get_weight(ne.WeightLocationType.FINAL_LAYER_NORM_BIAS)
from_bias = float(bias @ (unembedding[her] - unembedding[him]))
total = embedding + by_layer.to_numpy().sum() + from_bias
print(
    f"embedding {embedding:.4f} + layers {by_layer.to_numpy().sum():.4f} + LayerNorm bias {from_bias:.4f} = {total:.4f}"
)
print(f"the logit difference is {parts.loss:.4f}")
assert abs(total - parts.loss) < 1e-3

# %% [markdown]
# ## Act×grad: an estimate of the whole effect
#
# *Act×grad* is an activation times the gradient of the logit difference with respect to it: to first order, what would
# be lost if the activation were 0, by all paths to the output. For attention there is a value for each pair of tokens.
# In the table, orange values speak for " her".

# %%
from IPython.display import HTML

whole_effect = [Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD, Dst.MLP_ACT_TIMES_GRAD]
HTML(ranked_table(store, 8, dsts=whole_effect))

# %% [markdown]
# Summed over all neurons of a layer, token by token: where in the prompt, and how deep, the MLPs matter.

# %%
store.plot(Dst.MLP_ACT_TIMES_GRAD)

# %%
summed = store.sum_over(ne.Dimension.ATTN_HEADS).sum_over(ne.Dimension.ATTENDED_TO_SEQUENCE_TOKENS)
per_token = pd.DataFrame(
    {
        "token": store.tokens,
        "embedding": store.activations(Dst.TOKEN_ATTRIBUTION)[None].squeeze(-1).tolist(),
        "MLP": sum(part.sum(-1) for part in store.activations(Dst.MLP_ACT_TIMES_GRAD).values()).tolist(),
        "attention from here": sum(
            part.flatten() for part in summed.activations(Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD).values()
        ).tolist(),
    }
)
per_token.round(3)

# %% [markdown]
# ## Does it hold? Ablate, and compare
#
# An estimate should be tested. For the ten neurons with the largest act×grad: set the neuron to 0 at its token, run the
# model again, and see by how much the logit difference falls. First-order estimates are good for small activations and
# rough for large ones, whose effect is not linear.


# %%
def without(index: ne.DerivedScalarIndex, place: ne.ActivationLocationType) -> float:
    """The logit difference when one activation is 0."""
    ablation = ne.AblationSpec(ne.ActivationIndex(place, index.layer_index, index.tensor_indices), 0.0)
    logits = ne.derive(prompt, [Dst.LOGITS], config, ablations=[ablation]).activations(Dst.LOGITS)[None][-1]
    return float(logits[her] - logits[him])


values, indices = store.topk(10, dsts=Dst.MLP_ACT_TIMES_GRAD)
tested = pd.DataFrame(
    {
        "neuron": [store.name(index) for index in indices],
        "predicted fall": values.tolist(),
        "measured fall": [store.loss - without(index, Place.MLP_POST_ACT) for index in indices],
    }
)
tested

# %%
head_values, head_indices = store.topk(1, dsts=Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD, layers=[3])
print(store.name(head_indices[0]))
predicted, measured = float(head_values[0]), store.loss - without(head_indices[0], Place.ATTN_QK_PROBS)
print(f"predicted fall {predicted:.3f}, measured fall {measured:.3f}")
assert 0.5 < measured / predicted < 2
assert tested["predicted fall"].corr(tested["measured fall"]) > 0.5

# %% [markdown]
# ## Tracing one head: why does it attend there, and what does it bring?
#
# Head 3:0 looks from " to" back at " Elizabeth". A *trace* starts the backward pass at one activation instead of the
# logits. Through **Q**: what at " to" makes it ask for this. Through **K**: what at " Elizabeth" makes it the answer.
# Through **V**: what the head brings along, measured by what it does to the logit difference.

# %%
head = ne.NodeIndex(NodeType.ATTENTION_HEAD, 3, head_indices[0].tensor_indices)


def traced(kind: ne.AttentionTraceType, act: ne.PreOrPostAct) -> pd.Series:
    """What each token's embedding contributes to the traced quantity, by act×grad."""
    trace = ne.TraceConfig(head, act, attention_trace_type=kind)
    traced_store = ne.derive(
        prompt, [Dst.TOKEN_ATTRIBUTION], ne.DstConfig(model_context=model, trace_config=trace), loss=loss
    )
    return pd.Series(traced_store.activations(Dst.TOKEN_ATTRIBUTION)[None].squeeze(-1).tolist(), name=kind.value)


traces = pd.concat(
    [
        pd.Series(store.tokens, name="token"),
        traced(ne.AttentionTraceType.Q, ne.PreOrPostAct.PRE),
        traced(ne.AttentionTraceType.K, ne.PreOrPostAct.PRE),
        traced(ne.AttentionTraceType.V, ne.PreOrPostAct.POST),
    ],
    axis=1,
)
traces.round(3)

# %% [markdown]
# Q reads nothing after " to", K and V nothing after " Elizabeth": later tokens cannot matter. Which neurons of
# earlier layers made the head attend to " Elizabeth"?

# %%
key_trace = ne.TraceConfig(head, ne.PreOrPostAct.PRE, attention_trace_type=ne.AttentionTraceType.K)
upstream = ne.derive(prompt, [Dst.MLP_ACT_TIMES_GRAD], ne.DstConfig(model_context=model, trace_config=key_trace))
print(f"the attention logit is {upstream.traced_activation:.3f}")
upstream.to_dataframe(5)[["name", "value"]]

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
    with transformer.record([(Place.MLP_POST_ACT, LAYER)]) as recording:
        transformer(torch.tensor(contexts[start : start + 40]), logits_at=None)
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
assert abs(latent_store.loss - store.loss) < 1e-3
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

# %% [markdown]
# ## The same on SmolLM2
#
# A larger model, and the classic question: whom did John give the drink to? The name that has not been repeated.

# %%
smol = ne.load_model("smollm2-135m", device="cpu")
smol_prompt = "When Mary and John went to the store, John gave a drink to"
smol_store = ne.derive(
    smol_prompt,
    [
        Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
        Dst.UNFLATTENED_ATTN_ACT_TIMES_GRAD,
        Dst.ATTN_QK_PROBS,
    ],
    ne.DstConfig(model_context=smol),
    loss=ne.LossFnConfig("logit_diff", [" Mary"], [" John"]),
)
smol_store

# %%
smol_store.to_dataframe(8, dsts=Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD)[["name", "value"]]

# %% [markdown]
# Most of these heads look from the last token back to where Mary was named, and write that name. The strongest looks at
# " John" and speaks for " Mary" all the same: it writes against the name that it sees. This is whom it attends to.

# %%
_, (mover, *_) = smol_store.topk(1, dsts=Dst.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD)
smol_store.plot(Dst.ATTN_QK_PROBS, mover.layer_index, component=mover.tensor_indices[-1])

# %%
ablation = ne.AblationSpec(ne.ActivationIndex(Place.ATTN_QK_PROBS, mover.layer_index, mover.tensor_indices), 0.0)
after = ne.derive(
    smol_prompt,
    [Dst.LOGITS],
    ne.DstConfig(model_context=smol),
    loss=ne.LossFnConfig("logit_diff", [" Mary"], [" John"]),
    ablations=[ablation],
)
logits = after.activations(Dst.LOGITS)[None][-1]
difference = float(logits[smol.encode_token_str(" Mary")] - logits[smol.encode_token_str(" John")])
print(f"{smol_store.name(mover)} set to 0: the logit difference goes from {smol_store.loss:.2f} to {difference:.2f}")
assert difference < smol_store.loss

# %% [markdown]
# `store.save("store.safetensors")` saves a result, and `ne.DerivedScalarStore.load` loads it. `ne.derived_scalars()` lists
# everything that can be derived.
