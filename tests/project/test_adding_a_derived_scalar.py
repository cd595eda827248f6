"""The example of docs/adding_a_derived_scalar.md, applied to a copy of the library, derives what it says."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.paths import REPOSITORY

VOCABULARY = Path("neuron_explainer/vocabulary/derived_scalar_types.py")
MODULE = Path("neuron_explainer/activations/derived_scalars/derivers/mlp.py")

DERIVE_IT = """
import torch
import neuron_explainer
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D, DstConfig, derive
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig

sizes = dict(n_layers=2, n_heads=2, n_key_value_heads=2, d_model=8, d_head=4, d_mlp=12, vocab_size=9)
config = TransformerConfig(
    model_type="example", max_context_length=8, norm_kind="layer_norm", norm_epsilon=1e-5,
    activation_function="gelu", learned_positions=True, **sizes,
)
model = StandardModelContext("example", Transformer.with_random_weights(config))
dsts = [D.MLP_PRE_ACT_TIMES_GRAD, D.MLP_PRE_ACT]
store = derive(
    [1, 2, 3], dsts, DstConfig(model_context=model, derive_gradients=True), loss=lambda logits: logits[-1, 4]
)
for layer, result in store.activations(D.MLP_PRE_ACT_TIMES_GRAD).items():
    gradient = store.activations(D.MLP_PRE_ACT, PassType.BACKWARD)[layer]
    assert result.abs().max() > 0
    torch.testing.assert_close(result, store.activations(D.MLP_PRE_ACT)[layer] * gradient)
table = neuron_explainer.derived_scalars("neuron before its nonlinearity times its gradient")
assert table.name.tolist() == ["MLP_PRE_ACT_TIMES_GRAD"], table
assert table.requires.tolist() == ["a loss or trace_config"]
print(neuron_explainer.__file__)
"""


def test_the_example_derives_what_it_says(tmp_path):
    text = (REPOSITORY / "docs/adding_a_derived_scalar.md").read_text()
    member, function = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shutil.copytree(
        REPOSITORY / "neuron_explainer",
        tmp_path / "neuron_explainer",
        ignore=shutil.ignore_patterns("__pycache__", "data"),
    )
    vocabulary = tmp_path / VOCABULARY
    before = "    MLP_WRITE_TO_FINAL_RESIDUAL_GRAD ="
    assert before in vocabulary.read_text()
    vocabulary.write_text(vocabulary.read_text().replace(before, member + before))
    module = tmp_path / MODULE
    module.write_text(module.read_text() + "\n\n" + function)
    for configuration in ("pyproject.toml", "setup.cfg"):
        shutil.copy(REPOSITORY / configuration, tmp_path)
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", "check", str(vocabulary), str(module)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ruff.returncode == 0, ruff.stdout
    (added,) = (node for node in ast.walk(ast.parse(function)) if isinstance(node, ast.FunctionDef))
    assert added.returns is not None
    assert all(argument.annotation is not None for argument in added.args.args)
    run = subprocess.run(
        [sys.executable, "-c", DERIVE_IT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path))  # it was the copy that ran
