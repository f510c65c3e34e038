// Which number each colour stands for.

import { element } from "./elements.js";
import { amount, say } from "./words.js";

/**
 * From one word to another by the shades between them. @param {string} from @param {string[]} shades
 * @param {(Node | string)[]} to and what else is to be said
 */
export function ramp(from, shades, ...to) {
  const strip = element("i");
  strip.style.background = `linear-gradient(to right, ${shades.join()})`;
  return element("div", { className: "legend" }, from, strip, ...to);
}

/** @param {import("./field.js").Field} field */
export function legend({ kind, most, hidden }) {
  const ends = kind === "share" ? [0, most / 4, most] : [-most, 0, most];
  return element("div", { className: "scale" },
    element("div", {}, element("i", { className: kind }),
      element("div", {}, ...ends.map((value) => element("span", { textContent: amount(value) })))),
    ...(hidden ? [element("i", { className: "hidden" }), element("span", { textContent: say("map.hidden") })] : []));
}
