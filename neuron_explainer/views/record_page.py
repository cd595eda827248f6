"""The page of a neuron record: statistics, histogram and examples, as static HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import SupportsIndex

import numpy as np

from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.document import LINE, MUTED, card, html_document
from neuron_explainer.views.heatmap import DEFAULT_WIDTH, format_value, heatmap_text, legend
from neuron_explainer.views.statistics import histogram_bars, statistics_strip
from neuron_explainer.views.token_pairs import HOW_TO_READ_BARS, PairsOfText, pair_matrix, pair_text
from neuron_explainer.views.token_text import escaped, token_html
from neuron_explainer.vocabulary.checks import checked_number, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.wording import counted

DEFAULT_EXAMPLES = 8
_N_PAIRS = 3  # strongest pairs listed below an example
_N_MATRICES = 1  # a matrix is large; the section Attention and `pair_view` show those of the other examples
_N_TEXT_MATRICES = 3
_PAIR_WIDTH = 24  # tokens of a matrix, and of examples without one: each token says two things when one hovers over it


def record_to_html(
    record: NeuronRecord,
    *,
    dst: DerivedScalarType | str | None = None,
    dataset: str | None = None,
    examples: SupportsIndex = DEFAULT_EXAMPLES,
    width: SupportsIndex | None = DEFAULT_WIDTH,
) -> str:
    """A record as self-contained static HTML: statistics, histogram, top activations, quantiles, random examples.

    All examples share one colour scale. The page contains no scripts and downloads nothing; the record's text is
    escaped.

    Args:
        record: the record.
        dst: the derived scalar type of its activations, or its name, for the heading; None: the record's, if known.
        dataset: the dataset's name, for the heading; text; None: left out.
        examples: how many top examples are shown; half as many random ones, and a quarter as many of each quantile, of
            values by token pair an eighth.
        width: how many tokens of an example are shown, around its peak; None: all. By default at most 64; of values by
            token pair, 24 for the examples behind the third.

    Returns:
        HTML; show it in a notebook with `IPython.display.HTML`. (A record displays itself this way.)

    Raises:
        InvalidRequestError: `record` is not a NeuronRecord, `dataset` is not a text, or `examples` or `width` is not a
            whole number above 0.
        UnknownNameError: the derived scalar type is unknown.

    >>> import neuron_explainer as ne
    >>> html = ne.record_to_html(ne.load_neuron("tiny", 2, 5), dst="mlp_post_act", dataset="tiny", examples=4)
    """
    checked_type("record", record, NeuronRecord)
    if dataset is not None:
        checked_type("dataset", dataset, str)
    n_top = checked_number("examples", examples)
    if width is not None:
        checked_number("width", width)
    dst = record.dst if dst is None else derived_scalar_type_of(dst)
    return card(_heading(record, dst, dataset) + record_sections(record, n_top, width), "ne-record")


def record_sections(record: NeuronRecord, n_top: int, width: SupportsIndex | None = DEFAULT_WIDTH) -> str:
    """What a record's page has below its heading: statistics, histogram and examples.

    Args:
        record: the record.
        n_top: how many top examples are shown; half as many random ones, and a quarter as many of each quantile.
        width: how many tokens of an example are shown, around its peak; None: all.
    """
    scale = scale_of(record)
    page = _Page(record.is_by_token_pair, scale, width)
    top = record.most_positive_activation_records
    parts = [
        statistics_strip(record),
        histogram_bars(record, scale),
        legend(scale),
        page.help_text(),
        page.section("Top activations", top, n_top, n_matrices=_N_MATRICES),
        *_quantile_sections(record, page, max(1, n_top // (8 if page.by_pair else 4))),
        page.section("Random examples", record.random_sample, max(1, n_top // 2)),
    ]
    if next(record.examples(), None) is None:
        parts.append(f'<div style="color:{MUTED}">This record has no examples.</div>')
    return "".join(parts)


def scale_of(record: NeuronRecord) -> ColourScale:
    """The colour scale of a component: that of all examples of its record."""
    numbers = chain.from_iterable(example.activations for _, _, _, example in record.examples())
    values = np.fromiter(numbers, np.float64)
    finite = values[np.isfinite(values)]
    return ColourScale(float(finite.min(initial=0.0)), float(finite.max(initial=0.0)))


def texts_to_html(
    record: NeuronRecord,
    scale: ColourScale,
    note: str = "",
    *,
    beginning: str = "",
    dst: DerivedScalarType | None = None,
    dataset: str | None = None,
) -> str:
    """A record of texts in memory, as `live_record` computes it: the texts whole, in order, each once.

    Args:
        record: the record; its top examples are the texts.
        scale: the component's colour scale.
        note: what the scale is of; text.
        beginning: the token that was put before each text; empty for none.
        dst: the derived scalar type; with it the page has a heading, statistics and a histogram.
        dataset: the model's name, for the heading; text; None: left out.
    """
    page = _Page(record.is_by_token_pair, scale, None)
    texts = record.most_positive_activation_records
    about = [] if dst is None else [_heading(record, dst, dataset), statistics_strip(record)]
    if dst is not None:
        about.append(histogram_bars(record, scale))
    texts_html = "".join(page.example(text, number < _N_TEXT_MATRICES) for number, text in enumerate(texts))
    parts = [*about, legend(scale, note=note), page.help_text(), _beginning_note(beginning), texts_html]
    return card("".join(parts), "" if dst is None else "ne-record")


def _beginning_note(beginning: str) -> str:
    """That each text begins with a token that is not the user's; empty without one."""
    if not beginning:
        return ""
    return (
        f'<div class="ne-beginning" style="color:{MUTED};font-size:12px">Each text begins with '
        f"<bdi>{token_html(beginning)}</bdi>, which was put before it (prepend_bos=False: without).</div>"
    )


def record_document(
    record: NeuronRecord,
    *,
    dst: DerivedScalarType | str | None = None,
    dataset: str | None = None,
    examples: SupportsIndex = DEFAULT_EXAMPLES,
    width: SupportsIndex | None = DEFAULT_WIDTH,
) -> str:
    """The page of `record_to_html` as a complete HTML file.

    The arguments and errors are those of `record_to_html`.

    >>> import neuron_explainer as ne
    >>> ne.record_document(ne.load_neuron("tiny", 2, 5))[:15]
    '<!DOCTYPE html>'
    """
    page = record_to_html(record, dst=dst, dataset=dataset, examples=examples, width=width)
    return html_document(page, record_title(record, dst))


def record_title(record: NeuronRecord, dst: DerivedScalarType | str | None = None) -> str:
    """The title of a record's page: "Layer 2, neuron 480".

    Args:
        record: the record.
        dst: the derived scalar type of its activations, or its name; None: the record's, if it is known.
    """
    unnamed = "component" if record.is_by_token_pair else "neuron"
    dst = record.dst if dst is None else derived_scalar_type_of(dst)
    kind = unnamed if dst is None else component_kind(dst)
    return f"Layer {record.neuron_id.layer_index}, {kind} {record.neuron_id.neuron_index}"


def _heading(record: NeuronRecord, dst: DerivedScalarType | None, dataset: str | None) -> str:
    facts = [
        dataset,
        dst.value if dst is not None else None,
        "one activation per token pair" if record.is_by_token_pair else None,
    ]
    subtitle = " · ".join(escaped(text) for text in facts if text)
    return (
        f'<div style="font-size:19px"><b>{escaped(record_title(record, dst))}</b></div>'
        f'<div style="color:{MUTED};font-size:12px">{subtitle}</div>'
    )


@dataclass(frozen=True)
class _Page:
    """The settings that all sections of a record's page share."""

    by_pair: bool
    scale: ColourScale
    width: SupportsIndex | None

    def section(self, title: str, records: Sequence[ActivationRecord], count: int, n_matrices: int = 0) -> str:
        """A heading and the first `count` examples; empty without examples."""
        if not records:
            return ""
        shown = records[:count]
        how_many = counted(len(records), "example")
        if len(shown) < len(records):
            how_many = f"{len(shown)} of {how_many}"
        rows = (self.example(example, number < n_matrices) for number, example in enumerate(shown))
        return (
            f'<div style="margin-top:14px"><b>{escaped(title)}</b> '
            f'<span style="color:{MUTED};font-size:12px">{how_many}</span></div>{"".join(rows)}'
        )

    def help_text(self) -> str:
        """How to read the bars of token pairs; empty for values of tokens."""
        return f'<div style="color:{MUTED};font-size:12px">{HOW_TO_READ_BARS}</div>' if self.by_pair else ""

    def example(self, example: ActivationRecord, with_matrix: bool) -> str:
        """One example, its largest activation beside it."""
        highest = example.max_activation
        if highest is None:
            text = f'<span style="color:{MUTED}">no tokens</span>'
        elif self.by_pair:
            pairs = PairsOfText.of(example)
            is_short = self.width == DEFAULT_WIDTH and not with_matrix
            text = pair_text(pairs, self.scale, _PAIR_WIDTH if is_short else self.width, _N_PAIRS)
            text += pair_matrix(pairs, self.scale, _PAIR_WIDTH) if with_matrix else ""
        else:
            text = heatmap_text(example.tokens, example.activations, self.scale, self.width)
        peak = "" if highest is None else format_value(highest)
        return (
            f'<div class="ne-example" style="display:flex;gap:14px;border-top:1px solid {LINE};padding:6px 0">'
            f'<div title="max activation of this example" style="color:{MUTED};font-size:12px;min-width:66px;'
            f'text-align:right;padding-top:3px">{peak}</div><div style="flex:1 1 0;min-width:0">{text}</div></div>'
        )


def _quantile_sections(record: NeuronRecord, page: _Page, count: int) -> list[str]:
    """One section per bucket of activations, the highest bucket first."""
    buckets = record.random_sample_by_quantile or []
    titles = [f"Quantile {bucket + 1} of {len(buckets)}" for bucket in range(len(buckets))]
    for bucket, examples in enumerate(buckets):
        peaks = [peak for example in examples if (peak := example.max_activation) is not None]
        if peaks:
            lowest, highest = format_value(min(peaks)), format_value(max(peaks))
            titles[bucket] += f", max activation {highest if lowest == highest else f'{lowest} to {highest}'}"
    return [page.section(titles[bucket], buckets[bucket], count) for bucket in reversed(range(len(buckets)))]
