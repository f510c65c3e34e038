// Elements in rows: the arrow keys go from one to the next, and only one of them is a stop for the Tab key.

/** @type {Record<string, [number, number]>} */
const DIRECTIONS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * @param {HTMLElement[][]} stops rows of one length @param {number} row where to begin @param {number} column
 * @param {(row: number, column: number) => void} arrive called at the beginning and at every move, by key or click
 * @param {"aria-pressed" | "aria-selected"} [mark] the attribute of the current one
 */
export function rovingFocus(stops, row, column, arrive, mark = "aria-pressed") {
  const leave = (/** @type {HTMLElement} */ stop) => {
    stop.tabIndex = -1;
    stop.setAttribute(mark, "false");
  };
  const go = (/** @type {number} */ toRow, /** @type {number} */ toColumn) => {
    leave(stops[row][column]);
    [row, column] = [toRow, toColumn];
    stops[row][column].tabIndex = 0;
    stops[row][column].setAttribute(mark, "true");
    arrive(row, column);
  };
  const focus = (/** @type {number} */ toRow, /** @type {number} */ toColumn) => {
    stops[toRow][toColumn].focus();
    go(toRow, toColumn);
  };
  for (const [ownRow, line] of stops.entries()) {
    for (const [ownColumn, stop] of line.entries()) {
      leave(stop);
      stop.onclick = () => focus(ownRow, ownColumn);
      stop.onkeydown = (event) => {
        const [toRow, toColumn] = [ownRow, ownColumn].map((at, axis) => at + (DIRECTIONS[event.key]?.[axis] ?? 0));
        if ((toRow === ownRow && toColumn === ownColumn) || !stops[toRow]?.[toColumn]) return;
        event.preventDefault();
        focus(toRow, toColumn);
      };
    }
  }
  row = Math.min(row, stops.length - 1);
  column = Math.min(column, stops[row].length - 1);
  go(row, column);
}
