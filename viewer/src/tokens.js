// Tokens as text that shows everything in them: no character is invisible, reorders its neighbours or is markup.

// Controls, formatting (joiners, marks of direction), separators, surrogates, private and unassigned characters, and
// spaces other than the usual one.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]|(?! )\p{Zs}|[\u115f\u1160\u3164\uffa0\ufe00-\ufe0f]/gu;

function shown(character) {
  const code = character.codePointAt(0);
  if (character === "\n") return "↵\n";
  if (character === "\t") return "⇥\t";
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "␡";
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

const hexadecimal = (bytes) => `⟨${bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}⟩`;

// The text of a token: a string of the vocabulary; bytes that are part of a character; or null, an unused id.
export function visible(token, id) {
  if (token === null || token === undefined) return `⟨token ${id}⟩`;
  if (Array.isArray(token)) return hexadecimal(token);
  if (token === "") return `⟨empty, token ${id}⟩`;
  const text = token.replace(HIDDEN, shown);
  return /^\p{M}/u.test(text) ? `◌${text}` : text;
}

// On one line, with spaces that can be seen.
export function label(token, id) {
  return visible(token, id).replace("↵\n", "↵").replace("⇥\t", "⇥").replaceAll("↵\n", "↵").replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
}
