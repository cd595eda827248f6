// The search of a site's index. Rows come as scripts, since a page on a disk may read nothing else; their texts are
// shown as text.
"use strict";
(() => {
  const ROWS_SHOWN = 50, AT_ONCE = 4, ASKED_DELAY = 150;
  const kinds = { letter: "", ofFolder: 1, chunks: [] };
  const rows = new Map(); // by layer and number of the file
  const loading = new Map();
  let arriving = null;
  const find = (id) => document.getElementById(id);
  const view = { sort: -1, descending: false, start: 0, turn: 0 };

  window.neLayers = (letter, ofFolder, chunks) => Object.assign(kinds, { letter, ofFolder, chunks });
  window.neRows = (layer, several) => {
    arriving = several.map((row) => {
      const [index, explanation, top, written, highest, frequency] = row;
      const name = `L${layer}${kinds.letter}${index}`;
      const tokens = top.join(" "), writes = written.join(" ");
      const searched = [name, explanation, tokens, writes].join("\n").toLowerCase();
      return { layer, index, name, cells: [name, explanation, tokens, writes, highest, frequency], searched };
    });
  };

  const page = (row) => {
    const group = Math.floor(row.index / kinds.ofFolder) * kinds.ofFolder;
    return `L${row.layer}/${group ? group + "/" : ""}${row.name}.html`;
  };

  const load = (layer, number) => {
    const key = `${layer}-${number}`;
    if (!loading.has(key)) {
      loading.set(key, new Promise((resolve) => {
        const script = document.createElement("script");
        script.src = `search/L${key}.js`;
        // A script's load event follows its run at once, so that what arrived is its own.
        script.onload = () => { rows.set(key, arriving || []); arriving = null; script.remove(); resolve(true); };
        script.onerror = () => { loading.delete(key); script.remove(); resolve(false); };
        document.head.append(script);
      }));
    }
    return loading.get(key);
  };

  const wanted = () => {
    const chosen = find("layer").value;
    return kinds.chunks
      .filter(([layer]) => chosen === "all" || String(layer) === chosen)
      .flatMap(([layer, n]) => Array.from({ length: n }, (_, number) => [layer, number]));
  };

  const compare = (one, other) => {
    const order = one.layer - other.layer || one.index - other.index;
    if (view.sort < 0) return order;
    if (view.sort === 0) return view.descending ? -order : order;
    const [a, b] = [one.cells[view.sort], other.cells[view.sort]];
    const missing = (value) => value === null || value === "";
    if (missing(a) || missing(b)) return missing(a) - missing(b) || order; // at the end in both directions
    const difference = typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
    return (view.descending ? -difference : difference) || order;
  };

  const number = (value) => (value === null ? "" : String(value).replace("-", "−"));

  const draw = (matching, missing) => {
    const last = Math.max(0, Math.ceil(matching.length / ROWS_SHOWN) - 1) * ROWS_SHOWN;
    view.start = Math.min(view.start, last);
    const shown = matching.slice(view.start, view.start + ROWS_SHOWN);
    find("found").querySelector("tbody").replaceChildren(...shown.map((row) => {
      const line = document.createElement("tr");
      row.cells.forEach((value, column) => {
        const cell = line.insertCell();
        if (column === 0) {
          const link = document.createElement("a");
          link.href = page(row);
          link.textContent = value;
          cell.append(link);
        } else if (column > 3) {
          cell.className = "number";
          cell.textContent = number(value);
        } else {
          const text = document.createElement("bdi");
          text.textContent = value;
          if (column > 1) cell.className = "tokens";
          cell.append(text);
        }
      });
      return line;
    }));
    find("before").disabled = view.start === 0;
    find("after").disabled = view.start >= last;
    const range = matching.length ? `${view.start + 1}–${view.start + shown.length} of ` : "";
    const lacking = missing ? `; ${missing} files of rows cannot be read` : "";
    find("said").textContent = `${range}${matching.length.toLocaleString("en")} found${lacking}`;
  };

  const show = async () => {
    const turn = ++view.turn;
    const files = wanted();
    const words = find("asked").value.toLowerCase().split(/\s+/).filter(Boolean);
    let missing = 0;
    for (let start = 0; start < files.length; start += AT_ONCE) {
      const next = files.slice(start, start + AT_ONCE);
      if (next.some(([layer, n]) => !rows.has(`${layer}-${n}`)) && files.length > AT_ONCE) {
        find("said").textContent = `reading ${start} of ${files.length} files …`;
      }
      const read = await Promise.all(next.map(([layer, n]) => load(layer, n)));
      if (turn !== view.turn) return; // asked anew
      missing += read.filter((isRead) => !isRead).length;
    }
    const several = files.flatMap(([layer, n]) => rows.get(`${layer}-${n}`) ?? []);
    const matching = several.filter((row) => words.every((word) => row.searched.includes(word))).sort(compare);
    draw(matching, missing);
  };

  const begin = () => {
    find("controls").hidden = false;
    find("found").hidden = false;
    let waiting = 0;
    const restart = () => { view.start = 0; show(); };
    find("asked").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(restart, ASKED_DELAY);
    });
    find("layer").addEventListener("change", restart);
    find("before").addEventListener("click", () => { view.start = Math.max(0, view.start - ROWS_SHOWN); show(); });
    find("after").addEventListener("click", () => { view.start += ROWS_SHOWN; show(); });
    const heads = [...find("found").querySelectorAll("th")];
    heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
      view.descending = view.sort === column ? !view.descending : column > 3;
      view.sort = column;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
      restart();
    }));
    if (kinds.chunks.length > 1) find("layer").value = String(kinds.chunks[0][0]);
    show();
  };
  document.addEventListener("DOMContentLoaded", begin);
})();
