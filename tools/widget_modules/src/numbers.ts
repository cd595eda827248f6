/** Numbers as text and as colours, as the static pages show them. */

/** Four significant digits and a typographic minus sign, as Python's `format_value`; with "+" if `isSigned`. */
export function formatted(value: number, isSigned = false): string {
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? (isSigned ? "+∞" : "∞") : "−∞";
  const [mantissa = "0", exponent = "0"] = value.toExponential(3).split("e");
  const power = Number(exponent);
  const text =
    power < -4 || power >= 4
      ? `${Number(mantissa)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`
      : String(Number(value.toPrecision(4)));
  return (isSigned && value > 0 ? "+" : "") + text.replaceAll("-", "−");
}

/** A count or a position: all its digits. */
export function whole(value: number): string {
  return Number.isInteger(value) ? String(value).replace("-", "−") : formatted(value);
}

export function counted(n: number): string {
  return n.toLocaleString("en-US");
}

/** The colour of a value; undefined for the colour of the paper. */
export function background(value: number, limit: number, palette: readonly string[]): string | undefined {
  const half = (palette.length - 1) / 2;
  if (!(limit > 0) || !(half > 0)) return undefined;
  const share = Math.max(-1, Math.min(1, value / limit));
  const colour = palette[Math.round(share * half) + half];
  return colour === undefined || !/^#[0-9a-f]{6}$/i.test(colour) ? undefined : colour;
}

/** Black or white, whichever has more contrast with the background (WCAG 2.2). */
export function textColour(colour: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((start) => {
    const channel = parseInt(colour.slice(start, start + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 ? "#ffffff" : "#000000";
}
