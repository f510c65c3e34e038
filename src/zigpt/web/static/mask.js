// The mask as a picture of its own: read off the scores that it was laid on.

import { element } from "./elements.js";
import { pixels } from "./field.js";
import { say } from "./words.js";

const SHADE = 0.3; // of all that may be seen

/** @param {Float32Array} masked T x T @param {number} length T */
export function maskPicture(masked, length) {
  const picture = pixels({
    values: masked.map(() => SHADE), rows: length, columns: length, kind: "share", most: 1,
    hidden: (row, column) => !Number.isFinite(masked[row * length + column]),
  });
  picture.className = "mask";
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", say("attention.mask"));
  return element("div", { className: "masked" }, picture, element("div", {},
    element("h3", { textContent: say("attention.mask") }),
    element("p", { className: "lead", textContent: say("attention.mask.why") })));
}
