// What all panels that look inside have in common: the text they look at, and the moment of training.

import { refusal } from "./api.js";
import { element } from "./elements.js";
import { momentName, timeline } from "./moment.js";
import { glyph, plain, say, strangerTo } from "./words.js";

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
    try {
      await work();
      trouble.textContent = "";
    } catch (error) {
      trouble.textContent = refusal(error);
    }
  };
  let latest = 0;
  const again = async () => {
    state.keep();
    const stranger = strangerTo(model, view.text);
    odd.textContent = stranger ? say("subject.stranger", { character: glyph(stranger) }) : view.text ? "" : say("subject.empty");
    latest++; // what is on its way belongs to another text
    if (odd.textContent) return;
    const mine = latest, made = element("div"), text = plain(view.text), moment = momentName(view.at);
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
  // A training at work adds moments and makes the newest model a better one; a server that is back can be asked again.
  state.hear = (/** @type {{kind: string}} */ { kind }) => {
    if (kind === "snapshots") time.show();
    if (kind === "back" || (kind === "model" && view.at === null)) again();
  };
  again();
}
