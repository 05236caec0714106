/** Colours of classes, on bright glass and on black. */

/** [r, g, b], 0-255, of "#rrggbb". Anything else is black. */
export function channels(hex: string): [number, number, number] {
  const value = /^#[0-9a-f]{6}$/i.test(hex) ? parseInt(hex.slice(1), 16) : 0;
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Relative luminance, 0 (black) to 1 (white), as WCAG 2 defines it. */
export function luminance(hex: string): number {
  const [r, g, b] = channels(hex).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Black or white ink, whichever stands out more from this plate. */
export function inkOn(plate: string): "#000000" | "#ffffff" {
  // White ink has contrast 1.05 / (L + .05), black (L + .05) / .05; they are equal at L = .179.
  return luminance(plate) > 0.179 ? "#000000" : "#ffffff";
}

/** The same hue, bright enough to be seen on black: mixed with white until its luminance is `floor`. */
export function onBlack(hex: string, floor = 0.25): string {
  let colour = channels(hex);
  for (let i = 0; i < 20 && luminance(toHex(colour)) < floor; i++) {
    colour = colour.map((c) => Math.min(255, Math.round(c + (255 - c) * 0.12))) as [number, number, number];
  }
  return toHex(colour);
}

export const toHex = (rgb: readonly number[]): string => `#${rgb.map((c) => Math.round(c).toString(16).padStart(2, "0")).join("")}`;
