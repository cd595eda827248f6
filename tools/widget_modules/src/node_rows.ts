/** The module of `NodeRows`. */
import { keepKeys } from "./jupyter_keys.ts";
import type { RenderContext } from "./model.ts";
import { listen } from "./node_rows_keys.ts";
import { NodeRowsView } from "./node_rows_view.ts";
import { whenOnPage } from "./viewer_root.ts";

function render({ model, el }: RenderContext): () => void {
  const view = new NodeRowsView(model, el);
  listen(view);
  const release = keepKeys(view.root);
  // Only now: what stands for the rows while they are not there may go.
  const leave = whenOnPage(el, (page) => {
    page.classList.add("ne-module-rows");
    model.set("hides_pages", true);
    model.save_changes();
    return () => page.classList.remove("ne-module-rows");
  });
  return () => {
    leave();
    release();
    view.stop();
  };
}

export default { render };
