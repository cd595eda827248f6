"""A neuron's page: what its record says, as one piece of static HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from neuron_explainer.activations.activations import ActivationRecord, NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import LINE, MUTED, card, html_document
from neuron_explainer.views.heatmap import DEFAULT_WIDTH, format_value, heatmap_text, legend
from neuron_explainer.views.statistics import histogram_bars, statistics_strip
from neuron_explainer.views.token_pairs import HOW_TO_READ_BARS, MATRIX_WIDTH, pair_matrix, pair_text
from neuron_explainer.views.token_text import escaped
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

DEFAULT_EXAMPLES = 8
_N_PAIRS = 3  # written out beneath an example of token pairs
_N_MATRICES = 3  # a matrix is large: the first top examples alone have one

_KIND_BY_NODE_TYPE = {
    NodeType.MLP_NEURON: "neuron",
    NodeType.ATTENTION_HEAD: "attention head",
    NodeType.AUTOENCODER_LATENT: "latent",
    NodeType.MLP_AUTOENCODER_LATENT: "latent",
    NodeType.ATTENTION_AUTOENCODER_LATENT: "latent",
    NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR: "latent",
}


def record_to_html(
    record: NeuronRecord,
    *,
    dst: DerivedScalarType | None = None,
    dataset: str | None = None,
    examples: int = DEFAULT_EXAMPLES,
    width: int | None = DEFAULT_WIDTH,
) -> str:
    """A record as self-contained static HTML: statistics, histogram, top examples, quantiles, random examples.

    All examples share one colour scale. Nothing in it runs or is fetched, and all text of the record is escaped.

    Args:
        record: what to show.
        dst: what its activations are of, for the heading; None: not said.
        dataset: where it is from, for the heading; text; None: not said.
        examples: how many top examples are shown at most; half as many random ones, and a quarter of each quantile.
        width: how many tokens of an example are shown, around its peak; None: all.

    Raises:
        InvalidRequestError: `examples` or `width` is below 1.
    """
    if examples < 1:
        raise InvalidRequestError(f"A record's page shows at least 1 example, not {examples}.")
    scale = ColourScale.of(value for _, _, _, example in record.examples() for value in example.activations)
    page = _Page(record.is_by_token_pair, scale, width)
    top = record.most_positive_activation_records
    parts = [
        _heading(record, dst, dataset),
        statistics_strip(record),
        histogram_bars(record, scale),
        legend(scale),
        f'<div style="color:{MUTED};font-size:12px">{HOW_TO_READ_BARS}</div>' if record.is_by_token_pair else "",
        page.section("Top activations", top, examples, n_matrices=_N_MATRICES),
        *_quantile_sections(record, page, max(1, examples // 4)),
        page.section("Random examples", record.random_sample, max(1, examples // 2)),
    ]
    return card("".join(parts), "ne-record")


def record_document(
    record: NeuronRecord,
    *,
    dst: DerivedScalarType | None = None,
    dataset: str | None = None,
    examples: int = DEFAULT_EXAMPLES,
    width: int | None = DEFAULT_WIDTH,
) -> str:
    """`record_to_html` as a whole HTML file."""
    page = record_to_html(record, dst=dst, dataset=dataset, examples=examples, width=width)
    return html_document(page, component_name(record, dst))


def component_name(record: NeuronRecord, dst: DerivedScalarType | None = None) -> str:
    """What a record is of, for people: "Layer 2, neuron 480"."""
    unnamed = "component" if record.is_by_token_pair else "neuron"
    kind = unnamed if dst is None else component_kind(dst)
    return f"Layer {record.neuron_id.layer_index}, {kind} {record.neuron_id.neuron_index}"


def component_kind(dst: DerivedScalarType) -> str:
    """What one component is called, of which there are activations: "neuron", "attention head", "latent", …"""
    return _KIND_BY_NODE_TYPE.get(dst.node_type, "component")


def _heading(record: NeuronRecord, dst: DerivedScalarType | None, dataset: str | None) -> str:
    said = [
        dataset,
        dst.value if dst is not None else None,
        "one value a token pair" if record.is_by_token_pair else None,
    ]
    under = " · ".join(escaped(text) for text in said if text)
    return (
        f'<div style="font-size:19px"><b>{escaped(component_name(record, dst))}</b></div>'
        f'<div style="color:{MUTED};font-size:12px">{under}</div>'
    )


@dataclass(frozen=True)
class _Page:
    """What all sections of one record's page share."""

    by_pair: bool
    scale: ColourScale
    width: int | None

    def section(self, title: str, records: Sequence[ActivationRecord], count: int, n_matrices: int = 0) -> str:
        """A heading and the first `count` examples; empty where there are none."""
        if not records:
            return ""
        shown = records[:count]
        how_many = f"{len(shown)} of {len(records)}" if len(shown) < len(records) else f"{len(records)}"
        rows = (self._example(example, place < n_matrices) for place, example in enumerate(shown))
        return (
            f'<div style="margin-top:14px"><b>{escaped(title)}</b> '
            f'<span style="color:{MUTED};font-size:12px">{how_many}</span></div>{"".join(rows)}'
        )

    def _example(self, example: ActivationRecord, with_matrix: bool) -> str:
        highest = example.max_activation
        if highest is None:
            text = f'<span style="color:{MUTED}">no tokens</span>'
        elif self.by_pair:
            text = pair_text(example, self.scale, self.width, _N_PAIRS)
            text += pair_matrix(example, self.scale, MATRIX_WIDTH) if with_matrix else ""
        else:
            text = heatmap_text(example.tokens, example.activations, self.scale, self.width)
        peak = "" if highest is None else format_value(highest)
        return (
            f'<div class="ne-example" style="display:flex;gap:14px;border-top:1px solid {LINE};padding:6px 0">'
            f'<div title="the largest activation of this example" style="color:{MUTED};font-size:12px;min-width:66px;'
            f'text-align:right;padding-top:3px">{peak}</div><div style="flex:1 1 0;min-width:0">{text}</div></div>'
        )


def _quantile_sections(record: NeuronRecord, page: _Page, count: int) -> list[str]:
    """A section for each bucket of activations, the highest first."""
    buckets = record.random_sample_by_quantile or []
    titles = [f"Quantile {bucket + 1} of {len(buckets)}" for bucket in range(len(buckets))]
    for bucket, examples in enumerate(buckets):
        peaks = [peak for example in examples if (peak := example.max_activation) is not None]
        if peaks:
            lowest, highest = format_value(min(peaks)), format_value(max(peaks))
            titles[bucket] += f", peak {highest}" if len(peaks) == 1 else f", peaks from {lowest} to {highest}"
    return [page.section(titles[bucket], buckets[bucket], count) for bucket in reversed(range(len(buckets)))]
