// Numbers for those who read them, folded away.

import { element } from "./elements.js";
import { say } from "./words.js";

/** @param {string} summary @param {string[]} names of the columns @param {HTMLTableSectionElement} rows */
export function folded(summary, names, rows) {
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col", textContent: say(name) })));
  return element("details", { id: summary }, element("summary", { textContent: say(summary) }),
    element("div", { className: "scroll" }, element("table", {}, element("thead", {}, head), rows)));
}
