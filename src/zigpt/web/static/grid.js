// Walking about in a table with the arrow keys; only one of its cells is a stop for the Tab key.

/** @type {Record<string, [number, number]>} */
const WAYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * @param {HTMLElement[][]} cells rows of one length @param {number} row where to begin @param {number} column
 * @param {(row: number, column: number) => void} arrive told wherever the walk comes to, by key or click
 */
export function walkAbout(cells, row, column, arrive) {
  const go = (/** @type {number} */ toRow, /** @type {number} */ toColumn) => {
    leave(cells[row][column]);
    [row, column] = [toRow, toColumn];
    cells[row][column].tabIndex = 0;
    cells[row][column].setAttribute("aria-selected", "true");
    arrive(row, column);
  };
  for (const [ownRow, line] of cells.entries()) {
    for (const [ownColumn, cell] of line.entries()) {
      leave(cell);
      cell.onclick = () => {
        cell.focus();
        go(ownRow, ownColumn);
      };
      cell.onkeydown = (event) => {
        const [down, right] = WAYS[event.key] ?? [0, 0];
        const next = cells[ownRow + down]?.[ownColumn + right];
        if (!next || next === cell) return;
        event.preventDefault();
        next.focus();
        go(ownRow + down, ownColumn + right);
      };
    }
  }
  row = Math.min(row, cells.length - 1);
  column = Math.min(column, cells[row].length - 1);
  go(row, column);
}

/** @param {HTMLElement} cell */
function leave(cell) {
  cell.tabIndex = -1;
  cell.setAttribute("aria-selected", "false");
}
