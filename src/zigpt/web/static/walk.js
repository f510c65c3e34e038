// Walking from one thing to the next with the arrow keys; only one of them is a stop for the Tab key.

/**
 * @param {HTMLElement[]} stops @param {number} at where to begin
 * @param {(at: number) => void} arrive told wherever the walk comes to, by key, click or pointer
 * @param {number} [across] how many stand side by side, where they stand in rows
 */
export function walk(stops, at, arrive, across = 0) {
  /** @type {Record<string, number>} */
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across };
  const go = (/** @type {number} */ to) => {
    for (const [place, stop] of stops.entries()) {
      stop.tabIndex = place === to ? 0 : -1;
      stop.setAttribute("aria-pressed", String(place === to));
    }
    arrive(to);
  };
  for (const [place, stop] of stops.entries()) {
    stop.onclick = () => {
      stop.focus();
      go(place);
    };
    stop.onkeydown = (event) => {
      const to = place + (steps[event.key] ?? 0);
      if (to === place || !stops[to]) return;
      event.preventDefault();
      stops[to].focus();
      go(to);
    };
  }
  if (stops.length) go(Math.min(at, stops.length - 1));
}
