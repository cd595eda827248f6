import { EDGE, INK, LINE, LINK, MUTED, NOTICE, PAPER, RAISED, themed } from "./theme.ts";

const SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

export const STYLE = `
${themed(".ne-module")}
.ne-module .ne-replaced{display:none!important}
.ne-module [data-ne-node],.ne-module [data-ne-token]{cursor:pointer}
.ne-module :is(td,img)[data-ne-node]:hover{outline:2px solid ${INK};outline-offset:-1px}
.ne-module td>span[data-ne-node]{color:${LINK}}
.ne-module span[data-ne-node]:hover{text-decoration:underline}
.ne-module :is([data-ne-node],[data-ne-token]):focus-visible{outline:3px solid ${LINK};outline-offset:0;
  box-shadow:0 0 0 1px ${PAPER}}
.ne-keys{align-self:flex-end;position:relative;z-index:1;height:24px;margin:15px 2px -39px 0;padding:0 10px;font:12px/1 ${SANS};
  color:var(--jp-ui-font-color1,inherit);background:transparent;border:1px solid var(--jp-border-color1,#8c959f);
  border-radius:6px;cursor:pointer}
.ne-viewer>.ne-keys{margin:2px 2px 4px 0;flex:none}
.ne-module:focus{outline:none}
.ne-module:focus-visible{outline:2px solid var(--jp-brand-color1,#0550ae);outline-offset:2px}
.ne-keys:focus-visible{outline:2px solid var(--jp-brand-color1,#0550ae);outline-offset:1px}
.ne-busy,dialog.ne-shortcuts{color-scheme:var(--ne-scheme)}
.ne-busy{box-sizing:border-box;font:13px/1.4 ${SANS};color:${INK}}
.ne-busy:not(:empty){position:sticky;bottom:8px;z-index:5;width:fit-content;margin:6px auto;padding:6px 14px;
  background:${NOTICE};border:1px solid ${LINE};border-radius:8px}
dialog.ne-shortcuts{box-sizing:border-box;width:fit-content;max-width:90vw;margin:auto;padding:16px 20px;
  background:${PAPER};color:${INK};border:1px solid ${LINE};border-radius:10px;font:13px/1.4 ${SANS};
  box-shadow:0 8px 24px rgba(31,35,40,.25)}
dialog.ne-shortcuts::backdrop{background:rgba(31,35,40,.35)}
.ne-shortcuts h2{margin:0 0 8px;font:600 14px/1.4 ${SANS};color:${INK}}
.ne-shortcuts dl{display:grid;grid-template-columns:max-content auto;gap:4px 16px;margin:0 0 12px}
.ne-shortcuts dt,.ne-shortcuts dd{float:none;width:auto;margin:0;padding:0;font-weight:normal;color:${INK}}
.ne-shortcuts dt{white-space:nowrap}
.ne-shortcuts dd{color:${MUTED}}
.ne-shortcuts kbd{display:inline-block;min-width:18px;margin:0;padding:0 5px;border:1px solid ${LINE};border-radius:4px;
  background:${RAISED};color:${INK};font:12px/18px ${SANS};text-align:center;box-shadow:none}
.ne-shortcuts button{margin:0;padding:3px 12px;border:1px solid ${EDGE};border-radius:6px;background:${RAISED};color:${INK};
  font:inherit;cursor:pointer}
.ne-shortcuts button:focus-visible{outline:2px solid ${LINK};outline-offset:1px}
`;
