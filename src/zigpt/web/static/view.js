// What a panel shows: the text, the moment of training and the place in the model. The address holds it, so that a
// view can be kept and sent, and the browser's way back leads to it.

/** @import { View } from "./types.js" */

export const SETTINGS = /** @type {const} */ ([
  "length", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed",
]);
const NUMBERS = /** @type {const} */ (["layer", "head", "row", "column", "state"]);

/** The name of the panel in the address. */
export const panelName = () => /^#\/(\w+)/.exec(location.hash)?.[1] ?? "";

/** Read the view in an address. @param {string} text shown where it has none @param {string} [hash] @returns {View} */
export function readView(text, hash = location.hash) {
  const query = new URLSearchParams(hash.split("?")[1] ?? "");
  const number = (/** @type {string} */ name) => Math.max(0, Math.trunc(Number(query.get(name)) || 0));
  const [layer, head, state] = ["layer", "head", "state"].map(number);
  const shown = query.get("text") || text;
  // The middle shows most: the first row of a map has one key, and the last position no target.
  const row = query.has("row") ? number("row") : Array.from(shown).length >> 1;
  const column = query.has("column") ? number("column") : Math.max(0, row - 1);
  const tensor = query.get("tensor") ?? "", target = query.get("target") ?? "";
  const prompt = query.get("prompt");
  const settings = SETTINGS.filter((name) => query.has(name)).map((name) => [name, Number(query.get(name)) || 0]);
  return {
    text: shown, at: query.has("at") ? number("at") : null, layer, head, row, column, state, tensor, target,
    changed: query.has("changed") ? number("changed") : null,
    settings: prompt === null ? {} : { prompt, ...Object.fromEntries(settings) },
  };
}

/** Move to another position, and the column to the one before. @param {View} view @param {number} row */
export function moveTo(view, row) {
  if (view.row !== row) Object.assign(view, { row, column: Math.max(0, row - 1) });
}

/** The address of a view in a panel. @param {string} name @param {View} view */
export function address(name, view) {
  const query = new URLSearchParams({ text: view.text });
  if (view.at !== null) query.set("at", String(view.at));
  if (view.changed !== null) query.set("changed", String(view.changed));
  if (view.tensor) query.set("tensor", view.tensor);
  if (view.target) query.set("target", view.target);
  for (const key of NUMBERS) query.set(key, String(view[key]));
  for (const [key, value] of Object.entries(view.settings)) query.set(key, String(value));
  return `#/${name}?${query}`;
}
