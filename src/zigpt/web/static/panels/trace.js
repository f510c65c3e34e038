// Trace: any number of the model, back to its terms, its line of code and a few lines of Python.

import { ask, askNumbers } from "../api.js";
import { furthest, isFuture } from "../colormap.js";
import { element } from "../elements.js";
import { Heatmap } from "../heatmap.js";
import { amount, glyph, say } from "../i18n.js";
import { latestOnly } from "../latest_only.js";
import { subject } from "../subject.js";
import { origin } from "./origin.js";
/** @import { ModelState, NamedField, Names, Shape, View } from "../types.js" */

// What chooses the slice of a tensor that is shown. The last two dimensions are its rows and columns.
const CHOICES = /** @type {Record<string, "layer" | "head" | "state">} */ ({ L: "layer", H: "head", S: "state" });
const SHARES = ["weights", "probabilities"];

/** @param {ModelState} state @param {HTMLElement} place */
export function trace(state, place) {
  subject(state, place, "trace.lead", async (below, attempt) => {
    const { view } = state, { text, at } = view, shapes = await ask("window/tensors", { text, at });
    const names = { characters: Array.from(text), vocabulary: Array.from(state.model.characters) };
    const shape = () => shapes[view.tensor], slice = () => choicesOf(shape()).map((choice) => view[choice]);
    let parts = [element("div"), element("div")];

    const tensor = tensorChoice(shapes, view, () => show());
    const explain = latestOnly(() => attempt(async () => {
      state.keep();
      const cell = { name: view.tensor, index: [...slice(), view.row, view.column], ...shape() };
      const found = await ask("window/trace", { text, at, tensor: cell.name, index: cell.index });
      const others = origin(cell, found, names, jump);
      for (const [at, part] of parts.entries()) part.replaceWith(others[at]);
      parts = others;
    }));
    const heatmap = new Heatmap(say("trace.map"), {
      describe: (row, column, value) => describe(shape(), [row, column], names, value),
      moved: (row, column) => Object.assign(view, { row, column }),
      settled: explain,
    });
    const show = latestOnly(() => attempt(async () => {
      if (tensor.select.value !== view.tensor) tensor.choose(view.tensor);
      const name = view.tensor, values = await askNumbers("cells", { text, at, tensor: name, index: slice() });
      if (name !== view.tensor) return void show(); // another was chosen meanwhile, of another shape
      heatmap.show(fieldOf(name, shape(), values, names), view.row, view.column);
      await explain();
    }));
    /** Show another number, so that the browser's way back leads here. @param {string} name @param {number[]} index */
    const jump = async (name, index) => {
      history.pushState(null, "", location.hash);
      for (const [at, choice] of choicesOf(shapes[name]).entries()) view[choice] = index[at];
      tensor.choose(name);
      [view.row, view.column] = index.slice(-2);
      await show();
      heatmap.canvas.focus();
    };
    below.append(
      element("div", { className: "row" }, element("label", {}, say("trace.tensor"), tensor.select), tensor.slices),
      element("div", { className: "beside trace" }, element("div", {}, ...heatmap.parts), ...parts),
    );
    await show();
  });
}

/** The parts of a view that choose a slice. @param {Shape} shape */
const choicesOf = ({ letters }) => letters.slice(0, -2).map((letter) => CHOICES[letter]);

/** Fields that choose a tensor and its slice. @param {Record<string, Shape>} shapes @param {View} view
 * @param {() => void} changed */
function tensorChoice(shapes, view, changed) {
  const select = element("select", { id: "tensor" }, ...Object.entries(shapes).map(([name, { letters }]) =>
    element("option", { value: name, textContent: `${name} (${letters.join(", ")})` })));
  const slices = element("span");
  /** As far as there is one of that name here. @param {string} name */
  const choose = (name) => {
    const usual = name === "masked" ? "scores" : "weights";
    view.tensor = select.value = Object.hasOwn(shapes, name) ? name : usual;
    const shape = shapes[view.tensor];
    slices.replaceChildren(...choicesOf(shape).map((choice, at) => {
      const most = shape.sizes[at] - 1;
      view[choice] = Math.min(view[choice], most);
      const number = element("input", { type: "number", name: choice, min: 0, max: most, value: view[choice] });
      number.onchange = () => {
        view[choice] = number.valueAsNumber = Math.max(0, Math.min(Math.trunc(number.valueAsNumber) || 0, most));
        changed();
      };
      return element("label", {}, say(`trace.slice.${choice}`), number);
    }));
  };
  select.onchange = () => {
    choose(select.value);
    changed();
  };
  choose(view.tensor);
  return { select, slices, choose };
}

/** What `n` is in a dimension of characters. @param {string} letter @param {number} n @param {Names} names */
function characterAt(letter, n, { characters, vocabulary }) {
  const character = { T: characters, V: vocabulary }[letter]?.[n];
  return character === undefined ? undefined : glyph(character);
}

/** @param {Shape} shape @param {number[]} cell @param {Names} names @param {number} value */
function describe({ letters }, cell, names, value) {
  const [at, to] = letters.slice(-2).map((letter, dimension) => {
    const n = cell[dimension], character = characterAt(letter, n, names);
    return say(`trace.at.${letter}`, { n: character ? `${n} ${character}` : n });
  });
  return say("trace.cell", { at, to, value: amount(value) });
}

/** @param {string} name @param {Shape} shape @param {Float32Array} values @param {Names} names @returns {NamedField} */
function fieldOf(name, { letters, sizes }, values, names) {
  const isShare = SHARES.includes(name), [rows, columns] = sizes.slice(-2), [down, right] = letters.slice(-2);
  return {
    values, rows, columns, kind: isShare ? "share" : "signed", most: isShare ? 1 : furthest(values),
    row: (n) => characterAt(down, n, names) ?? String(n), column: (n) => characterAt(right, n, names) ?? String(n),
    hidden: name === "weights" ? isFuture : undefined,
  };
}
