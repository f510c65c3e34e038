// Attention: one head's scores, then the mask, then softmax, as three pictures of the same cells.

import { askNumbers } from "../api.js";
import { furthest, isFuture } from "../colormap.js";
import { button, element } from "../elements.js";
import { Heatmap } from "../heatmap.js";
import { amount, glyph, say } from "../i18n.js";
import { latestOnly } from "../latest_only.js";
import { subject } from "../subject.js";
import { address } from "../view.js";
import { headChoice, influence, maskPicture, rowReading } from "./attention_parts.js";
/** @import { Field, Head, ModelState, Moment } from "../types.js" */

const STEPS = /** @type {const} */ (["scores", "masked", "weights"]);
const MOST_KEPT = 64; // heads

/** @param {ModelState} state @param {HTMLElement} place */
export function attention(state, place) {
  subject(state, place, "attention.lead", async (below, attempt) => {
    const { view, model } = state, { text, at } = view, characters = Array.from(text);
    const load = headLoader({ text, at }, characters.length);
    view.layer = Math.min(view.layer, model.n_layer - 1);
    view.head = Math.min(view.head, model.n_head - 1);
    const [thumbs, head] = await Promise.all([askNumbers("heads", { text, at }), load(view.layer, view.head)]);
    const steps = threeSteps(state, characters);
    const showChosen = latestOnly(() => attempt(async () => steps.show(await load(view.layer, view.head))));
    const choice = headChoice(thumbs, model, view, (layer, head) => {
      Object.assign(view, { layer, head });
      showChosen();
    });
    below.append(
      element("div", { className: "beside" }, choice, maskPicture(head.masked, characters.length)),
      ...steps.parts,
      influence(state, { text, at }, attempt),
    );
    steps.show(head);
  });
}

/** Load heads, each once. @param {Moment} moment @param {number} length of the text
 * @returns {(layer: number, head: number) => Promise<Head>} */
function headLoader(moment, length) {
  /** @type {Map<string, Head>} */
  const kept = new Map();
  return async (layer, head) => {
    const key = `${layer}/${head}`;
    let loaded = kept.get(key);
    if (!loaded) {
      const all = await askNumbers("attention", { ...moment, layer, head }), size = length * length;
      loaded = { scores: all.subarray(0, size), masked: all.subarray(size, 2 * size), weights: all.subarray(2 * size) };
      if (kept.size === MOST_KEPT) kept.delete([...kept.keys()][0]);
      kept.set(key, loaded);
    }
    return loaded;
  };
}

/** The cells of a head at the chosen step, and beside them what the chosen row reads.
 * @param {ModelState} state @param {string[]} characters */
function threeSteps(state, characters) {
  const { view } = state, length = characters.length;
  const nameOf = (/** @type {number} */ at) => glyph(characters[at]);
  const step = () => STEPS.find((name) => name === view.tensor) ?? "weights";
  /** @type {Head} */
  let head;
  const why = element("p", { className: "lead" }), reading = rowReading(characters);
  const heatmap = new Heatmap(say("attention.map"), {
    describe: (row, column, value) => say("attention.cell", {
      row, query: nameOf(row), column, key: nameOf(column), step: say(`attention.value.${step()}`), value: amount(value),
    }),
    moved: (row, column) => {
      Object.assign(view, { row, column });
      reading.show(head, row);
    },
    settled: state.keep,
  });
  const show = (/** @type {Head} */ shown) => {
    head = shown;
    state.keep();
    for (const [at, each] of buttons.entries()) each.setAttribute("aria-pressed", String(STEPS[at] === step()));
    why.textContent = say(`attention.why.${step()}`);
    heatmap.show({ ...fieldOf(head, step(), length), row: nameOf, column: nameOf }, view.row, view.column);
  };
  const buttons = STEPS.map((name) => button(say(`attention.step.${name}`), () => {
    view.tensor = name;
    show(head);
  }));
  const trace = button(say("attention.trace"), () => { location.hash = address("trace", view); });
  const parts = [
    element("div", { className: "steps", role: "group", "aria-label": say("attention.steps") }, ...buttons), why,
    element("div", { className: "beside" },
      element("div", {}, ...heatmap.parts, trace), element("div", {}, ...reading.parts)),
  ];
  return { parts, show };
}

/** @param {Head} head @param {typeof STEPS[number]} step @param {number} length of the text @returns {Field} */
function fieldOf(head, step, length) {
  const isShare = step === "weights";
  return {
    values: head[step], rows: length, columns: length, kind: isShare ? "share" : "signed",
    most: isShare ? 1 : furthest(head.scores), // before and after the mask in the same colours
    hidden: step === "scores" ? undefined : isFuture,
  };
}
