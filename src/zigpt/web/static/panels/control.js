// Starting a training run, and controlling the one that is shown.

import { attemptIn, controlTraining, startTraining } from "../api.js";
import { button, element, redraw } from "../elements.js";
import { say } from "../i18n.js";
/** @import { State, Trouble } from "../types.js" */

/** What a training run can be asked to do in each state, the most likely first. */
const CONTROLS = /** @type {const} */ ({
  starting: ["stop"],
  training: ["pause", "stop"],
  waiting: ["resume", "step", "stop"],
  stopped: ["resume"],
});

/** Buttons for the state of the training; `show` renews them. @param {State} state */
export function controls(state) {
  const buttons = element("div", { className: "row" });
  const trouble = element("p", { className: "trouble", role: "alert" }), attempt = attemptIn(trouble);
  let shown = "";
  const show = () => {
    trouble.textContent = state.trouble ? troubleOf(state.trouble) : "";
    const isOver = !state.run || state.end !== null;
    const possible = state.state === "stopped" && isOver ? [] : CONTROLS[state.state];
    if (shown === possible.join()) return;
    shown = possible.join();
    redraw(buttons, ...possible.map((control, at) => button(
      say(`control.${control}`), () => attempt(() => controlTraining(control)),
      { id: `control-${control}`, className: at ? "" : "main" },
    )));
  };
  return { element: element("div", {}, buttons, trouble), show };
}

/** Why a training run ended, and its own words. @param {Trouble} trouble */
const troubleOf = ({ code, stderr }) => [say(`trouble.${code}`, {}, "trouble.1"), stderr].join("\n");

/** The form that starts a training run. @param {State} state */
export function startForm(state) {
  const text = element("textarea", { name: "pasted", rows: 5, placeholder: say("start.placeholder") });
  const file = element("input", { type: "file", accept: ".txt,.md,text/plain" });
  const preset = element("select", { name: "preset" }, ...state.presets.map((name) =>
    element("option", { value: name, textContent: say(`preset.${name}`) })));
  const minutes = element("input", {
    type: "number", name: "minutes", min: 0.1, max: state.longest_minutes, step: "any", placeholder: "–",
  });
  const trouble = element("p", { className: "trouble", role: "alert" }), attempt = attemptIn(trouble);
  const form = element("form", { id: "starter" },
    element("div", { className: "row" },
      element("label", { className: "wide" }, say("start.text", { text: state.text ?? say("start.default") }), text),
      element("label", {}, say("start.file"), file),
      element("label", {}, say("start.preset"), preset),
      element("label", {}, say("start.minutes"), minutes),
      element("button", { className: "main", type: "submit", textContent: say("control.start") })),
    trouble);
  file.onchange = async () => {
    const chosen = file.files?.[0];
    if (chosen) text.value = await chosen.text();
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    attempt(() => startTraining({
      text: text.value || null, preset: preset.value,
      minutes: Number.isNaN(minutes.valueAsNumber) ? null : minutes.valueAsNumber,
    }));
  };
  return form;
}
