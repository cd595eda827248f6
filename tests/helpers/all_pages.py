"""A page of every kind that the library writes, as HTML, by name."""

import math
import tempfile
from functools import cache
from pathlib import Path

import neuron_explainer as ne
from helpers.explaining import FrequentTokenExplainer, LengthScorer, SimulatedScorer
from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.attribution import attribute, preview_question
from neuron_explainer.checking.findings import Where, failed, not_checked, passed
from neuron_explainer.checking.report import CheckReport
from neuron_explainer.explanations.asking.interfaces import Scorer
from neuron_explainer.views import ranked_table, token_heatmap
from neuron_explainer.views.attribution.changes import change_html
from neuron_explainer.views.attribution.layer_map import layer_map_html
from neuron_explainer.views.attribution.node_tables import node_rows_html
from neuron_explainer.views.attribution.one_node.node_page import node_html
from neuron_explainer.views.attribution.pattern import pattern_grid_html, pattern_html
from neuron_explainer.views.attribution.preview import preview_html
from neuron_explainer.views.components.page import component_html
from neuron_explainer.views.token_strip import token_strip
from neuron_explainer.widgets.messages import error_message, hint_message

PROMPT = "And the LORD said unto"


@cache
def all_pages() -> dict[str, str]:
    """Pages of the `tiny` model and of its records."""
    model = ne.load_model("tiny")
    why = attribute(model, PROMPT, " Moses", " her")
    store = ne.derive(PROMPT, ["attn_qk_probs", "attn_write_norm", "mlp_post_act"], model)
    by_token, by_pair = ne.load_neuron("tiny", 2, 5), ne.load_neuron("tiny", 2, 2, "attn_write_norm")
    head = why.heads(1)["name"].iloc[0]
    odd_values = [math.nan, math.inf, -1.0, 0.0, *map(float, range(len(HOSTILE_TOKENS) - 4))]
    errors = preview_question(model, "", " Moses", 99999)
    scores = ne.head_scores("tiny", n_sequences=2, length=8, progress=False)
    page = ne.component("tiny", "L2N5", model=model)
    patched = ne.patch(model, f"{PROMPT} Moses", f"{PROMPT} David", (" the", " her"), at="heads", method="gradient")
    patterns = ne.attention(model, PROMPT)
    written = ne.explain(page, FrequentTokenExplainer(), n=2)
    return {
        "a record by token": ne.record_to_html(by_token, examples=4),
        "a record by pair": ne.record_to_html(by_pair, examples=1),
        "an example": by_pair.most_positive_activation_records[0]._repr_html_(),
        "a heatmap": token_heatmap(HOSTILE_TOKENS, odd_values),
        "a strip": token_strip(HOSTILE_TOKENS, range(len(HOSTILE_TOKENS))),
        "a store": store._repr_html_(),
        "a ranking": ranked_table(store, 9),
        "a component": component_html(page, examples=2),
        "statistics": page.statistics._repr_html_(),
        "a head": component_html(ne.component("tiny", "L1H2", model=model), examples=1),
        "components": ne.compare_components(["L2N5", "L1H2"], PROMPT, model=model).to_html(),
        "head scores": scores._repr_html_() or "",
        "an answer": why._repr_html_(),
        "answers that are compared": why.compare(why.ablate(head))._repr_html_(),
        "nodes as rows": node_rows_html(why.nodes()),
        "layers": layer_map_html(why),
        "patterns": pattern_grid_html(why),
        "a pattern": pattern_html(why, head),
        "all patterns": patterns.to_html(),
        "a head's pattern": patterns.head("L2H3").to_html(),
        "a node": node_html(why, why.nodes(1)["name"].iloc[0], why.verify(3)),
        "a change": change_html("without L1H2", 1.0, 0.5) + change_html("without L1H3", 1.0, None, False),
        "a typed question": preview_html(preview_question(model, PROMPT, [" Moses", " Moses and Aaron"], " her")),
        "a question that cannot be asked": preview_html(errors),
        "explanations": written._repr_html_(),
        "a score of simulations": written[0].score(page, SimulatedScorer(is_calibrated=True))._repr_html_(),
        "a score of texts": written[0].score(page, LengthScorer())._repr_html_(),
        "many that are explained": many_explained_html(),
        "patching": patched._repr_html_(),
        "a check": ne.check(model, progress=False)._repr_html_(),
        "a check that failed": failed_check_html(),
        "an error": error_message(ValueError("no such neuron"), "L2N5"),
        "a hint": hint_message("Write a text."),
    }


def failed_check_html() -> str:
    """The page of a check with a finding of each kind, among them the texts of others."""
    at = Where(ne.ActivationLocationType.MLP_PRE_ACT, 3, 5)
    findings = [failed("every place", HOSTILE_TOKENS[0], 0.3, 1e-9, at), not_checked("tokens", HOSTILE_TOKENS[1])]
    findings += [failed("weights", each) for each in HOSTILE_TOKENS] + [passed("threads", "Both give the same.")]
    return CheckReport(HOSTILE_TOKENS[2], HOSTILE_TOKENS[3], tuple(findings))._repr_html_()


def many_explained_html() -> str:
    """The page of what `ne.explain_dataset` made."""
    with tempfile.TemporaryDirectory() as folder:
        scorers: list[Scorer] = [SimulatedScorer(), LengthScorer()]
        explainer = FrequentTokenExplainer()
        out = Path(folder) / "out"
        return ne.explain_dataset("tiny", ["L1N355"], explainer, scorers, out, progress=False)._repr_html_()
