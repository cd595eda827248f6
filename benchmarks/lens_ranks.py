"""Fit a Jacobian lens of SmolLM2-135M on the embedded text sample, and print how well it reads beside the logit lens.

Run `python -m benchmarks.lens_ranks OUT --prompts N`: some minutes of one core for each prompt of 128 tokens; a call
that was stopped goes on. OUT ends in .safetensors or .pt; a lens that is there is read and not fitted. The table is
printed as it is in docs/lenses.md: for each layer the median rank of the token that the model itself holds likeliest,
at the last token of short prompts, and at the tokens of texts that the lens was not fitted on.
"""

import argparse
from pathlib import Path
from statistics import median

import neuron_explainer as ne
from benchmarks.sample_texts import texts_of_sample

PROMPTS = (
    "The Eiffel Tower is in the city of",
    "The capital of Japan is the city of",
    "The largest planet of the solar system is",
    "Water freezes at a temperature of zero degrees",
    "When Mary and John went to the store, John gave a drink to",
    "The keys of the old house",
    "My sister called because",
    "Two plus two is",
    "The opposite of hot is",
    "Romeo and Juliet was written by William",
    "She opened the door with a",
    "Once upon a time there was a little",
    "Monday, Tuesday, Wednesday,",
    "The dog chased the cat up the",
    "In the winter it is cold, and in the summer it is",
)
N_TEXTS = 15
TOKENS_OF_TEXT = range(16, 48)


def ranks_of_prompt(model: ne.ModelContext, prompt: str | list[int], kind: ne.JacobianLens | str) -> list[list[int]]:
    """For each layer the ranks of the model's own likeliest token: at the last token of a text, or at each one of ids.

    The logits of the last layer are the model's own, so its first token there is the one.
    """
    positions = -1 if isinstance(prompt, str) else TOKENS_OF_TEXT
    last = model.n_layers - 1
    own = ne.lens(model, prompt, positions=positions, layers=last, top=1, progress=False).to_dataframe()
    likeliest = dict(zip(own["position"], own["token_id"], strict=True))
    tokens = sorted(set(likeliest.values()))
    read = ne.lens(model, prompt, kind=kind, positions=positions, top=1, tokens=tokens, progress=False).of_tokens
    asked = read[read["token_id"] == read["position"].map(likeliest)]
    found = asked.groupby("layer")["rank"].apply(list)
    return [found.get(layer, []) for layer in range(model.n_layers)]


def medians(model: ne.ModelContext, prompts: list[str] | list[list[int]], kind: ne.JacobianLens | str) -> list[float]:
    """The median rank by layer, over all positions of all prompts; NaN where the lens does not read."""
    all_ranks = [ranks_of_prompt(model, prompt, kind) for prompt in prompts]
    by_layer = [[rank for ranks in all_ranks for rank in ranks[layer]] for layer in range(model.n_layers)]
    return [median(ranks) if ranks else float("nan") for ranks in by_layer]


def main() -> None:
    """Fit it, where it is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompts", type=int, default=30)
    parser.add_argument("--dim-batch", type=int, default=16)
    options = parser.parse_args()
    model = ne.load_model("smollm2-135m", device="cpu", dtype="float32")
    texts = texts_of_sample()
    if options.out.exists():
        lens = ne.load_jacobian_lens(options.out)
    else:
        given = {"n_prompts": options.prompts, "dim_batch": options.dim_batch, "progress": True}
        lens = ne.fit_jacobian_lens(model, texts[:-N_TEXTS], options.out, **given)
    others = [model.encode(text)[: TOKENS_OF_TEXT.stop + 1] for text in texts[-N_TEXTS:]]
    columns = [medians(model, prompts, kind) for prompts in (list(PROMPTS), others) for kind in ("logit", lens)]
    print(lens)
    print("| After layer | prompts: logit lens | Jacobian lens | texts: logit lens | Jacobian lens |")
    print("|---|---|---|---|---|")
    for layer, row in enumerate(zip(*columns, strict=True)):
        print(f"| {layer} | " + " | ".join(f"{rank:,.0f}" for rank in row) + " |")


if __name__ == "__main__":
    main()
