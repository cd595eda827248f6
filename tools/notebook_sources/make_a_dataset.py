# %% [markdown]
# # Make your own neuron dataset
#
# The public records cover GPT-2. This notebook makes records of the same kind for any model and any text: for every
# neuron the passages on which it is largest, random passages, and its statistics. It runs the small embedded model over
# WordNet's definitions, which takes some seconds. The command for a larger model is at the end.

# %%
import gzip
import json
import tempfile
from importlib.resources import files
from pathlib import Path

import neuron_explainer as ne

# %% [markdown]
# ## A model and texts
#
# Texts can be strings, files (`.txt`, `.jsonl`, `.parquet`), a Hugging Face dataset, or any iterator. These are from a text
# sample that comes with the package: four corpora, of which we take the dictionary.

# %%
model = ne.load_model("tiny")
with gzip.open(files("neuron_explainer") / "data" / "tiny" / "sample.jsonl.gz", "rt", encoding="utf-8") as lines:
    documents = [json.loads(line) for line in lines]
texts = [document["text"] for document in documents if document["corpus"] == "wordnet"]
print(len(texts), "texts, the first of which begins:")
print(texts[0][:230])

# %% [markdown]
# ## One call
#
# `collate` reads the texts once; its memory does not grow with their number. A run that was stopped, in any way,
# continues when the same call is made again, and gives the same dataset to the byte. `dst` chooses another scalar (attention heads:
# `dst="attn_write_norm"`; autoencoder latents; …), `max_tokens` fewer tokens, `layers` fewer layers.

# %% tags=["nbval-ignore-output"]
folder = tempfile.TemporaryDirectory()
path = ne.collate(model, texts, Path(folder.name) / "dictionary", context_length=64, example_tokens=32, progress=True)
path.name

# %% [markdown]
# It is registered under its folder's name, and opens in the viewer beside the others.

# %%
viewer = ne.NeuronViewer("dictionary", layer=1, neuron=216, examples=4)
viewer

# %% [markdown]
# ## Three neurons with a plain meaning
#
# **Years of birth and death.** WordNet gives a person's dates in parentheses, and this neuron knows the century.

# %%
from IPython.display import HTML


def show(layer: int, neuron: int) -> HTML:
    """The neuron's page, with five examples."""
    return HTML(ne.record_to_html(ne.load_neuron("dictionary", layer, neuron), dataset="dictionary", examples=5))


show(layer=1, neuron=418)

# %% [markdown]
# **What something does.** *A person who makes …, a process that holds …*: the verb in a definition.

# %%
show(layer=2, neuron=307)

# %% [markdown]
# **He or she.** The subject of an example sentence, if it is a person without a name.

# %%
show(layer=2, neuron=177)

# %% [markdown]
# ## Check it
#
# `verify` draws records at random, runs the model over their sequences once more, and compares. The activations are kept as
# float16, which has 11 binary digits.

# %%
print(ne.verify(path, n=25, model=model))

# %% [markdown]
# The dataset also says how it was made: model, weights, tokenizer, texts (by their hash), settings, versions.

# %%
made_of = json.loads((path / "dataset.json").read_text())["provenance"]
made_of["corpus"], made_of["model"]["weights_sha256"][:12]

# %% [markdown]
# ## Without a dataset
#
# For a few sentences no dataset is needed: `live_record` gives one component's record on the spot, and the viewer takes
# a model in place of a dataset.

# %%
ne.live_record(
    model,
    layer=1,
    neuron=418,
    texts=["Marie Curie: French chemist and physicist (1867-1934)", "Charles Darwin: English naturalist (1809-1882)"],
)

# %% [markdown]
# ## A larger model
#
# The same from a shell. This makes the dataset of SmolLM2-135M-Instruct, all 46,080 neurons, over the whole text sample (about
# 200,000 of its tokens) in the user's cache; give `--texts` files of your own for more. Stop it with Ctrl-C whenever you
# like: the same command goes on.
#
# ```
# neuron-explainer collate --model smollm2-135m --dtype bfloat16 \
#     --texts neuron_explainer/data/tiny/sample.jsonl.gz --out cache:smollm2-135m
# ```
#
# It prints the folder, which then opens by its path: `ne.NeuronViewer("…/datasets/smollm2-135m")`. Late layers have
# neurons with a plain meaning there, such as 26:694 (Russia), 26:801 (years), 26:449 (musical instruments), 26:613 (*in a
# … manner*), 24:841 (German) and 24:1072 (from … to …). With `--engine ray` the same run uses all machines of a Ray
# cluster.

# %%
folder.cleanup()
