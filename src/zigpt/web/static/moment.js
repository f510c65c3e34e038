// The slider over time: whatever is shown is shown as the model was after a step that was kept, or as it is now.

import { element } from "./elements.js";
import { say, whole } from "./words.js";

/** What a moment of training is called. @param {number | null} at a step; null for the newest model */
export const momentName = (at) => (at === null ? say("subject.newest") : say("subject.step", { step: whole(at) }));

/** @param {any} state @param {() => void} changed told when another moment is chosen, which is in the view by then */
export function timeline(state, changed) {
  const { view } = state;
  const slider = element("input", { id: "moment", type: "range", min: 0, step: 1 });
  const name = element("output", { htmlFor: "moment" });
  const moments = () => [...state.snapshots, null];
  const tell = () => {
    name.textContent = momentName(view.at);
    slider.setAttribute("aria-valuetext", momentName(view.at));
  };
  /** A training at work adds moments. */
  const show = () => {
    slider.max = String(state.snapshots.length);
    slider.valueAsNumber = Math.max(0, moments().indexOf(view.at));
    slider.disabled = !state.snapshots.length;
    tell();
  };
  slider.oninput = () => {
    view.at = moments()[slider.valueAsNumber];
    tell();
    changed();
  };
  show();
  return { element: element("label", { className: "wide" }, say("subject.moment"), slider, name), show };
}
