// A field of numbers as a picture with names along its edges; pointer and arrow keys go from cell to cell.

import { element } from "./elements.js";
import { amount, say } from "./i18n.js";
import { colour, pixels } from "./colormap.js";
/** @import { NamedField } from "./types.js" */

const EDGE = 24; // pixels for the names along the left and upper edge
const NAME = 11; // pixels that the name of a row needs
const FONT = '11px ui-monospace, "Noto Sans Mono CJK SC", monospace';
const WIDEST = 40, HIGHEST = 560, LOWEST = 160; // pixels of a cell, and of the picture

/** @type {Record<string, [number, number]>} */
const STEPS = {
  ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
  Home: [0, -Infinity], End: [0, Infinity], PageUp: [-10, 0], PageDown: [10, 0],
};

/** A canvas that is one stop for the Tab key, the scale of its colours, and a line about the cell. */
export class Heatmap {
  /** @type {NamedField | undefined} */
  #field;
  #picture = element("canvas");
  #scale = element("div");
  #readout = element("p", { className: "readout", "aria-live": "polite" });
  #at = [0, 0];
  #over = this.#at; // the cell under the pointer, or else the current one
  #cell = [1, 1]; // pixels
  #widest = 1; // name of a column, in pixels

  /**
   * @param {string} label
   * @param {{describe: (row: number, column: number, value: number) => string, settled: () => void,
   *   moved: (row: number, column: number) => void}} on `moved` to another cell, and `settled` once the key is
   * released there: time for what takes long
   */
  constructor(label, on) {
    this.on = on;
    const canvas = this.canvas = element("canvas", {
      className: "heatmap", role: "application", tabIndex: 0, "aria-label": label,
    });
    this.parts = [canvas, this.#scale, this.#readout];
    const hover = (/** @type {number[]} */ [row, column]) => {
      if (row !== this.#over[0] || column !== this.#over[1]) this.#showCell([row, column]);
    };
    canvas.onpointermove = (event) => hover(this.#cellUnder(event) ?? this.#at);
    canvas.onpointerleave = () => hover(this.#at);
    canvas.onclick = (event) => {
      const cell = this.#cellUnder(event);
      if (!cell) return;
      this.#moveTo(...cell);
      on.settled();
    };
    canvas.onkeydown = (event) => {
      const step = STEPS[event.key], [row, column] = this.#at;
      if (!step) return;
      event.preventDefault();
      if (event.ctrlKey && Math.abs(step[1]) === Infinity) this.#moveTo(step[1], step[1]);
      else this.#moveTo(row + step[0], column + step[1]);
    };
    canvas.onkeyup = (event) => {
      if (STEPS[event.key]) on.settled();
    };
    let width = 0;
    new ResizeObserver(() => {
      if (canvas.clientWidth !== width) this.#draw();
      width = canvas.clientWidth;
    }).observe(canvas);
  }

  /** Show other numbers, at a cell. @param {NamedField} field @param {number} row @param {number} column */
  show(field, row, column) {
    this.#field = field;
    this.#picture = pixels(field);
    this.#widest = widestName(field);
    this.#scale.replaceChildren(colourScale(field));
    this.#moveTo(row, column);
  }

  /** @param {number} row @param {number} column */
  #moveTo(row, column) {
    if (!this.#field) return;
    this.#at = [clamp(row, this.#field.rows), clamp(column, this.#field.columns)];
    this.#showCell(this.#at);
    this.on.moved(this.#at[0], this.#at[1]);
  }

  /** @param {number[]} cell */
  #showCell([row, column]) {
    if (!this.#field) return;
    this.#over = [row, column];
    this.#draw();
    const value = this.#field.values[row * this.#field.columns + column];
    this.#readout.textContent = this.on.describe(row, column, value);
  }

  /** @param {MouseEvent} event @returns {[number, number] | undefined} */
  #cellUnder({ offsetX, offsetY }) {
    const row = Math.floor((offsetY - EDGE) / this.#cell[1]), column = Math.floor((offsetX - EDGE) / this.#cell[0]);
    const { rows, columns } = this.#field ?? { rows: 0, columns: 0 };
    return row >= 0 && column >= 0 && row < rows && column < columns ? [row, column] : undefined;
  }

  #draw() {
    const field = this.#field, { canvas } = this, width = canvas.clientWidth, pen = canvas.getContext("2d");
    if (!field || !width || !pen) return;
    const cell = this.#cell = cellSize(field, width - EDGE);
    const size = [field.columns * cell[0], field.rows * cell[1]];
    canvas.style.height = `${EDGE + size[1] + 1}px`;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round((EDGE + size[1] + 1) * devicePixelRatio);
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.translate(EDGE, EDGE);
    if (field.hidden) hatch(pen, size);
    pen.imageSmoothingEnabled = cell[0] < 1 || cell[1] < 1;
    pen.drawImage(this.#picture, 0, 0, size[0], size[1]);
    pen.strokeStyle = colour("--line");
    pen.strokeRect(-0.5, -0.5, size[0] + 1, size[1] + 1);
    drawNames(pen, field, cell, this.#over, this.#widest);
    drawLines(pen, cell, this.#over, size);
    drawFrame(pen, cell, this.#at);
  }
}

/** Width and height of a cell; whole pixels of the screen where it has some. @param {NamedField} field
 * @param {number} room */
function cellSize(field, room) {
  const sharp = (/** @type {number} */ size) => {
    const dots = size * devicePixelRatio;
    return dots < 2 ? size : Math.floor(dots) / devicePixelRatio;
  };
  const wide = Math.min(room / field.columns, WIDEST, field.rows === field.columns ? HIGHEST / field.rows : Infinity);
  const least = Math.min(LOWEST / field.rows, NAME);
  return [sharp(wide), sharp(Math.min(Math.max(wide, least), HIGHEST / field.rows))];
}

/** What lies under hidden cells. @param {CanvasRenderingContext2D} pen @param {number[]} size */
function hatch(pen, [width, height]) {
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, height);
  pen.clip();
  pen.fillStyle = colour("--hidden");
  pen.fillRect(0, 0, width, height);
  pen.strokeStyle = colour("--hatch");
  pen.beginPath();
  for (let x = -height; x < width; x += 7) {
    pen.moveTo(x, height);
    pen.lineTo(x + height, 0);
  }
  pen.stroke();
  pen.restore();
}

/** What the name of a column needs. @param {NamedField} field */
function widestName(field) {
  const pen = element("canvas").getContext("2d");
  if (!pen) return NAME;
  pen.font = FONT;
  const names = Array.from({ length: field.columns }, (_, n) => field.column(n));
  return Math.max(...names.map((name) => pen.measureText(name).width + (name.length > 1 ? 5 : 0)));
}

/** As many as fit, and always those of the cell. @param {CanvasRenderingContext2D} pen @param {NamedField} field
 * @param {number[]} cell @param {number[]} at @param {number} widest of the names of columns */
function drawNames(pen, field, cell, [row, column], widest) {
  const x = (/** @type {number} */ n) => (n + 0.5) * cell[0], y = (/** @type {number} */ n) => (n + 0.5) * cell[1];
  pen.font = FONT;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillStyle = colour("--faint");
  for (let n = 0; n < field.rows; n += Math.ceil(NAME / cell[1])) pen.fillText(field.row(n), -EDGE / 2, y(n));
  for (let n = 0; n < field.columns; n += Math.ceil(widest / cell[0])) pen.fillText(field.column(n), x(n), -EDGE / 2);
  const half = widest / 2 + 2, inside = Math.max(x(column), half - EDGE);
  pen.fillStyle = colour("--accent");
  pen.fillRect(-EDGE, y(row) - 8, EDGE - 2, 18);
  pen.fillRect(inside - half, -EDGE, 2 * half, EDGE - 2);
  pen.fillStyle = colour("--accent-ink");
  pen.fillText(field.row(row), -EDGE / 2, y(row));
  pen.fillText(field.column(column), inside, -EDGE / 2);
}

/** From a cell to its names. @param {CanvasRenderingContext2D} pen @param {number[]} cell @param {number[]} at
 * @param {number[]} size */
function drawLines(pen, cell, [row, column], [width, height]) {
  pen.strokeStyle = colour("--seal");
  pen.globalAlpha = 0.45;
  pen.strokeRect(0, (row + 0.5) * cell[1], width, 0);
  pen.strokeRect((column + 0.5) * cell[0], 0, 0, height);
  pen.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} pen @param {number[]} cell @param {number[]} at */
function drawFrame(pen, cell, [row, column]) {
  const wide = Math.max(cell[0], 6), high = Math.max(cell[1], 6);
  pen.strokeStyle = colour("--seal");
  pen.lineWidth = 2;
  pen.strokeRect((column + 0.5) * cell[0] - wide / 2, (row + 0.5) * cell[1] - high / 2, wide, high);
}

/** @param {number} n @param {number} length */
const clamp = (n, length) => Math.max(0, Math.min(n, length - 1));

/** Which number each colour stands for. @param {NamedField} field */
function colourScale({ kind, most, hidden }) {
  const ends = kind === "share" ? [0, most / 4, most] : [-most, 0, most];
  return element("div", { className: "scale" },
    element("div", {}, element("i", { className: kind }),
      element("div", {}, ...ends.map((value) => element("span", { textContent: amount(value) })))),
    ...(hidden ? [element("i", { className: "hidden" }), element("span", { textContent: say("heatmap.hidden") })] : []));
}
