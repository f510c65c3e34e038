// Trace: any number of the model, back to its terms, its line of code and a few lines of Python.

import { look, numbers } from "../api.js";
import { element } from "../elements.js";
import { furthest, isFuture } from "../field.js";
import { legend } from "../legend.js";
import { map } from "../map.js";
import { newestOnly } from "../newest.js";
import { origin } from "../origin.js";
import { subject } from "../subject.js";
import { amount, glyph, say } from "../words.js";

/** @typedef {{letters: string[], sizes: number[]}} Shape what a tensor's dimensions are, and how long */

// What chooses the slice of a tensor that is shown. The last two dimensions are its rows and columns.
const CHOICES = /** @type {const} */ ({ L: "layer", H: "head", S: "state" });
const SHARES = ["weights", "probabilities"];

/** @param {any} state @param {HTMLElement} place */
export function trace(state, place) {
  place.append(
    element("h2", { textContent: say("panel.trace") }),
    element("p", { className: "lead", textContent: say("trace.lead") }),
  );
  subject(state, place, async (below, attempt) => {
    const { view } = state;
    const asked = { ...view }, characters = Array.from(asked.text), vocabulary = Array.from(state.model.characters);
    /** @type {Record<string, Shape>} */
    const shapes = await look("tensors", asked);
    const shape = () => shapes[view.tensor];
    const choices = (name = view.tensor) =>
      shapes[name].letters.slice(0, -2).map((letter) => CHOICES[/** @type {keyof typeof CHOICES} */ (letter)]);
    const slice = () => choices().map((name) => view[name]);
    /** @param {number} dimension @param {number} n */
    const named = (dimension, n) => {
      const known = { T: characters, V: vocabulary }[shape().letters.slice(-2)[dimension]];
      return known ? glyph(known[n]) : String(n);
    };

    let values = new Float32Array();
    const told = element("p", { className: "readout", "aria-live": "polite" });
    const scale = element("div");
    let found = [element("div"), element("div")];
    const tensor = element("select", { id: "tensor" }, ...Object.entries(shapes).map(([name, { letters }]) =>
      element("option", { value: name, textContent: `${name} (${letters.join(", ")})` })));
    const more = element("span");

    const tell = (/** @type {number} */ row, /** @type {number} */ column) => {
      const letters = shape().letters.slice(-2), columns = shape().sizes.slice(-1)[0];
      const [at, to] = [row, column].map((n, dimension) => {
        const name = named(dimension, n);
        return say(`trace.at.${letters[dimension]}`, { n: name === String(n) ? n : `${n} ${name}` });
      });
      told.textContent = say("trace.cell", { at, to, value: amount(values[row * columns + column]) });
    };
    const explain = newestOnly(() => attempt(async () => {
      state.keep();
      const name = view.tensor, cell = { name, index: [...slice(), view.row, view.column], ...shape() };
      const answer = await look("trace", asked, { tensor: name, index: cell.index });
      const parts = origin(cell, answer, { characters, vocabulary }, jump);
      for (const [at, part] of parts.entries()) found[at].replaceWith(part);
      found = parts;
    }));
    const picture = map(say("trace.map"), {
      over: tell,
      chosen: (row, column) => {
        Object.assign(view, { row, column });
        tell(row, column);
      },
      settled: explain,
    });
    /** Choose a tensor, as far as there is one of that name here, and offer what chooses its slices. */
    const choose = (/** @type {string} */ name) => {
      view.tensor = tensor.value = Object.hasOwn(shapes, name) ? name : name === "masked" ? "scores" : "weights";
      more.replaceChildren(...choices().map((name, at) => {
        const most = shape().sizes[at] - 1;
        view[name] = Math.min(view[name], most);
        const number = element("input", { type: "number", name, min: 0, max: most, value: view[name] });
        number.onchange = () => {
          view[name] = number.valueAsNumber = Math.max(0, Math.min(Math.trunc(number.valueAsNumber) || 0, most));
          show();
        };
        return element("label", {}, say(`trace.slice.${name}`), number);
      }));
    };
    const show = newestOnly(() => attempt(async () => {
      if (tensor.value !== view.tensor) choose(view.tensor);
      const name = view.tensor, cells = await numbers("cells", asked, { tensor: name, index: slice() });
      if (name !== view.tensor) return void show(); // somebody went on meanwhile: these are of another shape
      values = cells;
      const isShare = SHARES.includes(view.tensor), [rows, columns] = shape().sizes.slice(-2);
      const field = {
        values, rows, columns,
        row: (/** @type {number} */ n) => named(0, n), column: (/** @type {number} */ n) => named(1, n),
        kind: /** @type {"share" | "signed"} */ (isShare ? "share" : "signed"), most: isShare ? 1 : furthest(values),
        hidden: view.tensor === "weights" ? isFuture : undefined,
      };
      scale.replaceChildren(legend(field));
      picture.show(field, view.row, view.column);
      await explain();
    }));
    tensor.onchange = () => {
      choose(tensor.value);
      show();
    };
    /** Go to another number, so that the browser's way back leads here. @param {string} name @param {number[]} index */
    const jump = async (name, index) => {
      history.pushState(null, "", location.hash);
      for (const [at, choice] of choices(name).entries()) view[choice] = index[at];
      choose(name);
      [view.row, view.column] = index.slice(-2);
      await show();
      picture.canvas.focus();
    };
    choose(view.tensor);
    below.append(
      element("div", { className: "row" }, element("label", {}, say("trace.tensor"), tensor), more),
      element("div", { className: "beside trace" }, element("div", {}, picture.canvas, scale, told), ...found),
    );
    await show();
  });
}
