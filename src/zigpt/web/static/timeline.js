// The slider over time: a panel shows the model as it was after a step that was kept, or as it is now.

import { element } from "./elements.js";
import { say, whole } from "./i18n.js";
/** @import { State } from "./types.js" */

/** @param {number | null} at a step; null for the newest model */
export const momentName = (at) => (at === null ? say("subject.newest") : say("subject.step", { step: whole(at) }));

/** @param {State} state @param {() => void} changed called once the view has another moment */
export function timeline(state, changed) {
  const { view } = state;
  const slider = element("input", { id: "moment", type: "range", min: 0, step: 1 });
  const name = element("output", { htmlFor: "moment" });
  const moments = () => [...state.snapshots, null];
  const showName = () => {
    name.textContent = momentName(view.at);
    slider.setAttribute("aria-valuetext", momentName(view.at));
  };
  /** Again whenever the training has added a moment. */
  const show = () => {
    slider.max = String(state.snapshots.length);
    slider.valueAsNumber = Math.max(0, moments().indexOf(view.at));
    slider.disabled = !state.snapshots.length;
    showName();
  };
  slider.oninput = () => {
    view.at = moments()[slider.valueAsNumber];
    showName();
    changed();
  };
  show();
  return { element: element("label", { className: "wide" }, say("subject.moment"), slider, name), show };
}
