/** How bright the picture is, channel by channel. */
export const BINS = 64;

export interface Histogram {
  red: number[];
  green: number[];
  blue: number[];
  /** Shares (0-1) of values that lie in the highest and the lowest step of 256. */
  bright: number;
  dark: number;
}

/** Count RGBA bytes into BINS steps a channel; each as a share of the largest. */
export function histogram(rgba: Uint8ClampedArray): Histogram {
  const counts = [new Array<number>(BINS).fill(0), new Array<number>(BINS).fill(0), new Array<number>(BINS).fill(0)] as const;
  let bright = 0;
  let dark = 0;
  for (let i = 0; i + 3 < rgba.length; i += 4) {
    for (let c = 0 as 0 | 1 | 2; c < 3; c++) {
      const value = rgba[i + c]!;
      counts[c]![value >> 2]!++;
      if (value === 255) bright++;
      if (value === 0) dark++;
    }
  }
  const values = Math.max((rgba.length / 4) * 3, 1);
  const top = Math.max(1, ...counts.flat());
  const [red, green, blue] = counts.map((channel) => channel.map((n) => n / top)) as [number[], number[], number[]];
  return { red, green, blue, bright: bright / values, dark: dark / values };
}
