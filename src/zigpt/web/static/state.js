// What the page knows, in one object that all panels share (types.d.ts), and how events change it.

import { watch } from "./api.js";
import { readView } from "./view.js";
/** @import { Evaluation, PageEvent, ServerEvent, State } from "./types.js" */

/** @returns {State} */
export const initialState = () => ({
  run: null, model: null, snapshots: [], text: null, presets: [], longest_minutes: 0, example: "", refused: undefined,
  rows: [], samples: [], end: null, saved: 0, trouble: null, version: undefined, state: "stopped", isLost: false,
  view: readView("", ""), receive: () => {}, caption: [], keep: () => {}, writing: undefined,
});

/**
 * Follow the run for as long as the page is open.
 * @param {State} state @param {(event: PageEvent) => void} receive called after each event, before the panel
 * @param {() => void} connectionChanged
 */
export function follow(state, receive, connectionChanged) {
  watch((event) => {
    const isKnown = event.kind === "model" && event.value === (state.version ?? state.model?.version);
    apply(state, event);
    receive(event);
    if (!isKnown) state.receive(event); // nobody who reads or clicks is disturbed for nothing
  }, (isLost) => {
    if (!isLost) Object.assign(state, { rows: [], samples: [], end: null }); // a new watch tells all from the beginning
    const isBack = state.isLost && !isLost;
    state.isLost = isLost;
    connectionChanged();
    if (isBack) state.receive({ kind: "back" });
  });
}

/** @param {State} state @param {ServerEvent} event */
function apply(state, event) {
  const { kind, value } = event;
  if (kind === "rows") state.rows = (event.again ? [] : state.rows).concat(value);
  else if (kind === "model") state.version = value;
  else if (kind === "run") Object.assign(state, initialState(), { model: state.model }); // all else was of another run
  else Object.assign(state, { [kind]: value });
}

/** The rows with a loss. @param {State} state */
export const evaluationsOf = ({ rows }) =>
  /** @type {Evaluation[]} */ (rows.filter((row) => row.val_loss !== null));
