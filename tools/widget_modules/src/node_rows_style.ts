import { CHOSEN, EDGE, HOVERED, INK, LINE, LINK, MUTED, NOTICE, PAPER, RAISED, themed } from "./theme.ts";

export const ROW_HEIGHT = 26;
export const HEAD_HEIGHT = 30;
export const ACTIONS_WIDTH = 206; // where the table leaves less, the buttons are above it

// A card of its own: the front end's styles for buttons and fields are undone.
const SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

export const STYLE = `
${themed(".ne-rows", ".ne-rows .ne-rows-value{background-color:var(--ne-dark);color:var(--ne-dark-text)}")}
.ne-rows,.ne-rows *{box-sizing:border-box}
.ne-rows{color-scheme:var(--ne-scheme);background:${PAPER};color:${INK};border:1px solid ${LINE};border-radius:8px;
  font:13px/1.4 ${SANS};text-align:left;overflow:hidden}
.ne-rows-bar{display:flex;flex-wrap:wrap;align-items:center;gap:4px 14px;padding:8px 12px}
.ne-rows input.ne-rows-filter{flex:0 1 230px;min-width:120px;height:26px;margin:0;padding:2px 8px;font:inherit;color:${INK};
  background:${PAPER};border:1px solid ${EDGE};border-radius:6px;box-shadow:none;-webkit-appearance:none;appearance:none}
.ne-rows input.ne-rows-filter::placeholder{color:${MUTED};opacity:1}
.ne-rows-count,.ne-rows-note{color:${MUTED};font-size:12px}
.ne-rows-note{margin-left:auto}
.ne-rows-grid{position:relative;overflow:auto;max-height:${HEAD_HEIGHT + 15 * ROW_HEIGHT + 1}px;border-top:1px solid ${LINE};
  overflow-anchor:none;background:${PAPER}}
.ne-rows-head{position:sticky;top:0;z-index:2;height:${HEAD_HEIGHT}px;background:${RAISED};border-bottom:1px solid ${LINE}}
.ne-rows-body{position:relative}
.ne-rows-row{display:grid;width:100%;line-height:${ROW_HEIGHT - 1}px}
.ne-rows-body .ne-rows-row{position:absolute;top:0;left:0;height:${ROW_HEIGHT}px;background:${PAPER};
  border-bottom:1px solid ${HOVERED};cursor:default}
.ne-rows-row>:first-child{position:sticky;left:0;z-index:1;padding-left:12px;background:inherit}
.ne-rows-head .ne-rows-row{height:100%;background:inherit}
.ne-rows-body .ne-rows-row:hover{background:${RAISED}}
.ne-rows-body .ne-rows-row[aria-selected=true]{background:${CHOSEN}}
[aria-selected=true]>:first-child{box-shadow:inset 3px 0 0 ${LINK}}
.ne-rows-cell{overflow:hidden;white-space:pre;text-overflow:ellipsis;unicode-bidi:isolate;padding-right:10px}
.ne-rows-cell.ne-right{text-align:right;font-variant-numeric:tabular-nums}
.ne-rows-value{padding:1px 5px;border-radius:3px;background-color:var(--ne-light);color:var(--ne-light-text)}
.ne-rows-open{color:${LINK};cursor:pointer}
.ne-rows-open:hover{text-decoration:underline}
.ne-rows button{font:inherit;margin:0;box-shadow:none;text-shadow:none;text-transform:none;min-width:0;cursor:pointer}
.ne-rows button.ne-rows-sort{display:block;width:100%;height:${HEAD_HEIGHT - 1}px;padding:0;border:0;background:none;
  color:${MUTED};font-size:12px;line-height:1.15;text-align:inherit;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.ne-rows button.ne-rows-sort:hover,.ne-rows [aria-sort]:not([aria-sort=none]) button.ne-rows-sort{color:${INK}}
.ne-rows [aria-sort]:not([aria-sort=none]) button.ne-rows-sort{font-weight:600}
.ne-rows-actions{display:flex;gap:3px;align-items:center}
.ne-rows-row>.ne-rows-actions{justify-self:end;padding-right:8px}
.ne-rows button.ne-rows-act{height:20px;padding:0 6px;border:1px solid ${EDGE};border-radius:4px;background:${PAPER};
  color:${INK};font-size:12px;line-height:18px}
.ne-rows button.ne-rows-act:hover{background:${HOVERED}}
.ne-rows :focus-visible{outline:2px solid ${LINK};outline-offset:-2px}
.ne-rows .ne-rows-grid:focus{outline:none}
.ne-rows:focus-within{border-color:${LINK};box-shadow:0 0 0 1px ${LINK}}
.ne-rows-empty{padding:10px 12px;color:${MUTED}}
.ne-rows-busy{padding:0 12px}
.ne-rows-busy:not(:empty){padding:6px 12px;border-top:1px solid ${LINE};background:${NOTICE}}
.ne-module-rows .ne-replaced-by-rows{display:none!important}
`;
