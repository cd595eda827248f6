"""A viewer's messages (errors, progress, status), as HTML."""

from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.document import INK, NO_MATHEMATICS, SANS
from neuron_explainer.views.theme.dark import on_dark_pages
from neuron_explainer.views.token_text import escaped
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice
from neuron_explainer.wording import counted, without_credentials

_ERROR_GROUND, _ERROR_INK = "#fff1f0", "#a40e26"


def error_message(error: BaseException, shown: NeuronChoice | str | None) -> str:
    """An error, and the neuron or answer that is still shown."""
    kept = f'<div style="color:{INK}">Still showing {escaped(str(shown))}.</div>' if shown is not None else ""
    message = (
        f'<div role="alert" class="ne-error {NO_MATHEMATICS}" '
        f'style="background-color:{_ERROR_GROUND};color:{_ERROR_INK};'
        f"border:1px solid {_ERROR_INK};border-radius:6px;padding:6px 10px;font-family:{SANS};line-height:1.45;"
        f'white-space:pre-wrap;overflow-wrap:anywhere">'
        f"<b>{escaped(type(error).__name__)}</b>: {escaped(without_credentials(_said(error)))}{kept}</div>"
    )
    theme, dark = on_dark_pages(message)
    return f'<style>{dark}</style><div class="{theme}">{message}</div>'


def _said(error: BaseException) -> str:
    """An error's message; for one without, what it means."""
    try:
        said = str(error)
    except Exception:  # an error's own method may fail
        said = ""
    return said or ("The computation was interrupted." if isinstance(error, KeyboardInterrupt) else "no message")


def loading_message(choice: NeuronChoice) -> str:
    """That a record is being loaded, or computed on the choice's texts."""
    return _status(f"{'Computing' if choice.texts else 'Loading'} {choice} …")


def shown_message(choice: NeuronChoice, size: DatasetSize) -> str:
    """The neuron that is shown, and the size of its dataset."""
    parts = []
    if size.layers:
        parts.append(counted(len(size.layers), "layer"))
    if size.n_components:
        parts.append(f"{counted(size.n_components, component_kind(choice.dst))} per layer")
    return _status(f"Showing {choice}" + (f" ({', '.join(parts)})" if parts else ""))


def hint_message(text: str) -> str:
    """A hint to the user; text."""
    return _status(text)


def _status(text: str) -> str:
    # The page's own colour, because this is outside of the card, on a light or a dark page.
    return f'<div role="status" class="{NO_MATHEMATICS}" style="color:inherit;padding:0 6px">{escaped(text)}</div>'
