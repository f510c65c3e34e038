// Everything that is read: the strings of both languages, numbers, and characters one cannot see.

/** @type {Record<string, string>} */
let strings = {};

/** @returns {"zh" | "en"} the language chosen before, or the browser's */
export const language = () =>
  /** @type {"zh" | "en"} */ (localStorage.getItem("language")) ??
  (navigator.language.startsWith("zh") ? "zh" : "en");

/** @param {"zh" | "en"} chosen */
export async function speak(chosen) {
  strings = await (await fetch(`strings.${chosen}.json`)).json();
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
}

/** @param {string} key @param {Record<string, string | number>} [values] */
export const say = (key, values = {}) =>
  strings[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

/** @param {number} value */
export const whole = (value) => value.toLocaleString(document.documentElement.lang);

/** @param {number} value @param {number} digits */
export const fixed = (value, digits = 3) => value.toFixed(digits);

/** A number of any size, to four places or four digits. @param {number} value */
export const amount = (value) => (Number.isFinite(value)
  ? String(Number(Math.abs(value) < 1 ? value.toPrecision(4) : value.toFixed(4)))
  : value < 0 ? "−∞" : "∞");

/** @param {number} share */
export function percent(share) {
  if (share > 0 && share < 0.00005) return "<0.01%";
  return share >= 0.0995 ? `${fixed(100 * share, 1)}%` : `${fixed(100 * share, 2)}%`;
}

/** @type {Record<string, string>} */
const GLYPHS = { "\n": "⏎", "\t": "⇥", " ": "␣", "\u3000": "□" };

/** A character as something that can be seen. @param {string} character */
export const glyph = (character) =>
  GLYPHS[character] ?? (/[\p{C}\p{Z}]/u.test(character) ? "\ufffd" : character);

/** The first character of a text that a model has never seen. @param {{characters: string}} model @param {string} text */
export function strangerTo(model, text) {
  const known = new Set(model.characters);
  return Array.from(text).find((character) => !known.has(character));
}

/** A text as one line in which all can be seen. @param {string} text */
export const plain = (text) =>
  Array.from(text).map((character) => (character === " " ? character : glyph(character))).join("");
