# %% [markdown]
# # What does this neuron do?
#
# A neuron in a language model is a number that the model computes for every token it reads. To see what the number
# means, read the passages on which it is largest. This notebook does that for a small model whose neurons come with the
# package, so nothing is downloaded. Almost everything it shows is static HTML: it stays when the notebook is closed, and
# on GitHub. Only the viewer's controls need a running kernel.

# %%
import neuron_explainer as ne

# %% [markdown]
# ## The datasets
#
# A neuron dataset holds a *record* for each neuron (or attention head, or autoencoder latent) of a model. `tiny` is
# embedded. The others are OpenAI's public records for GPT-2: give the name of one, and its records are read from their
# public address and kept in a disk cache.

# %%
ne.datasets().drop(columns=["layout", "path"])

# %% [markdown]
# ## One neuron
#
# A record that is the last line of a cell shows itself. Orange tokens are where the neuron is above zero, blue ones
# where it is below; hover over a token for its position and value. `·` stands for a space, `↵` for the end of a line.
# *Top activations* are the passages with the highest peaks in the whole corpus, *quantiles* are groups with lower and
# lower peaks, and *random examples* show what it does on most text.
#
# The model read Jane Austen, the King James Bible, the Python documentation and WordNet. This neuron has learnt who
# speaks in a novel: it fires on *Mr.* and *Mrs.*, most of all where they follow a quotation and *said*.

# %%
record = ne.load_neuron("tiny", layer=1, neuron=355)
record

# %% [markdown]
# ## The viewer
#
# The same page with controls: choose dataset, layer and neuron, press *Next* and *Random*, or write a name such as `L2N5`
# (all of it works from the keyboard). Errors are shown under the controls, and the last neuron stays. Write a text of
# your own and press *Compute* to see what this neuron does on it. The buttons above the examples open the other sections:
# the tokens that it writes and reads, its neighbours, statistics, search, and others beside it.

# %%
viewer = ne.NeuronViewer("tiny", "L1N216", examples=6)
viewer

# %% [markdown]
# What a button does, a method does too. The three neurons most like this one by what they write are in the list of the
# section *Neighbours*; which neurons fire on *LORD* is a search whose results one steps through.

# %%
search = ne.NeuronViewer("tiny", "L1N355", examples=2)
search.search(" LORD", n=5)
search

# %% [markdown]
# `viewer.record` is the record shown, `viewer.show(layer=2, neuron=95)` shows another, and
# `viewer.save_html("neuron.html")` writes a page that needs no notebook.
#
# ## As a table
#
# One row per token, as a pandas DataFrame.

# %%
tokens = record.to_dataframe()
tokens.nlargest(10, "activation")[["kind", "example", "position", "token", "activation"]]

# %% [markdown]
# ## Many neurons at once
#
# Which neurons of a layer are the most selective? The kurtosis of a neuron's activation says how rare and how strong
# its bursts are (a normal distribution has 3).

# %%
layer = ne.load_neurons([(1, neuron) for neuron in range(512)], dataset="tiny").to_dataframe()
selective = layer.sort_values("kurtosis", ascending=False)
selective.head(8)

# %%
import plotly.express as px

px.scatter(
    layer,
    x="activation_frequency",
    y="kurtosis",
    log_x=True,
    log_y=True,
    hover_data=["neuron", "max_activation"],
    title="Layer 1: the rarer, the stronger",
    labels={"activation_frequency": "share of tokens on which the neuron is above 0"},
    template="plotly_white",
    height=420,
)

# %% [markdown]
# The histogram of the most selective neuron: the number of tokens in each range of activations.

# %%
most_selective = ne.load_neuron("tiny", layer=1, neuron=int(selective.iloc[0].neuron))
ne.plot_histogram(most_selective)

# %% [markdown]
# ## An attention head
#
# A head has a value for each *pair* of tokens: how much the attending token takes from the one it attends to. The bar
# above a token is the most it takes from any token. The bar below it is the most that a later token takes from it. Open
# *matrix of …* for the whole triangle.
# *Attention* shows both directions of one token, and *All heads* the head's place among all.
#
# At the end of a verse this head looks back to the verse's number, over everything in between: the next number is due.

# %%
heads = ne.NeuronViewer("tiny", layer=2, neuron=2, dst="attn_write_norm", examples=4)
heads

# %% [markdown]
# The second example as a figure:

# %%
ne.plot_example(heads.record.most_positive_activation_records[1])

# %% [markdown]
# ## On your own text
#
# The embedded model is here too, so a record can be made on the spot. `live_record` takes any supported model: a folder,
# a hub id, or a `transformers` model that is loaded already. Here is the first neuron again, on sentences of ours:

# %%
model = ne.load_model("tiny")
texts = ['"I am quite sure of it," said Mr. Knightley.', "Mr. Knightley was quite sure of it."]
ne.live_record(model, layer=1, neuron=355, texts=texts)

# %% [markdown]
# ## Where to go from here
#
# - With a network: `ne.NeuronViewer("gpt2-small", layer=5, neuron=131)`, or any other name in the first table.
# - `one_neuron.ipynb`: what a neuron writes and reads, its neighbours, and search over all neurons.
# - `make_a_dataset.ipynb`: records like these for a model and texts of your own.
# - `why_this_token.ipynb`: why did the model say that?
# - `look_inside_a_model.ipynb`: what these numbers are computed from.
