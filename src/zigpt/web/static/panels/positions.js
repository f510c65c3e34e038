// Every position is a question: what could be seen there, what had to be guessed, and how well that went.

import { look } from "../api.js";
import { bars } from "../bars.js";
import { element } from "../elements.js";
import { tint } from "../field.js";
import { ramp } from "../legend.js";
import { subject } from "../subject.js";
import { goTo } from "../view.js";
import { walk } from "../walk.js";
import { fixed, glyph, percent, say, whole } from "../words.js";

const WORST = 8; // bits: as dark as it gets
const AROUND = 6; // characters on each side in the picture of the shift

/** @param {any} state @param {HTMLElement} place */
export function positions(state, place) {
  place.append(
    element("h2", { textContent: say("panel.positions") }),
    element("p", { className: "lead", textContent: say("positions.lead") }),
  );
  subject(state, place, async (below) => {
    const characters = Array.from(state.view.text); // as it is asked about: somebody may be typing
    const found = await look("positions", state.view);
    const letters = characters.map((character, at) => letterOf(character, found.losses[at - 1]));
    const told = element("div", { "aria-live": "polite" });
    below.append(
      element("div", { className: "sheet text letters", role: "group", "aria-label": say("subject.text") }, ...letters),
      ramp(say("positions.expected"), [shade(0), shade(WORST)], say("positions.surprising")), told,
    );
    walk([letters], 0, state.view.row, (_, at) => {
      goTo(state.view, at);
      state.keep();
      for (const [place, letter] of letters.entries()) {
        letter.classList.toggle("context", place <= at);
        letter.classList.toggle("target", place === at + 1);
      }
      told.replaceChildren(...answer(characters, found, at));
    });
  });
}

/** @param {string} character @param {number | undefined} loss in nats; the first character was never guessed */
function letterOf(character, loss) {
  const made = element("span", { className: "letter", role: "button", textContent: glyph(character) });
  if (loss === undefined) return made;
  made.style.background = shade(loss / Math.LN2);
  made.title = say("positions.bits", { bits: fixed(loss / Math.LN2, 2) });
  made.dataset.loss = String(loss);
  return made;
}

/** @param {string[]} characters @param {any} found @param {number} at */
function answer(characters, found, at) {
  const shown = /** @type {[string, number][]} */ (found.guesses[at]);
  const target = characters[at + 1];
  const sentence = target === undefined
    ? say("positions.open", { seen: whole(at + 1) })
    : say("positions.answer", {
      seen: whole(at + 1), target: glyph(target), probability: percent(Math.exp(-found.losses[at])),
      bits: fixed(found.losses[at] / Math.LN2, 2), rank: found.ranks[at],
    });
  const rank = shown.findIndex(([character]) => character === target);
  return [
    element("p", { textContent: sentence }),
    bars(shown.map(([character, chance]) => [glyph(character), chance]), rank),
    element("h3", { textContent: say("positions.shift") }),
    shift(characters, at),
  ];
}

/** Inputs above targets: the same characters, one place further. @param {string[]} characters @param {number} at */
function shift(characters, at) {
  const from = Math.max(0, at - AROUND), to = Math.min(characters.length, at + AROUND + 1);
  const line = (/** @type {string} */ name, /** @type {number} */ by) =>
    element("tr", {}, element("th", { scope: "row", textContent: say(name) }),
      ...characters.slice(from, to).map((_, place) => cell(characters[from + place + by], from + place === at)));
  return element("div", { className: "scroll" },
    element("table", { className: "shift" }, line("positions.input", 0), line("positions.target", 1)));
}

/** @param {string | undefined} character none where nobody knows it yet @param {boolean} isMarked */
const cell = (character, isMarked) => element("td", {
  className: [isMarked ? "marked" : "", character === undefined ? "note" : "text"].join(" "),
  textContent: character === undefined ? say("positions.unknown") : glyph(character),
});

/** @param {number} bits */
const shade = (bits) => tint("--surprise", (70 * Math.min(bits, WORST)) / WORST);
