// What all panels that look inside the model share: the text they are about, and the moment of training.

import { attemptIn } from "./api.js";
import { element, redraw } from "./elements.js";
import { glyph, oneLine, say, unknownCharacter } from "./i18n.js";
import { latestOnly } from "./latest_only.js";
import { momentName, timeline } from "./timeline.js";
import { moveTo } from "./view.js";
/** @import { Attempt, Model, ModelState, View } from "./types.js" */

/** The view without text and moment. @param {View} view */
const placeIn = (view) => JSON.stringify({ ...view, text: "", at: null });

/** Why a model cannot read a text. @param {Model} model @param {string} text */
function problemWith(model, text) {
  const unknown = unknownCharacter(model, text);
  if (unknown) return say("subject.unknown", { character: glyph(unknown) });
  return text ? "" : say("subject.empty");
}

/**
 * A bar with the text and the slider over time, and below it what `show` makes of them: again after every change.
 * What `show` asks of the server later goes through `attempt`, which shows a refusal in the bar.
 * @param {ModelState} state @param {HTMLElement} place @param {string} lead its key
 * @param {(place: HTMLElement, attempt: Attempt) => Promise<void>} show
 */
export function subject(state, place, lead, show) {
  const { view, model } = state;
  view.text = Array.from(view.text).slice(0, model.block_size).join(""); // that of another model may be longer
  const text = element("textarea", { id: "text", rows: 2, value: view.text, maxLength: model.block_size });
  const problem = element("p", { className: "trouble", role: "status" });
  const refused = element("p", { className: "trouble", role: "status" });
  const below = element("div");
  const time = timeline(state, () => refresh());
  place.append(
    element("p", { className: "lead", textContent: say(lead) }),
    element("div", { className: "row" },
      element("label", { className: "wide" }, say("subject.text", { most: model.block_size }), text), time.element),
    problem, refused, below,
  );
  const attempt = attemptIn(refused);
  let isTyped = false;
  const showLatest = latestOnly(() => attempt(async () => {
    if (problem.textContent) return; // typed since
    const length = Array.from(view.text).length;
    if (isTyped && (!view.row || view.row >= length)) moveTo(view, length >> 1); // the text before was shorter
    isTyped = false;
    const shown = element("div"), caption = [say("export.text", { text: oneLine(view.text) }), momentName(view.at)];
    const before = placeIn(view);
    await show(shown, attempt);
    if (problem.textContent || !below.isConnected) return; // there is another text by now, or another panel
    if (below.hasChildNodes() && placeIn(view) !== before) return refresh(); // moved in what is still shown
    redraw(below, shown);
    state.caption = caption;
  }));
  const refresh = () => {
    state.keep();
    problem.textContent = problemWith(model, view.text);
    if (problem.textContent) below.replaceChildren();
    else showLatest();
  };
  text.oninput = () => {
    view.text = text.value;
    isTyped = true;
    refresh();
  };
  // A training run at work adds moments and improves the newest model; a server that is back can be asked again.
  state.receive = ({ kind }) => {
    if (kind === "snapshots") time.show();
    if (kind === "back" || (kind === "model" && view.at === null)) refresh();
  };
  refresh();
}
