// The page: enter, load what there is to show, and put one panel at a time on it.

import { describe, enter, refusal } from "./api.js";
import { button, byId, element, redraw } from "./elements.js";
import { exportPanel } from "./export.js";
import { language, loadLanguages, say, useLanguage, whole } from "./i18n.js";
import { attention } from "./panels/attention.js";
import { layers } from "./panels/layers.js";
import { predictions } from "./panels/predictions.js";
import { trace } from "./panels/trace.js";
import { train } from "./panels/train.js";
import { write } from "./panels/write.js";
import { follow, initialState } from "./state.js";
import { address, panelName, readView } from "./view.js";
/** @import { ModelState, PageEvent } from "./types.js" */

const PANELS = /** @type {const} */ (["train", "write", "predictions", "attention", "layers", "trace"]);
const MODEL_PANELS = { write, predictions, attention, layers, trace }; // for which there has to be a model

const state = initialState();

/** The panel in the address, or the first. */
const currentPanel = () => PANELS.find((name) => name === panelName()) ?? PANELS[0];

/** Renew what all panels have in common: the line about the model, and the warning. */
function showStatus() {
  byId("about").textContent = about();
  const warning = document.getElementById("warning");
  if (!warning) return;
  warning.textContent = state.isLost ? say("lost") : state.model?.trouble ? say("stale") : "";
  warning.hidden = !warning.textContent;
}

function about() {
  const { model, run, view } = state;
  if (state.refused) return refusal(state.refused);
  if (!model) return say("about.none");
  return say("about.model", {
    name: run?.name ?? "model.safetensors", parameters: whole(model.parameters), layers: model.n_layer,
    heads: model.n_head, width: model.n_embd, step: whole(view.at ?? model.step ?? 0),
  });
}

function show() {
  byId("language").textContent = say("language.other");
  byId("theme").textContent = say(`theme.${theme() === "dark" ? "light" : "dark"}`);
  byId("export").textContent = say("export.save");
  byId("export").title = say("export.why");
  byId("export").hidden = Boolean(state.refused);
  if (state.refused) return showStatus();
  const name = currentPanel();
  redraw(byId("tabs"), ...PANELS.map((each) => tab(each, each === name)));
  const place = element("section", { id: "panel", role: "tabpanel", "aria-labelledby": `tab-${name}` },
    element("p", { id: "warning", className: "trouble", role: "status" }),
    element("h2", { textContent: say(`panel.${name}`) }));
  state.caption = [];
  state.receive = () => {};
  state.view = readView(state.view.text || state.example);
  state.keep = () => {
    history.replaceState(null, "", address(name, state.view));
    showStatus();
  };
  if (name === "train") train(state, place);
  else if (state.model) MODEL_PANELS[name](/** @type {ModelState} */ (state), place);
  else place.append(element("p", { className: "lead", textContent: say("about.none") }));
  redraw(byId("panels"), place);
  showStatus();
}

/** @param {typeof PANELS[number]} name @param {boolean} isCurrent */
function tab(name, isCurrent) {
  const onkeydown = (/** @type {KeyboardEvent} */ event) => { // the arrow keys go from tab to tab
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = PANELS[(PANELS.indexOf(name) + by + PANELS.length) % PANELS.length];
    turnTo(next);
    byId(`tab-${next}`).focus();
  };
  return button(say(`panel.${name}`), () => turnTo(name), {
    role: "tab", id: `tab-${name}`, "aria-selected": String(isCurrent), "aria-controls": "panel",
    tabIndex: isCurrent ? 0 : -1, onkeydown,
  });
}

/** At once: until the browser reports another address, the panel shown now might put its own there.
 * @param {string} name */
function turnTo(name) {
  history.pushState(null, "", address(name, state.view));
  show();
}

const theme = () =>
  localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

const applyTheme = () => { document.documentElement.dataset.theme = theme(); };

byId("language").onclick = () => {
  localStorage.setItem("language", language() === "zh" ? "en" : "zh");
  useLanguage(language());
  show();
};
byId("theme").onclick = () => {
  localStorage.setItem("theme", theme() === "dark" ? "light" : "dark");
  applyTheme();
  show();
};
byId("export").onclick = () => {
  const name = currentPanel();
  const now = new Date().toLocaleString(document.documentElement.lang, { dateStyle: "long", timeStyle: "short" });
  const title = `zigpt · ${say(`panel.${name}`)}`, about = byId("about").textContent ?? "";
  exportPanel(byId("panel"), `zigpt-${name}.html`, title, about, [...state.caption, now]);
};
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#/")) show();
  else location.reload(); // an address as the terminal shows it
});

async function load() {
  const { run, model } = Object.assign(state, await describe());
  state.example = run?.example || run?.prompt || model?.characters.slice(0, 8) || "";
}

/** What is shown may change at any moment: another run, its first rows, a better model.
 * @param {PageEvent} event */
async function receive({ kind, value }) {
  if (kind === "run") history.replaceState(null, "", `#/${currentPanel()}`);
  const { run, model } = state;
  const isOtherModel = kind === "model" && (model?.trouble || value !== model?.version);
  if (kind !== "run" && !isOtherModel && (run || kind !== "rows")) return;
  await load();
  const isFirstModel = !model && state.model && currentPanel() !== "train";
  if (kind === "run" || !run !== !state.run || isFirstModel) show();
  else showStatus();
}

applyTheme();
await loadLanguages();
useLanguage(language());
try {
  await enter();
  await load();
  follow(state, receive, showStatus);
} catch (error) {
  state.refused = error;
}
show();
