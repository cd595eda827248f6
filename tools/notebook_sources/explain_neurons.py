# %% [markdown]
# # Explain a neuron
#
# What does a neuron do, in words, and how good are the words? Here patterns of tokens are the words: no language model is needed,
# and nothing is downloaded. At the end is how to ask a language model of your own.

# %%
import importlib.resources
import os
import tempfile
from pathlib import Path

import neuron_explainer as ne
from neuron_explainer.explanations import (
    EmbeddingScorer,
    PatternExplainer,
    PatternScorer,
    SurprisalScorer,
    TokenExplainer,
)

folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
node = ne.component("tiny", "L1N355")
explanations = ne.explain(node)
explanations

# %% [markdown]
# The explanation was written from a quarter of the neuron's top examples: the passages on which it is highest. What it was not
# written from says how good it is. The patterns predict activations; below they stand beside the real ones, token by token. The
# score is their correlation, with the interval that other passages might have given. The bars beneath are explanations that say
# little: a score means something only beside them.

# %%
score = ne.score(explanations[0], node, others=ne.explain(ne.component("tiny", "L2N5")))
score

# %% [markdown]
# ## Another explainer, and words of one's own
#
# A `TokenExplainer` names tokens and contexts, and the output tokens that the neuron raises. `ne.score` takes any text, too. Words
# alone predict no activations, so an `EmbeddingScorer` compares their meaning with that of passages: how often is a passage on which
# the neuron fires nearer to the words than one on which it does not? 0.5 is chance.

# %%
ne.explain(node, TokenExplainer())

# %%
own = "who speaks in a novel: Mr. and Mrs. after a quotation"
ne.score(own, node, EmbeddingScorer())

# %% [markdown]
# A `SurprisalScorer` asks a language model no question. It looks at whether the passages become likelier when the words stand before
# them. SmolLM2-135M does for this. Asked "does this passage fit?", the same model would answer at chance: do not take a judge that
# cannot judge.

# %%
smollm2 = ne.load_model("smollm2-135m")
ne.score(own, node, SurprisalScorer(smollm2))

# %% [markdown]
# ## Many neurons
#
# `ne.explain_dataset` explains and scores many, several at once. Each is written to the folder when it is done, so a call that was
# stopped goes on when it is made again.

# %%
names = [f"L1N{number}" for number in range(340, 364)]
made = ne.explain_dataset("tiny", names, PatternExplainer(), [PatternScorer()], "explained", progress=False)
made.to_dataframe().nlargest(8, "pattern")[["component", "explanation", "pattern", "pattern: most frequent token"]]

# %% [markdown]
# The folder is read like published explanations: on the page of a component or a viewer, and in the search by words.

# %%
ne.component("tiny", "L1N355", explanations=made.explanations).explanations

# %% [markdown]
# ## A real model
#
# The same for neurons of SmolLM2, whose records are made here from a small text.

# %%
sample = importlib.resources.files("neuron_explainer") / "data" / "tiny" / "sample.jsonl.gz"
path = ne.collate(smollm2, Path(str(sample)), "smollm2-records", layers=[8], max_tokens=6_000, progress=False)
rarest = ne.dataset_statistics(path, progress=False).nlargest(12, "kurtosis")["name"].tolist()
made = ne.explain_dataset(path, rarest, PatternExplainer(), [PatternScorer()], "of-smollm2", progress=False)
made.to_dataframe()[["component", "explanation", "pattern", "pattern low", "pattern high"]]

# %% [markdown]
# ## Ask a language model
#
# Any endpoint that speaks OpenAI's chat completions will do: vLLM, llama.cpp, Ollama, LM Studio, or a hosted one. It needs the
# extra `explain` (`pip install '.[explain]'`). The key stays in the environment variable that you name. Answers are kept on the
# disk, so nothing is asked twice.
#
# ```python
# from neuron_explainer.explanations import DetectionScorer, LanguageModelExplainer, OpenAICompatibleClient, SimulationScorer
#
# client = OpenAICompatibleClient("http://localhost:11434/v1", "llama3.2")  # or: api_key_env="MY_KEY"
# written = ne.explain(node, LanguageModelExplainer(client), n=3)
# ne.score(written[0], node, SimulationScorer(client))
# ne.explain_dataset("tiny", names, LanguageModelExplainer(client), [DetectionScorer(client)], "by-llama", max_concurrent=8)
# ```
#
# `docs/explanations.md` says what each score means, and what it does not.
