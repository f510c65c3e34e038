// Which number each colour stands for.

import { element } from "./elements.js";
import { amount, say } from "./words.js";

/** @param {import("./field.js").Field} field */
export function legend({ kind, most, hidden }) {
  const ends = kind === "share" ? [0, most / 4, most] : [-most, 0, most];
  return element("div", { className: "scale" },
    element("div", {}, element("i", { className: kind }),
      element("div", {}, ...ends.map((value) => element("span", { textContent: amount(value) })))),
    ...(hidden ? [element("i", { className: "hidden" }), element("span", { textContent: say("map.hidden") })] : []));
}
