# %% [markdown]
# # Where does the name move? Patching on SmolLM2-135M
#
# *When Mary and John went to the store, John gave a drink to* … *Mary*. The model has to see which name was said twice, and
# say the other one. Where in the model is that decided?
#
# Patching takes two prompts that differ in one token. In the *corrupted* one it is Mary who gives, so the answer is *John*.
# The metric is the logit of *Mary* minus that of *John*. Activations from the run on the *clean* prompt are written into the
# run on the corrupted one, one at a time: how far does each of them bring the metric back?

# %%
import neuron_explainer as ne

model = ne.load_model("smollm2-135m")
clean = "When Mary and John went to the store, John gave a drink to"
corrupted = "When Mary and John went to the store, Mary gave a drink to"
answers = (" Mary", " John")

# %% [markdown]
# ## The residual stream, layer by layer and token by token
#
# Each cell is one patch: the residual stream that a layer (column) reads at a token (row) is that of the clean run. The
# score says how far the metric moves: 0 is the corrupted run, 1 the clean one.

# %%
stream = ne.patch(model, clean, corrupted, answers)
stream

# %% [markdown]
# Up to layer 19 the answer is all at the second *John* (in the corrupted prompt *Mary*), the only token that differs.
# Between layers 20 and 24 it moves to the last token, where the prediction is made.
#
# ## Which heads move it? Exactly, and as an estimate
#
# All 270 heads, one after the other, each at all tokens at once. `top` gives the strongest as a table:

# %%
heads = ne.patch(model, clean, corrupted, answers, at="heads")
heads.top(6)

# %% [markdown]
# The same can be estimated: what a patch changes, times the gradient of the metric (*attribution patching*). That takes one
# backward pass for all heads at once. The 20 strongest are patched exactly as well, and Spearman's rank correlation says how
# well the two orders agree.

# %%
estimate = ne.patch(model, clean, corrupted, answers, at="heads", method="gradient")
estimate

# %% [markdown]
# One head stands out: **L23H3** (layer 23, head 3) alone restores more than half of the difference. L24H4 and L29H0 work
# against it: with their clean activations the corrupted run gets further away from the clean one.
#
# ## Which of them speak to the output directly?
#
# A patched head may act through later heads. Path patching lets through only what goes from a head to the logits: all
# other heads are frozen, so they keep the activations of the run. Here it is the clean run that is changed: the head sends
# what it has in the corrupted run. So a *low* score means that the head is needed. `effect` is the change of the metric.

# %%
paths = ne.path_patch(model, clean, corrupted, answers, senders="heads", receivers="logits")
paths.top(6)

# %% [markdown]
# L23H3 speaks to the output directly, and so do L29H1 and L23H0. L24H4 and L29H0 do so as well, against the answer: without
# them it would be stronger. Such "negative" heads were found in GPT-2, too (Wang et al. 2022).
#
# What does L23H3 look at? The first token is left out, since many heads rest there:

# %%
ne.attention(model, clean, skip_first=True).head("L23H3")

# %% [markdown]
# From the last token (*to*, 13) it looks at the second *John* (9) with a weight of 0.74, and hardly at *Mary*. And what does
# it write at the last token? A lens reads it as tokens. Rank 1 would be the token that it raises most:

# %%
written = ne.lens(model, clean, of="heads", layers=23, positions=-1, tokens=list(answers)).of_tokens
written.query("head == 3")[["asked_token", "rank", "logit"]]

# %% [markdown]
# Of all 49,152 tokens it puts *John* last. So the head does not bring *Mary*: it finds the name that was said twice, and
# rules it out.

# %% [markdown]
# ## Not one prompt but many
#
# `ne.prompt_pairs` makes pairs of prompts by rule, aligned token by token for this model. `halves` keeps some aside: heads
# are chosen on one half and tested on the other.

# %%
pairs = ne.prompt_pairs("indirect_objects", n=16, seed=0, model=model)
to_choose, to_test = pairs.halves()
to_choose[:3]

# %% [markdown]
# The heads with the strongest mean scores over eight pairs, and the scores' standard deviation:

# %%
chosen = ne.patch(model, to_choose, at="heads", method="gradient").top(3)
chosen[["name", "score", "score_std"]]

# %% [markdown]
# And on the other eight:

# %%
tested = ne.patch(model, to_test, at="heads", method="gradient", check=3)
tested

# %% [markdown]
# The same heads come first on names, places and things that were not used to choose them.

# %% [markdown]
# With `same_positions=True` all pairs are the same sentence but for the names, the place and the thing, so a position means
# the same in each. Then the map of layers and tokens can be a mean, too. "…" says that other pairs have another token there:

# %%
alike = ne.prompt_pairs("indirect_objects", n=4, seed=1, model=model, same_positions=True)
ne.patch(model, alike)

# %% [markdown]
# As with the single prompt: up to layer 20 all that matters is the second name, and from layer 24 on the last token.
