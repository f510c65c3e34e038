// Predictions: at every position, what the model could see, what it had to predict, and how well it did.

import { ask } from "../api.js";
import { shadeLegend, shareBars } from "../charts.js";
import { tint } from "../colormap.js";
import { element } from "../elements.js";
import { fixed, glyph, percent, say, whole } from "../i18n.js";
import { rovingFocus } from "../roving_focus.js";
import { subject } from "../subject.js";
import { moveTo } from "../view.js";
/** @import { ModelState, Predictions } from "../types.js" */

const WORST = 8; // bits: as dark as it gets
const AROUND = 6; // characters on each side in the picture of the shift

/** @param {ModelState} state @param {HTMLElement} place */
export function predictions(state, place) {
  subject(state, place, "predictions.lead", async (below) => {
    const { view } = state, { text, at } = view, characters = Array.from(text);
    const found = await ask("window/predictions", { text, at });
    const letters = characters.map((character, at) => letterOf(character, found.losses[at - 1]));
    const answer = element("div", { "aria-live": "polite" });
    below.append(
      element("div", { className: "sheet text letters", role: "group", "aria-label": say("subject.text") }, ...letters),
      shadeLegend(say("predictions.expected"), [shade(0), shade(WORST)], say("predictions.surprising")), answer,
    );
    rovingFocus([letters], 0, view.row, (_, at) => {
      moveTo(view, at);
      state.keep();
      for (const [place, letter] of letters.entries()) {
        letter.classList.toggle("context", place <= at);
        letter.classList.toggle("target", place === at + 1);
      }
      answer.replaceChildren(...predictionAt(at, characters, found));
    });
  });
}

/** @param {string} character @param {number | undefined} loss in nats; none of the first character */
function letterOf(character, loss) {
  const bits = (loss ?? 0) / Math.LN2, cost = loss === undefined ? {} : {
    title: say("predictions.bits", { bits: fixed(bits, 2) }), style: { background: shade(bits) }, dataset: { loss },
  };
  return element("span", { className: "letter", role: "button", textContent: glyph(character), ...cost });
}

/** @param {number} at @param {string[]} characters @param {Predictions} found */
function predictionAt(at, characters, { losses, ranks, guesses }) {
  const target = characters[at + 1], seen = whole(at + 1);
  const sentence = target === undefined ? say("predictions.open", { seen }) : say("predictions.answer", {
    seen, target: glyph(target), probability: percent(Math.exp(-losses[at])), bits: fixed(losses[at] / Math.LN2, 2),
    rank: ranks[at],
  });
  return [
    element("p", { textContent: sentence }),
    shareBars(guesses[at].map(([guess, chance]) => [glyph(guess), chance]),
      guesses[at].findIndex(([guess]) => guess === target)),
    element("h3", { textContent: say("predictions.shift") }),
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
    element("table", { className: "shift" }, line("predictions.input", 0), line("predictions.target", 1)));
}

/** @param {string | undefined} character none where the text ends @param {boolean} isMarked */
const cell = (character, isMarked) => element("td", {
  className: [isMarked ? "marked" : "", character === undefined ? "note" : "text"].join(" "),
  textContent: character === undefined ? say("predictions.unknown") : glyph(character),
});

/** @param {number} bits */
const shade = (bits) => tint("--surprise", (70 * Math.min(bits, WORST)) / WORST);
