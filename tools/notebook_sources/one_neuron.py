# %% [markdown]
# # Everything about one neuron, and search over all
#
# `ne.component` gives a neuron, attention head or latent as an object. It shows itself as a page: the tokens whose logits it
# raises and lowers, the tokens that it reads, its record, its statistics, and the components most like it. Each part is
# also a table.

# %%
import neuron_explainer as ne

node = ne.component("tiny", "L1N355")
node

# %%
node.reads(4)

# %%
node.neighbours(5, by="write")

# %% [markdown]
# ## On one's own text
#
# This neuron has learnt who speaks in a novel: it reads *Crawford* and *Elizabeth*. Here it is beside its nearest neighbour
# by what they read, on one scale:

# %%
ne.compare_components([node, ne.component("tiny", "L1N219")], ["Miss Crawford replied to Mr. Darcy"])

# %% [markdown]
# ## Search
#
# Which neurons fire on *LORD* in their stored examples, and which ones most against their own habit? With a model the
# same is asked of a text of one's own.

# %%
ne.search("tiny", " LORD", kind="selective", n=5)

# %%
model = ne.load_model("tiny")
ne.search(model, "And the LORD said unto Moses", token=" LORD", n=5)

# %% [markdown]
# ## All neurons
#
# A row for each neuron of the dataset: rare neurons with high peaks are at the upper left.

# %%
statistics = ne.dataset_statistics("tiny")
ne.plot_dataset_statistics(statistics, x="frequency", y="max")

# %% [markdown]
# ## Attention heads
#
# What does each head look at? On random tokens that are repeated, a head that looks at the token after an earlier
# occurrence is an induction head.

# %%
scores = ne.head_scores(model)
ne.plot_heads(scores, "induction")

# %%
scores.sort_values("induction", ascending=False).head(4)[["name", "previous", "induction", "first", "copying"]]

# %% [markdown]
# A head has pairs of tokens where a neuron has tokens: what it looks for, and what it then writes.

# %%
ne.component("tiny", "L3H1").reads(5)

# %%
ne.component("tiny", "L3H1").writes(5)

# %% [markdown]
# ## Explanations
#
# Keep what you found: `node.explanations.add("who speaks in a novel")` writes it to a small file beside the cache, and
# `ne.search("tiny", "novel", kind="explanation")` finds it again. Datasets with published explanations show theirs, with
# their scores: `ne.component("gpt2-xl", "L5N131").explanations`.
