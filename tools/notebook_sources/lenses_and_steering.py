# %% [markdown]
# # Reading and steering the residual stream of SmolLM2-135M
#
# A lens reads the residual stream before the last layer, as if it were the last one. Steering writes a direction into it.

# %%
import neuron_explainer as ne

model = ne.load_model("smollm2-135m")

# %% [markdown]
# ## The logit lens
#
# Each cell is the token that the unembedding reads after a layer; hover over it for the top five. The last row is the
# model's own prediction.

# %%
prompt = "The Eiffel Tower is in the city of"
reading = ne.lens(model, prompt, tokens=[" Paris"])
reading

# %% [markdown]
# *Paris* is far from the top until late: where does its rank fall?

# %%
paris = reading.of_tokens.query("position == position.max()")
paris[paris["layer"].isin([0, 12, 22, 23, 24, 26, 27, 28, 29])][["layer", "rank", "probability"]]

# %% [markdown]
# Thousands of tokens are ahead of it up to layer 22, hundreds after layer 23, and it is the likeliest from layer 28 on. The
# logit lens assumes that all layers speak the language of the last one. Those in the middle do not: a low rank there does
# not say that the model does not know yet.
#
# ## What a layer writes
#
# The same reading of what each attention layer adds, with the scale of the final norm held as it was. So a write's logits
# are its direct effects:

# %%
writes = ne.lens(model, prompt, of="attn", positions=-1, top=3)
writes.to_dataframe().query("layer in [23, 24, 26, 28]")[["layer", "rank", "top_token", "logit"]]

# %% [markdown]
# The attention of layer 23 writes *Paris*, third after pieces of *Eiffel*: just where its rank falls.
#
# ## Steering: a direction from pairs of texts
#
# The mean difference between pleased and displeased texts, at their last token, after layer 18:

# %%
pairs = [
    ("I love this film. It is wonderful", "I hate this film. It is terrible"),
    ("What a great day, I am so happy", "What an awful day, I am so sad"),
    ("The food was delicious and the service excellent", "The food was disgusting and the service horrible"),
    ("She smiled, full of joy", "She frowned, full of anger"),
]
direction = ne.steering_direction(model, pairs, layers=18)
steering = ne.steer(model, direction)
steering.generate("When I walked into the restaurant, the food was", max_new_tokens=12, strengths=[-2, -1, 1, 2])

# %% [markdown]
# A strength of one turns the text; two is already more than the model can make sense of. A number says the same: how much
# more or less likely is a word?

# %%
steering.log_probability("The food was", " terrible", strengths=[-2, -1, 1, 2])

# %% [markdown]
# ## Directions of one's own
#
# A neuron (`"L5N131"`), an autoencoder's latent, a row of the unembedding, a tensor or a control-vector file give a
# direction, too. Here the token *Paris* itself is written into layer 20:

# %%
to_paris = ne.steer(model, ne.steering_direction(model, token=" Paris", layers=20))
to_paris.generate("I would like to travel to", max_new_tokens=12, strengths=[20, 60])
