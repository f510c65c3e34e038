// The page: enter, learn what is shown, and put one panel after another on it.

import { enter, get, refusal } from "./api.js";
import { byId, element, redraw } from "./elements.js";
import { handedOut, save } from "./export.js";
import { attention } from "./panels/attention.js";
import { layers } from "./panels/layers.js";
import { learn, listen } from "./panels/learn.js";
import { positions } from "./panels/positions.js";
import { trace } from "./panels/trace.js";
import { write } from "./panels/write.js";
import { address, keep, panel, view } from "./view.js";
import { language, learnLanguages, say, speak, whole } from "./words.js";

const PANELS = /** @type {const} */ ([
  ["learn", learn], ["write", write], ["positions", positions], ["attention", attention], ["layers", layers],
  ["trace", trace],
]);

/** @type {any} */
const state = {};

/** Which panels there is nothing for before the first model. @param {string} name */
const needsModel = (name) => name !== "learn";

/** The panel that the address names, or the first. */
const named = () => (PANELS.find(([name]) => name === panel()) ?? PANELS[0])[0];

function describe() {
  byId("about").textContent = about();
  state.warn?.();
}

function about() {
  const { model, run, view } = state;
  if (state.refused) return refusal(state.refused);
  if (!model) return say("about.none");
  return say("about.model", {
    name: run?.name ?? "model.safetensors", parameters: whole(model.parameters), layers: model.n_layer,
    heads: model.n_head, width: model.n_embd, step: whole(view?.at ?? model.step ?? 0),
  });
}

/** What all panels have to say: nobody answers, or what is shown is not there any more. */
function warning() {
  if (state.isLost) return say("lost");
  return state.model?.trouble ? say("stale") : "";
}

function show() {
  byId("language").textContent = say("language.other");
  byId("theme").textContent = say(`theme.${theme() === "dark" ? "light" : "dark"}`);
  byId("export").textContent = say("export.save");
  byId("export").title = say("export.why");
  byId("export").hidden = Boolean(state.refused);
  if (state.refused) return describe();
  const current = named();
  redraw(byId("tabs"), ...PANELS.map(([name]) => element("button", {
    type: "button", role: "tab", id: `tab-${name}`, textContent: say(`panel.${name}`),
    "aria-selected": String(name === current), "aria-controls": "panel", tabIndex: name === current ? 0 : -1,
    onclick: () => turnTo(name),
    onkeydown: (/** @type {KeyboardEvent} */ event) => turn(event, name),
  })));
  const place = element("section", { id: "panel", role: "tabpanel", "aria-labelledby": `tab-${current}` });
  const warned = element("p", { className: "trouble", role: "status" });
  place.append(warned);
  state.warn = () => {
    warned.textContent = warning();
    warned.hidden = !warned.textContent;
  };
  state.hear = undefined;
  state.told = [];
  state.view = view(state.view?.text || state.example);
  state.keep = () => {
    keep(current, state.view);
    describe();
  };
  describe();
  if (needsModel(current) && !state.model) {
    place.append(
      element("h2", { textContent: say(`panel.${current}`) }),
      element("p", { className: "lead", textContent: say("about.none") }),
    );
  } else PANELS.find(([name]) => name === current)?.[1](state, place);
  redraw(byId("panels"), place);
}

/** At once: until the browser told of another address, what is shown now might put its own there. @param {string} name */
function turnTo(name) {
  history.pushState(null, "", address(name, state.view));
  show();
}

/** Arrow keys go from tab to tab. @param {KeyboardEvent} event @param {string} from */
function turn(event, from) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const at = PANELS.findIndex(([name]) => name === from);
  const [next] = PANELS[(at + by + PANELS.length) % PANELS.length];
  turnTo(next);
  byId(`tab-${next}`).focus();
}

const theme = () =>
  localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

function dress() {
  document.documentElement.dataset.theme = theme();
}

byId("language").onclick = () => {
  localStorage.setItem("language", language() === "zh" ? "en" : "zh");
  speak(language());
  show();
};
byId("theme").onclick = () => {
  localStorage.setItem("theme", theme() === "dark" ? "light" : "dark");
  dress();
  show();
};
byId("export").onclick = () => {
  const name = named(), about = byId("about").textContent ?? "";
  const now = new Date().toLocaleString(document.documentElement.lang, { dateStyle: "long", timeStyle: "short" });
  const page = handedOut(byId("panel"), `zigpt · ${say(`panel.${name}`)}`, about, [...state.told, now]);
  save(`zigpt-${name}.html`, page);
};
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#/")) show();
  else location.reload(); // an address as the terminal shows it
});

/** Learn anew what there is to be shown. */
async function load() {
  Object.assign(state, await get("run"));
  state.example = state.run?.example || state.run?.prompt || state.model?.characters.slice(0, 8) || "";
}

/** What is shown may change at any moment: another run, its beginning, a better model. @param {any} event */
async function hear({ kind, value }) {
  if (kind === "run") {
    // Until it is known, nothing is drawn of it; what was looked at belongs to the one before.
    const fresh = { view: undefined, hear: undefined, written: undefined, older: undefined };
    Object.assign(state, { rows: [], samples: "", version: undefined, ...fresh });
    history.replaceState(null, "", `#/${named()}`);
  }
  const had = Boolean(state.run), { version, trouble } = state.model ?? {};
  const isOther = kind === "model" && (trouble || value !== version);
  if (kind !== "run" && !isOther && (had || kind !== "rows")) return;
  await load();
  const isFirst = version === undefined && state.model && needsModel(named());
  if (kind === "run" || had !== Boolean(state.run) || isFirst) show();
  else describe();
}

dress();
await learnLanguages();
speak(language());
try {
  await enter();
  await load();
  listen(state, hear);
} catch (error) {
  state.refused = error;
}
show();
