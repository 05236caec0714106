/** Keys that may name a class, spelled as the station spells them. */

/** "a".."z", "A".."Z" (Shift), "0".."9", "Numpad7", "NumpadAdd" ...; null for any other key. */
export function classKey(event: Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey">): string | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  if (/^Numpad(\d|Add|Subtract|Multiply|Divide|Decimal)$/.test(event.code)) return event.code;
  return /^[a-zA-Z0-9]$/.test(event.key) ? event.key : null;
}
