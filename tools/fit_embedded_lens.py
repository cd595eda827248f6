"""Fit the Jacobian lens that comes with the embedded model, `tiny`, on its text sample.

Run as `python -m tools.fit_embedded_lens [out]`; it takes some minutes on a processor. Without `out`, the file within
the package is made anew.
"""

import sys
from pathlib import Path

import neuron_explainer as ne
from benchmarks.sample_texts import texts_of_sample
from neuron_explainer.experiments.lenses.kinds import EMBEDDED_LENS

N_PROMPTS = 100


def main() -> None:
    """Fit it, and put it in the place of the one before."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else EMBEDDED_LENS
    model = ne.load_model("tiny", device="cpu")
    made = out.with_name(f"new_{out.name}")
    lens = ne.fit_jacobian_lens(model, texts_of_sample(), made, n_prompts=N_PROMPTS, dim_batch=32, progress=True)
    made.replace(out)
    print(lens)


if __name__ == "__main__":
    main()
