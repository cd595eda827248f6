"""What a viewer says beside what it shows, as HTML that keeps its own colours."""

from neuron_explainer.activations.activations import NeuronRecord
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import INK, SANS
from neuron_explainer.views.heatmap import token_heatmap
from neuron_explainer.views.record_page import component_kind
from neuron_explainer.views.token_pairs import pair_view
from neuron_explainer.views.token_text import counted, escaped
from neuron_explainer.widgets.sources import Request, Size

_ERROR_GROUND, _ERROR_INK = "#fff1f0", "#a40e26"


def error_message(error: Exception, on_view: Request | None) -> str:
    """What went wrong, and what is on view all the same."""
    kept = f'<div style="color:{INK}">Still on view: {escaped(str(on_view))}.</div>' if on_view is not None else ""
    return (
        f'<div role="alert" class="ne-error" style="background-color:{_ERROR_GROUND};color:{_ERROR_INK};'
        f"border:1px solid {_ERROR_INK};border-radius:6px;padding:6px 10px;font-family:{SANS};line-height:1.45;"
        f'white-space:pre-wrap;overflow-wrap:anywhere">'
        f"<b>{escaped(type(error).__name__)}</b>: {escaped(str(error))}{kept}</div>"
    )


def loading_message(request: Request) -> str:
    """That something is being loaded or computed."""
    return _status(f"Loading {request} …")


def place_message(request: Request, size: Size) -> str:
    """Where what is on view lies in its dataset."""
    known = []
    if size.layers:
        known.append(f"{counted(len(size.layers), 'layer')}")
    if size.n_components:
        known.append(f"{counted(size.n_components, component_kind(request.dst))} in each")
    return _status(f"{request}" + (f" · {', '.join(known)}" if known else ""))


def hint_message(text: str) -> str:
    """A word on what can be done; text."""
    return _status(text)


def _status(text: str) -> str:
    # the page's own colours: this stands on the page's ground, light or dark
    return f'<div role="status" style="color:inherit;padding:0 6px">{escaped(text)}</div>'


def text_view(record: NeuronRecord, scale_with: NeuronRecord | None) -> str:
    """A record of one's own text: the text's heatmap or pairs, in the colours of the record on view."""
    examples = list(record.most_positive_activation_records)
    values = [value for example in examples for value in example.activations]
    if scale_with is not None:
        values += [value for _, _, _, example in scale_with.examples() for value in example.activations]
    scale = ColourScale.of(values)
    if record.is_by_token_pair:
        return "".join(pair_view(example, scale=scale) for example in examples)
    return "".join(token_heatmap(example.tokens, example.activations, scale=scale, width=None) for example in examples)
