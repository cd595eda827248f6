"""What the page says of what it shows."""

import neuron_explainer as ne
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.widgets.attribution.attribution_viewer import AttributionViewer


def test_the_line_has_the_numbers_and_a_node_that_is_gone_is_no_error() -> None:
    viewer = AttributionViewer(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
    assert "No node is open" in viewer.node_panel.details.value
    before = viewer.attribution
    viewer.ablate("L3H0")
    after = viewer.attribution
    assert before is not None
    assert after is not None
    said = f"= {format_value(after.value)}; {format_value(before.value)} without ablations<"
    assert said in viewer.status.line.value
    assert viewer.status.line.value in viewer.status.echo.value  # beneath the rows, too
    assert viewer.status.echo.value.startswith('<div aria-hidden="true">')
    viewer.show_node("L3H0@4<-0")
    assert viewer.wait(60)
    assert "its activation is 0, or was overwritten" in viewer.node_panel.details.value
    viewer.trace("L2H3@4<-1")
    assert viewer.wait(60)
    assert "L3H0@4&lt;-0 is not in the answer on view" in viewer.node_panel.details.value
    assert "without ablations" not in viewer.status.line.value  # the number is another one
    assert "alert" not in viewer.node_panel.details.value
    viewer.close()
