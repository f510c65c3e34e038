// Walking from one thing to the next with the arrow keys; only one of them is a stop for the Tab key.

/** @type {Record<string, [number, number]>} */
const WAYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * @param {HTMLElement[][]} stops rows of one length @param {number} row where to begin @param {number} column
 * @param {(row: number, column: number) => void} arrive told wherever the walk comes to, by key or click
 * @param {"aria-pressed" | "aria-selected"} [mark] what says which one it is
 */
export function walk(stops, row, column, arrive, mark = "aria-pressed") {
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
  for (const [ownRow, line] of stops.entries()) {
    for (const [ownColumn, stop] of line.entries()) {
      leave(stop);
      stop.onclick = () => {
        stop.focus();
        go(ownRow, ownColumn);
      };
      stop.onkeydown = (event) => {
        const [down, right] = WAYS[event.key] ?? [0, 0];
        const next = stops[ownRow + down]?.[ownColumn + right];
        if (!next || next === stop) return;
        event.preventDefault();
        next.focus();
        go(ownRow + down, ownColumn + right);
      };
    }
  }
  row = Math.min(row, stops.length - 1);
  column = Math.min(column, stops[row].length - 1);
  go(row, column);
}
