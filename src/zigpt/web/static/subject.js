// What all panels that look inside have in common: the text they look at, and the moment of training.

import { refusal } from "./api.js";
import { element, redraw } from "./elements.js";
import { momentName, timeline } from "./moment.js";
import { newestOnly } from "./newest.js";
import { goTo } from "./view.js";
import { glyph, plain, say, strangerTo } from "./words.js";

/** Where somebody is, whatever the text and the moment. @param {import("./view.js").View} view */
const placeIn = (view) => JSON.stringify({ ...view, text: "", at: null });

/**
 * A bar with the text and the slider over time, and below it what `show` makes of them: again after every change.
 * What `show` asks of the server later, it puts through `attempt`: a refusal is told in the bar.
 * @typedef {(work: () => Promise<void>) => Promise<void>} Attempt
 * @param {any} state @param {HTMLElement} place @param {(place: HTMLElement, attempt: Attempt) => Promise<void>} show
 */
export function subject(state, place, show) {
  const { view, model } = state;
  view.text = Array.from(view.text).slice(0, model.block_size).join(""); // that of another model may be longer
  const text = element("textarea", { id: "text", rows: 2, value: view.text, maxLength: model.block_size });
  const below = element("div");
  const trouble = element("p", { className: "trouble", role: "status" }); // of the server
  const odd = element("p", { className: "trouble", role: "status" }); // of the text
  const time = timeline(state, () => again());
  place.append(
    element("div", { className: "row" },
      element("label", { className: "wide" }, say("subject.text", { most: model.block_size }), text), time.element),
    odd, trouble, below,
  );

  /** @type {Attempt} */
  const attempt = async (work) => {
    trouble.textContent = ""; // now, not afterwards: of an attempt within it something may be told
    try {
      await work();
    } catch (error) {
      trouble.textContent = refusal(error);
    }
  };
  let isTyped = false;
  const refresh = newestOnly(() => attempt(async () => {
    if (odd.textContent) return; // it was typed since
    const length = Array.from(view.text).length;
    if (isTyped && (!view.row || view.row >= length)) goTo(view, length >> 1); // a shorter text was there before
    isTyped = false;
    const made = element("div"), told = [say("export.text", { text: plain(view.text) }), momentName(view.at)];
    const before = placeIn(view);
    await show(made, attempt);
    if (odd.textContent || !below.isConnected) return; // there is another text by now, or another panel
    if (below.hasChildNodes() && placeIn(view) !== before) return again(); // somebody went on in what is still shown
    redraw(below, made);
    state.told = told;
  }));
  const again = () => {
    state.keep();
    const stranger = strangerTo(model, view.text);
    odd.textContent = stranger ? say("subject.stranger", { character: glyph(stranger) }) : view.text ? "" : say("subject.empty");
    if (odd.textContent) below.replaceChildren();
    else refresh();
  };
  text.oninput = () => {
    view.text = text.value;
    isTyped = true;
    again();
  };
  // A training at work adds moments and makes the newest model a better one; a server that is back can be asked again.
  state.hear = (/** @type {{kind: string}} */ { kind }) => {
    if (kind === "snapshots") time.show();
    if (kind === "back" || (kind === "model" && view.at === null)) again();
  };
  again();
}
