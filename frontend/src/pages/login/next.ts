/** Where to go after signing in: an address of this page, and of no other. */
export function safeNext(wanted: string | null): string {
  if (!wanted || !wanted.startsWith("/") || wanted.startsWith("//") || wanted.startsWith("/\\")) return "/";
  return /^\/(login|setup)([?/#]|$)/.test(wanted) ? "/" : wanted;
}
