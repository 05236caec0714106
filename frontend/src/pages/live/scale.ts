/** Sliders whose steps are felt as equal: exposure and gain run on a logarithmic scale. */

/** Where `value` stands between low and high, 0-1. */
export function toSlider(value: number, low: number, high: number): number {
  if (!(low > 0) || high <= low) return 0;
  return Math.log(Math.min(Math.max(value, low), high) / low) / Math.log(high / low);
}

/** The value at a place 0-1, to three significant digits, never outside low..high. */
export function fromSlider(place: number, low: number, high: number): number {
  const value = low * (high / low) ** Math.min(Math.max(place, 0), 1);
  return Math.min(Math.max(Number(value.toPrecision(3)), low), high);
}
