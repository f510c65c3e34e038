// What is looked at: the text, the moment of training and the place in the model. It is in the address, so that
// a view can be kept, sent and gone back to.

/**
 * @typedef {object} View
 * @property {string} text the window that all panels look at
 * @property {number | null} at a step that was kept; null for the newest model
 * @property {number} layer
 * @property {number} head
 * @property {number} row the position that asks
 * @property {number} column the position that is looked at, or the channel
 * @property {number | null} changed the character that the influence test changes; null for that of the column
 * @property {number} state of the residual stream
 * @property {string} tensor which of the model's numbers; none if a panel's first
 * @property {string} target what is asked about where the text ends; empty for the best guess
 * @property {Record<string, string | number>} asked the prompt and the settings that were written with; empty before
 */

export const SETTINGS = /** @type {const} */ (["length", "temperature", "top_k", "top_p", "seed"]);
const NUMBERS = /** @type {const} */ (["layer", "head", "row", "column", "state"]);

/** The panel that the address names. */
export const panel = () => /^#\/(\w+)/.exec(location.hash)?.[1] ?? "";

/** @param {string} text what is shown where the address names none @returns {View} */
export function view(text) {
  const asked = new URLSearchParams(location.hash.split("?")[1] ?? "");
  const number = (/** @type {string} */ name) => Math.max(0, Math.trunc(Number(asked.get(name)) || 0));
  const [layer, head, state] = ["layer", "head", "state"].map(number);
  const shown = asked.get("text") || text;
  // In the middle there is most to be seen: the first row of a map has one key, and the last position no answer.
  const row = asked.has("row") ? number("row") : Array.from(shown).length >> 1;
  const column = asked.has("column") ? number("column") : Math.max(0, row - 1);
  const tensor = asked.get("tensor") ?? "", target = asked.get("target") ?? "";
  const prompt = asked.get("prompt");
  const settings = SETTINGS.filter((name) => asked.has(name)).map((name) => [name, Number(asked.get(name)) || 0]);
  return {
    text: shown, at: asked.has("at") ? number("at") : null, layer, head, row, column, state, tensor, target,
    changed: asked.has("changed") ? number("changed") : null,
    asked: prompt === null ? {} : { prompt, ...Object.fromEntries(settings) },
  };
}

/** Go to another position; what is looked at from there is the one before. @param {View} seen @param {number} row */
export function goTo(seen, row) {
  if (seen.row !== row) Object.assign(seen, { row, column: Math.max(0, row - 1) });
}

/** The address of a view in a panel. @param {string} name @param {View} seen */
export function address(name, seen) {
  const asked = new URLSearchParams({ text: seen.text });
  if (seen.at !== null) asked.set("at", String(seen.at));
  if (seen.changed !== null) asked.set("changed", String(seen.changed));
  if (seen.tensor) asked.set("tensor", seen.tensor);
  if (seen.target) asked.set("target", seen.target);
  for (const key of NUMBERS) asked.set(key, String(seen[key]));
  for (const [key, value] of Object.entries(seen.asked)) asked.set(key, String(value));
  return `#/${name}?${asked}`;
}

/** Keep a view in the address, without a step in the browser's history. @param {string} name @param {View} seen */
export const keep = (name, seen) => history.replaceState(null, "", address(name, seen));
