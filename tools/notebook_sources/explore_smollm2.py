# %% [markdown]
# # The neurons of a real model
#
# The same pages for SmolLM2-135M-Instruct, a language model with 46,080 neurons. No public records of it exist, so the model
# computes them: first on two sentences, then as a small dataset of two layers.

# %%
import importlib.resources
import os
import tempfile
from pathlib import Path

import neuron_explainer as ne

model = ne.load_model("smollm2-135m")
model

# %% [markdown]
# ## Which neurons fire here?
#
# One pass over a text, and all neurons of all layers: those that are most active on *Paris*, against their own activation on
# the other tokens.

# %%
text = "The Eiffel Tower is in Paris, and the Colosseum is in Rome. Both are older than the Burj Khalifa in Dubai."
found = ne.search(model, text, token=" Paris", kind="selective", n=8)
found[["name", "activation", "score", "token"]]

# %% [markdown]
# ## On one's own texts
#
# The viewer of a model shows a neuron on texts. The sections say what it writes and reads, and which neurons are most like it.
# Each is computed when it is opened.

# %%
texts = [text, "Madrid, Lisbon and Vienna are capitals; Barcelona, Porto and Graz are not."]
viewer = ne.NeuronViewer(model, found["name"].iloc[0], texts=texts)
viewer.open_section("directions")
viewer

# %% [markdown]
# ## A dataset of one's own
#
# `ne.collate` reads a text once and keeps the examples on which each neuron of two layers is highest. With `model=` the page of
# the dataset has one's own texts, neighbours and search as well.

# %%
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
sample = importlib.resources.files("neuron_explainer") / "data" / "tiny" / "sample.jsonl.gz"
path = ne.collate(model, Path(str(sample)), "smollm2-records", layers=[8, 20], max_tokens=6_000, progress=False)
statistics = ne.dataset_statistics(path, progress=False)
statistics.nlargest(5, "kurtosis")[["name", "frequency", "max", "kurtosis"]]

# %%
rarest = statistics.nlargest(1, "kurtosis")["name"].iloc[0]
records = ne.NeuronViewer(path, rarest, model=model, examples=4)
records.open_section("neighbours")
records

# %% [markdown]
# Which neurons of these layers fire on *LORD* in the stored examples? In the viewer, `records.search(" LORD")` shows the same as a
# list to step through.

# %%
ne.search(path, " LORD", n=6, progress=False)[["name", "activation", "token", "example"]]

# %% [markdown]
# ## An attention head
#
# What does this head look at, and where is it among all 270? On random tokens that are repeated it looks at the token after
# an earlier occurrence: an induction head.

# %%
head = ne.NeuronViewer(model, "L18H6", texts="one two three four. one two three four.", dst="attn_write_norm")
head.open_section("attention")
head
