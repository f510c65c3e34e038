// Attention: one head's scores, then the mask, then softmax, as three pictures of the same cells.

import { numbers } from "../api.js";
import { element } from "../elements.js";
import { furthest, isFuture } from "../field.js";
import { headChoice } from "../heads.js";
import { influence } from "../influence.js";
import { legend } from "../legend.js";
import { map } from "../map.js";
import { maskPicture } from "../mask.js";
import { newestOnly } from "../newest.js";
import { reading } from "../reading.js";
import { subject } from "../subject.js";
import { address } from "../view.js";
import { amount, glyph, say } from "../words.js";

/** @typedef {{scores: Float32Array, masked: Float32Array, weights: Float32Array}} Head T x T each */

const STEPS = /** @type {const} */ (["scores", "masked", "weights"]);
const MOST_KEPT = 64; // heads

/** @param {any} state @param {HTMLElement} place */
export function attention(state, place) {
  place.append(
    element("h2", { textContent: say("panel.attention") }),
    element("p", { className: "lead", textContent: say("attention.lead") }),
  );
  subject(state, place, async (below, attempt) => {
    const { view, model } = state;
    const asked = { ...view }, characters = Array.from(asked.text), length = characters.length;
    const named = (/** @type {number} */ at) => glyph(characters[at]);
    const fetched = heads(asked, length);
    view.layer = Math.min(view.layer, model.n_layer - 1);
    view.head = Math.min(view.head, model.n_head - 1);
    let [small, head] = await Promise.all([numbers("heads", asked), fetched(view.layer, view.head)]);

    const step = () => STEPS.find((name) => name === view.tensor) ?? "weights";
    const told = element("p", { className: "readout", "aria-live": "polite" });
    const why = element("p", { className: "lead" });
    const scale = element("div");
    const read = reading(characters);
    const tell = (/** @type {number} */ row, /** @type {number} */ column) => {
      const value = amount(head[step()][row * length + column]);
      told.textContent = say("attention.cell", {
        row, query: named(row), column, key: named(column), step: say(`attention.value.${step()}`), value,
      });
    };
    const picture = map(say("attention.map"), {
      over: tell,
      chosen: (row, column) => {
        Object.assign(view, { row, column });
        tell(row, column);
        read.show(head, row);
      },
      settled: state.keep,
    });
    const buttons = STEPS.map((name) => element("button", {
      type: "button", textContent: say(`attention.step.${name}`),
      onclick: () => {
        view.tensor = name;
        show();
      },
    }));
    const show = () => {
      state.keep();
      for (const [at, button] of buttons.entries()) button.setAttribute("aria-pressed", String(STEPS[at] === step()));
      why.textContent = say(`attention.why.${step()}`);
      const isShare = step() === "weights";
      const field = {
        values: head[step()], rows: length, columns: length, row: named, column: named,
        kind: /** @type {"share" | "signed"} */ (isShare ? "share" : "signed"),
        most: isShare ? 1 : furthest(head.scores), // before and after the mask in the same colours
        hidden: step() === "scores" ? undefined : isFuture,
      };
      scale.replaceChildren(legend(field));
      picture.show(field, view.row, view.column);
    };
    const turn = newestOnly(() => attempt(async () => {
      head = await fetched(view.layer, view.head);
      show();
    }));
    const choice = headChoice(small, model, view, (layer, which) => {
      Object.assign(view, { layer, head: which });
      turn();
    });
    below.append(
      element("div", { className: "beside" }, choice, maskPicture(head.masked, length)),
      element("div", { className: "steps", role: "group", "aria-label": say("attention.steps") }, ...buttons), why,
      element("div", { className: "beside" },
        element("div", {}, picture.canvas, scale, told, element("button", {
          type: "button", textContent: say("attention.trace"),
          onclick: () => { location.hash = address("trace", view); },
        })),
        element("div", {}, ...read.parts)),
      influence(state, characters, asked, attempt),
    );
    show();
  });
}

/** Fetch heads, each once. @param {import("../view.js").View} asked @param {number} length
 * @returns {(layer: number, head: number) => Promise<Head>} */
function heads(asked, length) {
  /** @type {Map<string, Head>} */
  const kept = new Map();
  return async (layer, head) => {
    const key = `${layer}/${head}`;
    let found = kept.get(key);
    if (!found) {
      const all = await numbers("attention", asked, { layer, head }), size = length * length;
      found = { scores: all.subarray(0, size), masked: all.subarray(size, 2 * size), weights: all.subarray(2 * size) };
      if (kept.size === MOST_KEPT) kept.delete([...kept.keys()][0]);
      kept.set(key, found);
    }
    return found;
  };
}
