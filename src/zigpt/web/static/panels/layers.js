// Through the layers: what the model would predict after each of its parts, and what each adds to a logit.

import { ask } from "../api.js";
import { addendBars, shadeLegend, shareBars, sumOf } from "../charts.js";
import { tint } from "../colormap.js";
import { element, redraw } from "../elements.js";
import { fixed, glyph, percent, say, whole } from "../i18n.js";
import { latestOnly } from "../latest_only.js";
import { rovingFocus } from "../roving_focus.js";
import { subject } from "../subject.js";
import { moveTo } from "../view.js";
/** @import { Attempt, Label, Layers, ModelState, Moment, Parts } from "../types.js" */

const EXACT = 1e-3; // the parts are float32: their sum may differ from the logit by no more
let isChain = false; // as chosen last

/** @typedef {Moment & {target: string | null}} Question about the last position: null for the best guess */

/** @param {ModelState} state @param {HTMLElement} place */
export function layers(state, place) {
  subject(state, place, "layers.lead", async (below, attempt) => {
    const { view, model } = state;
    const target = element("input", { id: "target", maxLength: 2, value: view.target });
    const problem = element("p", { className: "trouble", role: "status" });
    const answer = element("div");
    below.append(element("label", { className: "aside" }, say("layers.target"), target), problem, answer);
    const show = latestOnly(() => attempt(async () => {
      const isKnown = Array.from(model.characters).includes(view.target);
      problem.textContent = isKnown || !view.target ? "" : say("layers.unknown", { character: glyph(view.target) });
      const question = { text: view.text, at: view.at, target: isKnown ? view.target : null };
      redraw(answer, ...answered(state, await ask("window/layers", question), question, attempt));
    }));
    target.oninput = () => {
      view.target = target.value = Array.from(target.value).at(-1) ?? ""; // the newest takes the place
      state.keep();
      show();
    };
    await show();
  });
}

/** The grid, and below it what belongs to the cell that is chosen.
 * @param {ModelState} state @param {Layers} found @param {Question} question @param {Attempt} attempt */
function answered(state, found, question, attempt) {
  const { view } = state, characters = Array.from(question.text);
  const targets = [...characters.slice(1), found.target];
  const readout = element("p", { "aria-live": "polite" }), course = element("div");
  const sum = logitSum(question, attempt);
  // The last guess is neither right nor wrong unless a target was given.
  const isHit = (/** @type {string} */ guess, /** @type {number} */ column) =>
    guess === targets[column] && (column < characters.length - 1 || question.target !== null);
  const cells = found.guesses.map((line, at) =>
    line.map((guess, column) => cellOf(guess, found.probabilities[at][column], isHit(guess, column))));
  const grid = gridOf(found.states.map(nameOf), characters, targets, cells);
  rovingFocus(cells, view.state, view.row, (at, column) => {
    const target = glyph(targets[column]);
    view.state = at;
    moveTo(view, column);
    state.keep();
    readout.textContent = say("layers.cell", {
      state: nameOf(found.states[at]), seen: whole(column + 1), guess: glyph(found.guesses[at][column]),
      chance: percent(found.chances[at][column]), target,
      probability: percent(found.probabilities[at][column]), rank: whole(found.ranks[at][column]),
    });
    course.replaceChildren(
      element("h3", { textContent: say("layers.course", { target }) }),
      shareBars(found.states.map((label, each) => [
        nameOf(label), found.probabilities[each][column], say("layers.rank", { rank: whole(found.ranks[each][column]) }),
      ]), at),
    );
    sum.show(column, target);
  }, "aria-selected");
  const chosen = cells[view.state][view.row];
  requestAnimationFrame(() => { grid.scrollLeft = chosen.offsetLeft - grid.clientWidth / 2; });
  const legend = shadeLegend("0%", [0, 0.04, 0.16, 0.36, 0.64, 1].map(shade), "100%",
    element("span", { className: "hit", textContent: say("layers.hit") }));
  return [grid, legend, readout, element("div", { className: "halves" }, course, sum.element)];
}

/** What adds up to the logit of a target. @param {Question} question @param {Attempt} attempt */
function logitSum(question, attempt) {
  const title = element("h3"), bars = element("div");
  const chain = element("input", { id: "chain", type: "checkbox", checked: isChain });
  let shown = -1, draw = () => {};
  chain.onchange = () => {
    isChain = chain.checked;
    draw();
  };
  const load = latestOnly((/** @type {number} */ column) => attempt(async () => {
    const parts = await ask("window/parts", { ...question, position: column });
    draw = () => bars.replaceChildren(...addedUp(parts));
    draw();
  }));
  return {
    element: element("div", {}, title,
      element("label", { className: "check" }, chain, say("layers.chain")), bars),
    /** @param {number} column @param {string} target */
    show(column, target) {
      title.textContent = say("layers.parts", { target });
      if (column !== shown) load(column);
      shown = column;
    },
  };
}

/** @param {Parts} parts @returns {Node[]} */
function addedUp({ labels, values, score }) {
  const addends = labels.map((label, at) => /** @type {[string, number]} */ ([nameOf(label), values[at]]));
  const total = sumOf(addends), key = Math.abs(total - score) <= EXACT ? "equal" : "differ";
  return [
    addendBars(addends, say("layers.sum"), isChain),
    element("p", {
      className: "verdict", role: "status",
      textContent: say(`layers.${key}`, { total: fixed(total), score: fixed(score) }),
    }),
  ];
}

/** @param {string} guess @param {number} probability of the target @param {boolean} isHit */
const cellOf = (guess, probability, isHit) => element("td", {
  role: "gridcell", className: isHit ? "text hit" : "text", textContent: glyph(guess), dataset: { probability },
  style: { background: shade(probability) },
});

/**
 * States from top to bottom as the stream flows, positions from left to right.
 * @param {string[]} names @param {string[]} characters @param {string[]} targets @param {HTMLElement[][]} cells
 */
function gridOf(names, characters, targets, cells) {
  const edge = (/** @type {string} */ name, /** @type {string[]} */ letters) =>
    element("tr", {}, element("th", { scope: "row", textContent: say(name) }),
      ...letters.map((letter) => element("th", { scope: "col", className: "text", textContent: glyph(letter) })));
  const lines = cells.map((line, at) =>
    element("tr", {}, element("th", { scope: "row", textContent: names[at] }), ...line));
  return element("div", { className: "grid sheet" }, element("table", { role: "grid", "aria-label": say("panel.layers") },
    element("thead", {}, edge("predictions.input", characters)), element("tbody", {}, ...lines),
    element("tfoot", {}, edge("predictions.target", targets))));
}

/** The root brings out what is small. @param {number} probability */
const shade = (probability) => tint("--accent", 55 * Math.sqrt(probability));

/** @param {Label} label */
const nameOf = ([kind, layer, head]) => say(`layers.part.${kind}`, { layer, head });
