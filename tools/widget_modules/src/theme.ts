/** The colours of neuron_explainer/views/theme, which follow the theme of the page. */
const DARK_PAGES =
  ':is(body[data-jp-theme-light="false"],body.vscode-dark,' +
  "body.vscode-high-contrast:not(.vscode-high-contrast-light),html[theme=dark])";

const COLOURS: Readonly<Record<string, readonly [light: string, dark: string]>> = {
  ink: ["#1f2328", "#e9ebee"],
  muted: ["#59636e", "#a9b1ba"],
  line: ["#d1d9e0", "#43494f"],
  edge: ["#8c959f", "#7b838c"], // of fields and buttons
  paper: ["#ffffff", "#1c1c1c"],
  raised: ["#f6f8fa", "#272a2d"],
  hovered: ["#eaeef2", "#33373b"],
  link: ["#0550ae", "#79b8ff"],
  chosen: ["#e6f1fc", "#17324d"],
  notice: ["#fff8c5", "#3d3513"],
};

/** A colour by its name, for elements within the scope of `themed`. */
export const [INK, MUTED, LINE, EDGE, PAPER, RAISED, HOVERED, LINK, CHOSEN, NOTICE] = Object.keys(COLOURS).map(
  (name) => `var(--ne-${name})`,
) as [string, string, string, string, string, string, string, string, string, string];

/** The rules that give a scope's elements the colours of the page's theme, and others on dark pages. */
export function themed(scope: string, onDark = ""): string {
  const declared = (which: 0 | 1) =>
    Object.entries(COLOURS)
      .map(([name, pair]) => `--ne-${name}:${pair[which]};`)
      .join("");
  return `${scope}{--ne-scheme:light;${declared(0)}}
${DARK_PAGES} ${scope}{--ne-scheme:dark;${declared(1)}}
${onDark ? `${DARK_PAGES} ${onDark}` : ""}`;
}
