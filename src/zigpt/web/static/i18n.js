// Text in both languages, numbers as text, and signs for characters that cannot be seen.

/** @typedef {"zh" | "en"} Language */

/** @type {Record<string, Record<string, string>>} */
const languages = {};
/** @type {Record<string, string>} */
let strings = {};

/** Both at once: to change the language then needs no server. */
export async function loadLanguages() {
  await Promise.all(["zh", "en"].map(async (each) => {
    languages[each] = await (await fetch(`strings.${each}.json`)).json();
  }));
}

/** @returns {Language} the language chosen before, or the browser's */
export const language = () =>
  /** @type {Language} */ (localStorage.getItem("language")) ??
  (navigator.language.startsWith("zh") ? "zh" : "en");

/** @param {Language} chosen */
export function useLanguage(chosen) {
  strings = languages[chosen];
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
}

/** @param {string} key @param {Record<string, string | number>} [values] @param {string} [otherwise] */
export const say = (key, values = {}, otherwise = key) =>
  (strings[key] ?? strings[otherwise]).replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

/** @param {number} value */
export const whole = (value) => value.toLocaleString(document.documentElement.lang);

/** @param {number} value @param {number} digits */
export const fixed = (value, digits = 3) => value.toFixed(digits).replace("-", "−");

/** A number of any size, to four places or four digits. @param {number} value */
export const amount = (value) => (Number.isFinite(value)
  ? String(Number(Math.abs(value) < 1 ? value.toPrecision(4) : value.toFixed(4))).replace(/-/g, "−")
  : value < 0 ? "−∞" : "∞");

/** @param {number} share */
export function percent(share) {
  if (share > 0 && share < 0.00005) return "<0.01%";
  return share >= 0.0995 ? `${fixed(100 * share, 1)}%` : `${fixed(100 * share, 2)}%`;
}

/** @type {Record<string, string>} */
const GLYPHS = { "\n": "⏎", "\t": "⇥", " ": "␣", "\u3000": "□" };

/** A character as something that can be seen; one without a picture as its code. @param {string} character */
export const glyph = (character) =>
  GLYPHS[character] ?? (/[\p{C}\p{Z}]/u.test(character) ? `⟨${code(character)}⟩` : character);

/** As Unicode writes it, without the U+. @param {string} character */
const code = (character) => (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");

/** The first character that is unknown to a model. @param {{characters: string}} model @param {string} text */
export function unknownCharacter(model, text) {
  const vocabulary = new Set(model.characters);
  return Array.from(text).find((character) => !vocabulary.has(character));
}

/** A text on one line, with signs for what cannot be seen. @param {string} text */
export const oneLine = (text) =>
  Array.from(text).map((character) => (character === " " ? character : glyph(character))).join("");
