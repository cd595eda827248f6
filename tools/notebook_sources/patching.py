# %% [markdown]
# # Where does the name move? Patching on SmolLM2-135M
#
# *When Mary and John went to the store, John gave a drink to* … *Mary*. The model has to see which name comes twice, and
# say the other one. Where in the model is that decided? Two prompts that differ in one token are run, and pieces of one
# run are written into the other.

# %%
import neuron_explainer as ne

model = ne.load_model("smollm2-135m")
clean = "When Mary and John went to the store, John gave a drink to"
corrupted = "When Mary and John went to the store, Mary gave a drink to"
answers = (" Mary", " John")

# %% [markdown]
# ## The residual stream, layer by layer and token by token
#
# Each cell is the corrupted run with one vector of the clean run: score 0 is the corrupted run, 1 the clean one.

# %%
stream = ne.patch(model, clean, corrupted, answers)
stream

# %% [markdown]
# Up to layer 19 the answer sits at the second name, the only token that differs. From there on it is at the last token,
# where the prediction is made.
#
# ## Which heads move it? Exactly, and as an estimate
#
# All 270 heads, one after the other, at all tokens at once:

# %%
heads = ne.patch(model, clean, corrupted, answers, at="heads")
heads.top(6)

# %% [markdown]
# Attribution patching takes one backward pass for all heads at once. The strongest are patched exactly as well, and
# Spearman's coefficient says how well the two agree.

# %%
estimate = ne.patch(model, clean, corrupted, answers, at="heads", method="gradient")
estimate

# %% [markdown]
# One head stands out: **L23H3** alone restores more than half of the answer. L24H4 and L29H0 work against it: with their
# clean activations the corrupted run gets further away.
#
# ## Which of them speak to the output directly?
#
# A patched head may act through later heads. Path patching lets through only what goes from a head to the logits: every
# other head is frozen. Here the clean run is spoilt, so a *low* score means that a head is needed.

# %%
paths = ne.path_patch(model, clean, corrupted, answers, senders="heads", receivers="logits")
paths.top(6)

# %% [markdown]
# L23H3 speaks to the output directly, and so do L29H1 and L23H0. L24H4 and L29H0 also do, the other way: without them the
# answer would be stronger, as with the "negative" heads that are known from GPT-2.
#
# What does L23H3 look at?

# %%
ne.attention(model, clean).head("L23H3")

# %% [markdown]
# From the last token it looks at the *second* name, with a weight of 0.74: at *John*, not at *Mary*. And what does it write
# there? A lens reads it:

# %%
written = ne.lens(model, clean, of="heads", layers=23, positions=-1, tokens=list(answers)).of_tokens
written.query("head == 3")[["asked_token", "rank", "logit"]]

# %% [markdown]
# Of all 49,152 tokens it puts *John* last. So the head does not bring *Mary*: it finds the name that was said twice, and
# rules it out.

# %% [markdown]
# ## Not one prompt but many
#
# `ne.prompt_pairs` makes pairs by rule, aligned token by token for this model. `halves` keeps some aside: heads are chosen
# on one half and tested on the other.

# %%
pairs = ne.prompt_pairs("indirect_objects", n=16, seed=0, model=model)
to_choose, to_test = pairs.halves()
to_choose.to_dataframe().head(3)

# %%
chosen = ne.patch(model, to_choose, at="heads", method="gradient").top(3)
chosen[["name", "score", "score_std"]]

# %%
tested = ne.patch(model, to_test, at="heads", method="gradient", check=3)
tested

# %% [markdown]
# The same heads come first on names, places and things that were not used to choose them.
