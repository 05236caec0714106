/** Names of classes where there is little room. */

const SHORTER: readonly (readonly [RegExp, string])[] = [
  [/\bneutrophilic\b/, "neut."],
  [/\beosinophilic\b/, "eos."],
  [/\bbasophilic\b/, "baso."],
  [/\bpolychromatic\b/, "poly."],
  [/\borthochromatic\b/, "ortho."],
  [/\bmegaloblastic\b/, "megalo."],
  [/\bsegmented\b/, "seg."],
  [/\batypical\b/, "atyp."],
  [/\babnormal\b/, "abn."],
  [/metamyelocyte\b/, "metamyeloc."],
  [/(?<=\. )erythroblast\b/, "erythrobl."],
  [/\bunidentified\b/, "unident."],
  [/\bunknown\b/, "unkn."],
  [/\bmegakaryocyte\b/, "megakaryo."],
  [/\bproerythroblast\b/, "proery."],
  [/\berythrobl\./, "ery."],
  [/\bmyelocyte\b/, "myeloc."],
  [/\bpromyelocyte\b/, "promyeloc."],
  [/\blymphocyte\b/, "lymphoc."],
  [/\blymphoblast\b/, "lymphobl."],
  [/\bneutrophil\b/, "neutr."],
  [/\beosinophil\b/, "eosin."],
  [/\bmetamyeloc\./, "meta."],
  [/\bmegalo\. (poly|ortho)\./, "mgl. $1."],
];

/** "polychromatic erythroblast" -> "poly. erythrobl."; a name of at most `room` letters stays as it is. */
export function shortName(name: string, room = 16): string {
  let short = name;
  for (const [long, shorter] of SHORTER) {
    if (short.length <= room) break;
    short = short.replace(long, shorter);
  }
  return short;
}

/** How a key of a layout is written on a key cap: `M` (Shift) as "⇧M", `Numpad7` as "n7". */
export function keyCap(key: string): string {
  const signs: Record<string, string> = { Add: "+", Subtract: "−", Multiply: "×", Divide: "÷", Decimal: "." };
  if (key.startsWith("Numpad")) return `n${signs[key.slice(6)] ?? key.slice(6)}`;
  return /^[A-Z]$/.test(key) ? `⇧${key}` : key.toUpperCase();
}

/** "19.4" for 19.43, "-" for nothing; one digit after the point, as a differential is read. */
export const percent = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : value.toFixed(1));

/** "1:05" for 65 seconds. */
export const minutes = (seconds: number): string => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
