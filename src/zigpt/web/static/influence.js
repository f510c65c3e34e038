// The proof that the mask holds: change one character, and see which scores move.

import { numbers } from "./api.js";
import { element } from "./elements.js";
import { furthest, tint } from "./field.js";
import { newestOnly } from "./newest.js";
import { walk } from "./walk.js";
import { amount, glyph, say } from "./words.js";

/**
 * @param {any} state @param {string[]} characters @param {import("./view.js").View} asked
 * @param {import("./subject.js").Attempt} attempt
 */
export function influence(state, characters, asked, attempt) {
  const { view } = state, first = view.changed ?? view.column;
  const letters = characters.map((character) =>
    element("span", { className: "letter", role: "button", textContent: glyph(character) }));
  const told = element("p", { className: "readout", "aria-live": "polite" });
  const change = newestOnly((/** @type {number} */ at) => attempt(async () => {
    const moved = await numbers("moved", asked, { position: at });
    const most = furthest(moved);
    for (const [place, letter] of letters.entries()) {
      letter.classList.toggle("still", moved[place] === 0);
      letter.style.background = tint("--surprise", 70 * Math.sqrt(moved[place] / (most || 1)));
      letter.dataset.moved = letter.title = amount(moved[place]);
    }
    const before = furthest(moved.subarray(0, at));
    const key = at === 0 ? "first" : before === 0 ? "zero" : "leak";
    told.replaceChildren(...[
      say("attention.changed", { at, character: glyph(characters[at]) }),
      say(`attention.before.${key}`, { at, before: amount(before) }),
      say("attention.most", { most: amount(most), place: moved.indexOf(most) }),
    ].map((textContent) => element("span", { textContent })));
  }));
  walk([letters], 0, first, (_, at) => {
    if (at !== first || view.changed !== null) view.changed = at;
    state.keep();
    change(at);
  });
  return element("div", {},
    element("h3", { textContent: say("attention.influence") }),
    element("p", { className: "lead", textContent: say("attention.influence.lead") }),
    element("div", { className: "sheet text moved", role: "group", "aria-label": say("attention.text") }, ...letters),
    told);
}
