// Through the layers: what the model would say after each of its parts, and what each adds to a logit.

import { addendBars, sumOf } from "../addends.js";
import { look } from "../api.js";
import { bars } from "../bars.js";
import { element, redraw } from "../elements.js";
import { tint } from "../field.js";
import { ramp } from "../legend.js";
import { newestOnly } from "../newest.js";
import { subject } from "../subject.js";
import { goTo } from "../view.js";
import { walk } from "../walk.js";
import { fixed, glyph, percent, say, whole } from "../words.js";

const EXACT = 1e-3; // the parts are float32: their sum may differ from the logit by no more

/** @param {any} state @param {HTMLElement} place */
export function layers(state, place) {
  place.append(
    element("h2", { textContent: say("panel.layers") }),
    element("p", { className: "lead", textContent: say("layers.lead") }),
  );
  subject(state, place, async (below, attempt) => {
    const { view } = state;
    const target = element("input", { id: "target", maxLength: 2, value: view.target });
    const trouble = element("p", { className: "trouble", role: "status" });
    const picture = element("div");
    below.append(element("label", { className: "aside" }, say("layers.target"), target), trouble, picture);
    const draw = newestOnly(() => attempt(async () => {
      const isKnown = Array.from(state.model.characters).includes(view.target);
      trouble.textContent = isKnown || !view.target ? "" : say("layers.unknown", { character: glyph(view.target) });
      const asked = { ...view, target: isKnown ? view.target : null };
      const found = await look("layers", asked, { target: asked.target });
      redraw(picture, ...pictured(state, found, asked, attempt));
    }));
    target.oninput = () => {
      view.target = target.value = Array.from(target.value).at(-1) ?? ""; // the newest takes the place
      state.keep();
      draw();
    };
    await draw();
  });
}

/** The map, and below it what belongs to the cell that is chosen.
 * @param {any} state @param {any} found @param {{text: string, at: number | null, target: string | null}} asked the
 * target is that of the last position, if it is not the best guess @param {import("../subject.js").Attempt} attempt
 */
function pictured(state, found, asked, attempt) {
  const characters = Array.from(asked.text);
  const { view } = state;
  const targets = [...characters.slice(1), found.target];
  const told = element("p", { "aria-live": "polite" });
  const course = element("div"), title = element("h3"), sum = element("div");
  const chain = element("input", { id: "chain", type: "checkbox", checked: Boolean(state.chained) });
  let drawSum = () => {};
  chain.onchange = () => {
    state.chained = chain.checked;
    drawSum();
  };
  // Where nobody knows what came, no guess is right.
  const isHit = (/** @type {string} */ guess, /** @type {number} */ column) =>
    guess === targets[column] && (column < characters.length - 1 || asked.target !== null);
  const cells = found.guesses.map((/** @type {string[]} */ line, /** @type {number} */ at) =>
    line.map((guess, column) => cellOf(guess, found.probabilities[at][column], isHit(guess, column))));
  const box = mapOf(found.states.map(nameOf), characters, targets, cells);
  let shown = -1;
  const addUp = newestOnly((/** @type {number} */ column) => attempt(async () => {
    const found = await look("parts", asked, { target: asked.target, position: column });
    drawSum = () => sum.replaceChildren(...addedUp(found, chain.checked));
    drawSum();
  }));
  walk(cells, view.state, view.row, (at, column) => {
    view.state = at;
    goTo(view, column);
    state.keep();
    told.textContent = say("layers.cell", {
      state: nameOf(found.states[at]), seen: whole(column + 1), guess: glyph(found.guesses[at][column]),
      chance: percent(found.chances[at][column]), target: glyph(targets[column]),
      probability: percent(found.probabilities[at][column]), rank: whole(found.ranks[at][column]),
    });
    course.replaceChildren(
      element("h3", { textContent: say("layers.course", { target: glyph(targets[column]) }) }),
      bars(found.states.map((/** @type {any[]} */ label, /** @type {number} */ each) => [
        nameOf(label), found.probabilities[each][column],
        say("layers.rank", { rank: whole(found.ranks[each][column]) }),
      ]), at),
    );
    title.textContent = say("layers.parts", { target: glyph(targets[column]) });
    if (column !== shown) addUp(column);
    shown = column;
  }, "aria-selected");
  const chosen = cells[view.state][view.row];
  requestAnimationFrame(() => { box.scrollLeft = chosen.offsetLeft - box.clientWidth / 2; });
  return [box, legend(), told, element("div", { className: "halves" }, course,
    element("div", {}, title, element("label", { className: "check" }, chain, say("layers.chain")), sum))];
}

/** @param {string} guess @param {number} probability of the target @param {boolean} isHit */
function cellOf(guess, probability, isHit) {
  const made = element("td", { role: "gridcell", className: isHit ? "text hit" : "text", textContent: glyph(guess) });
  made.style.background = shade(probability);
  made.dataset.probability = String(probability);
  return made;
}

/**
 * States from top to bottom as the stream flows, positions from left to right.
 * @param {string[]} names @param {string[]} characters @param {string[]} targets @param {HTMLElement[][]} cells
 */
function mapOf(names, characters, targets, cells) {
  const edge = (/** @type {string} */ name, /** @type {string[]} */ letters) =>
    element("tr", {}, element("th", { scope: "row", textContent: say(name) }),
      ...letters.map((letter) => element("th", { scope: "col", className: "text", textContent: glyph(letter) })));
  const lines = cells.map((line, at) =>
    element("tr", {}, element("th", { scope: "row", textContent: names[at] }), ...line));
  return element("div", { className: "grid sheet" }, element("table", { role: "grid", "aria-label": say("panel.layers") },
    element("thead", {}, edge("positions.input", characters)), element("tbody", {}, ...lines),
    element("tfoot", {}, edge("positions.target", targets))));
}

const legend = () => ramp("0%", [0, 0.04, 0.16, 0.36, 0.64, 1].map(shade), "100%",
  element("span", { className: "hit", textContent: say("layers.hit") }));

/** The root brings out what is small. @param {number} probability */
const shade = (probability) => tint("--accent", 55 * Math.sqrt(probability));

/** What every part adds to the logit. @param {any} found @param {boolean} isChain @returns {Node[]} */
function addedUp(found, isChain) {
  const addends = found.labels.map((/** @type {any[]} */ label, /** @type {number} */ at) =>
    [nameOf(label), found.values[at]]);
  const total = sumOf(addends);
  return [
    addendBars(addends, say("layers.sum"), isChain),
    element("p", {
      className: "verdict", role: "status",
      textContent: say(Math.abs(total - found.score) <= EXACT ? "layers.equal" : "layers.differ", {
        total: fixed(total), score: fixed(found.score),
      }),
    }),
  ];
}

/** @param {any[]} label such as ["head", 0, 1] */
const nameOf = ([kind, layer, head]) => say(`layers.part.${kind}`, { layer, head });
