# %% [markdown]
# # Reading and steering the residual stream of SmolLM2-135M
#
# The residual stream is the vector at each token that all layers read from and write to. A lens reads it after any layer
# as tokens, as if the model ended there. Steering adds a direction to it, and so changes what the model says.

# %%
import neuron_explainer as ne

model = ne.load_model("smollm2-135m")

# %% [markdown]
# ## The logit lens
#
# The logit lens applies the model's final norm and unembedding to the residual stream after each layer. Each cell is the
# likeliest token there; hover over it for the top five. The row on top, L29, is the last layer: the model's own prediction.
# Below are the ranks of a token that was asked about.

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
# logit lens assumes that all layers speak the language of the last one. Those in the middle do not: if a token is far from
# the top there, the model may know it all the same.
#
# ## What a layer writes
#
# The same reading of what each layer's attention adds to the residual stream (its *write*). The scale of the final norm is
# held as it was, so these logits are direct effects: what the write by itself adds to the model's logits.

# %%
writes = ne.lens(model, prompt, of="attn", positions=-1, top=3)
writes.to_dataframe().query("layer in [23, 24, 26, 28]")[["layer", "rank", "top_token", "logit"]]

# %% [markdown]
# The attention of layer 23 writes *Paris*, third after *iffel* and *eagles*: just where the rank of *Paris* falls.
#
# ## Steering: a direction from pairs of texts
#
# The direction is the mean difference of the residual stream between pleased and displeased texts, at their last tokens
# after layer 18. It is added times a *strength*; a negative one turns it around.

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
# With a strength of −1 the food is *terrible*, with 1 *exceptional*. With 2 and −2 the text stops making sense: such states
# are far from those that the model was trained on. How much more or less likely does the direction make a word?

# %%
steering.log_probability("The food was", " terrible", strengths=[-2, -1, 1, 2])

# %% [markdown]
# The first row, without a strength, is the model as it is. `change` is the difference of the log-probabilities (natural
# logarithms): with a strength of 1, *terrible* is about 190 times less likely (e^5.26), with −1 more than five times
# likelier. With −2 it is only twice as likely: too strong a push does not help.
#
# ## Directions of one's own
#
# A neuron (`"L5N131"`), an autoencoder's latent, a row of the unembedding, a tensor or a control-vector file give a
# direction, too. Here it is the unembedding of the token *Paris*, added after layer 20:

# %%
to_paris = ne.steer(model, ne.steering_direction(model, token=" Paris", layers=20))
to_paris.generate("I would like to travel to", max_new_tokens=12, strengths=[20, 60])

# %% [markdown]
# With a strength of 20 the text finds its way to Paris; with 60 nothing else is left of it.
