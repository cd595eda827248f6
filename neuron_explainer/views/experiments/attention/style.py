"""The style by which a page of attention patterns shows another head large, without a script.

Each head is a radio button that cannot be seen, and its small pattern the button's label. The button's classes say its
layer and head, and what is shown follows from the one that is chosen: `:checked` and what comes behind it.

Without style elements, as in a notebook that is not trusted, the buttons are not there, and the head that was opened
first stays large: that is in `style` attributes.
"""

from __future__ import annotations

from neuron_explainer.views.experiments.attention.layout import Layout


def pixels(number: float) -> str:
    """A length in CSS.

    >>> pixels(30.0), pixels(2.345)
    ('30px', '2.35px')
    """
    return f"{round(number, 2):g}px"


def attention_style(name: str, layout: Layout) -> str:
    """A style element for one page.

    Args:
        name: the class of the element around it, which no other page has.
        layout: the page's layout.
    """
    tile, cell = pixels(layout.tile), pixels(layout.cell)
    rules = [
        "&>input{display:block!important;position:absolute;left:0;width:1px;height:1px;margin:0;opacity:0;"
        "pointer-events:none}",
        f"& label{{position:absolute;top:0;width:{tile};height:{tile};cursor:pointer}}",
        f"& b{{position:absolute;width:{cell};height:{cell}}}",
        "& label:hover,& b:hover{outline:2px solid currentColor}",
        "& bdi{box-shadow:none!important}& bdi i{opacity:1!important}",
        "& .ne-hint{display:inline!important}",
        "& .ne-layer,& .ne-head{display:none!important}",
        "&>input:focus-visible~div .ne-chosen{outline-width:4px!important}",
        *(_of_layer(layer, layout) for layer in layout.layers),
        *(_of_head(head, layout) for head in range(layout.n_heads)),
    ]
    return f"<style>.{name}{{{''.join(rules)}}}</style>"


def _of_layer(layer: int, layout: Layout) -> str:
    top = pixels(layout.top(layer))
    return (
        f"&>.ne-l{layer}{{top:{top}}}&>.ne-l{layer}:checked~div{{& .ne-layer{layer}{{display:block!important}}"
        f"& .ne-chosen{{top:{top}!important}}& .ne-large{{margin-top:{pixels(layout.top_of_large(layer))}!important}}}}"
    )


def _of_head(head: int, layout: Layout) -> str:
    return (
        f"&>.ne-h{head}:checked~div{{& .ne-head{head}{{display:block!important}}"
        f"& .ne-chosen{{left:{pixels(layout.left(head))}!important}}"
        f"& .ne-strip{{margin-left:{pixels(-head * layout.side_pitch)}!important}}}}"
    )
