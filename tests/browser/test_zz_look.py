from pathlib import Path
import pytest
S=Path("/tmp/shots"); S.mkdir(exist_ok=True)
CELL='''import neuron_explainer as ne
viewer = ne.NeuronViewer("tiny", "L1N355")
viewer'''
def test_look(run_notebook, write_notebook, in_dark_theme):
    opened=run_notebook(write_notebook("look", CELL))
    v=opened.panel.locator(".ne-viewer")
    page=opened.page
    def shot(name): v.screenshot(path=str(S/(name+".png")))
    shot("examples")
    v.get_by_text("Writes and reads").click(); page.wait_for_timeout(6000); shot("directions")
    v.get_by_text("Neighbours", exact=True).click(); page.wait_for_timeout(2500); shot("neighbours")
    v.get_by_text("Statistics", exact=True).click(); page.wait_for_timeout(1500); shot("statistics")
    v.get_by_text("Search", exact=True).first.click(); page.wait_for_timeout(500)
    f=v.get_by_label("Look for", exact=True); f.fill(" LORD"); f.press("Enter"); page.wait_for_timeout(3000); shot("search")
    v.locator("[data-ne-node='L3N0']").first.click(); page.wait_for_timeout(2500); shot("search_clicked")
    in_dark_theme(opened); page.wait_for_timeout(500)
    shot("dark_search")
    v.get_by_text("Neighbours", exact=True).click(); page.wait_for_timeout(1500); shot("dark_neighbours")
    v.get_by_text("Examples", exact=True).first.click(); page.wait_for_timeout(500); shot("dark_examples")
    page.set_viewport_size({"width":800,"height":900}); page.wait_for_timeout(500); page.screenshot(path=str(S/"narrow.png"))
