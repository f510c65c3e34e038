// What all panels that look inside have in common: the text they look at, and the moment of training.

import { refusal } from "./api.js";
import { element } from "./elements.js";
import { plain, say, whole } from "./words.js";

/**
 * A bar with the text and the slider over time, and below it what `show` makes of them: again after every change.
 * What `show` asks of the server later, it puts through `attempt`: a refusal is told in the bar.
 * @typedef {(work: () => Promise<void>) => Promise<void>} Attempt
 * @param {any} state @param {HTMLElement} place @param {(place: HTMLElement, attempt: Attempt) => Promise<void>} show
 */
export function subject(state, place, show) {
  const { view, model } = state;
  if (!model) {
    place.append(element("p", { className: "lead", textContent: say("about.none") }));
    return;
  }
  const text = element("textarea", { id: "text", rows: 2, value: view.text, maxLength: model.block_size });
  const below = element("div");
  const trouble = element("p", { className: "trouble", role: "status" });
  const slider = element("input", { id: "moment", type: "range", min: 0, step: 1 });
  const named = element("output", { htmlFor: "moment" });
  place.append(
    element("div", { className: "row" },
      element("label", { className: "wide" }, say("subject.text", { most: model.block_size }), text),
      element("label", { className: "wide" }, say("subject.moment"), slider, named)),
    trouble, below,
  );

  const moments = () => [...state.snapshots, null];
  const slide = () => {
    slider.max = String(state.snapshots.length);
    slider.valueAsNumber = Math.max(0, moments().indexOf(view.at));
    slider.disabled = !state.snapshots.length;
  };
  /** @type {Attempt} */
  const attempt = async (work) => {
    try {
      await work();
      trouble.textContent = "";
    } catch (error) {
      trouble.textContent = refusal(error);
    }
  };
  let latest = 0;
  const again = async () => {
    const moment = view.at === null ? say("subject.newest") : say("subject.step", { step: whole(view.at) });
    named.textContent = moment;
    slider.setAttribute("aria-valuetext", moment);
    state.keep();
    const mine = ++latest, made = element("div"), text = plain(view.text);
    await attempt(async () => {
      await show(made, attempt);
      if (mine !== latest) return; // something newer is on its way
      below.replaceChildren(made);
      state.told = [say("export.text", { text }), moment];
    });
  };
  text.oninput = () => {
    view.text = text.value;
    again();
  };
  slider.oninput = () => {
    view.at = moments()[slider.valueAsNumber];
    again();
  };
  // A training at work adds moments and makes the newest model a better one.
  state.hear = (/** @type {{kind: string}} */ { kind }) => {
    if (kind === "snapshots") slide();
    if (kind === "model" && view.at === null) again();
  };
  slide();
  again();
}
