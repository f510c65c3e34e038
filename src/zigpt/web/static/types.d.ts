// The shapes that the page's files share: what the server answers, and what the page keeps. For `make types` alone.

// Of the run.
export interface Run {
  name: string; prompt: string; example: string; ladder: Record<string, number>;
  training: { max_steps: number; patience: number }; text: { name: string; characters: number };
}
export interface Model {
  characters: string; block_size: number; n_layer: number; n_head: number; n_embd: number; parameters: number;
  step: number | null; version: string; trouble: string | null; // why there is no newer one
}
export interface Row { // of metrics.jsonl
  step: number; train_loss: number; val_loss: number | null; chars_per_second: number | null; seconds: number;
}
export type Evaluation = Row & { val_loss: number; beats: string | null }; // the best baseline that it beats
export type Sample = { step: number; text: string };
export type End = { early: boolean; best_step: number }; // of a training run that cannot be resumed
export type Trouble = { code: number; stderr: string }; // the exit code of a training run, and what it printed
export type ServerEvent = { kind: "run"; value?: undefined } | { kind: "model"; value: string }
  | { kind: "state"; value: State["state"] } | { kind: "saved"; value: number } | { kind: "snapshots"; value: number[] }
  | { kind: "trouble"; value: Trouble | null }
  | { kind: "rows"; value: Row[]; again: boolean } | { kind: "samples"; value: Sample[] }
  | { kind: "end"; value: End | null };
export type PageEvent = ServerEvent | { kind: "back"; value?: undefined }; // the server answers again

// Of a text that a model has read or written.
export type Label = [string, ...(string | number)[]]; // what something is, then its numbers: ["head", 0, 1]
export type Moment = { text: string; at: number | null }; // read by the model after this step, or by the newest
export interface Predictions { losses: number[]; ranks: number[]; guesses: [string, number][][] }
export interface Layers {
  states: Label[]; target: string; guesses: string[][];
  chances: number[][]; probabilities: number[][]; ranks: number[][];
}
export interface Parts { labels: Label[]; values: number[]; score: number }
export type Shape = { letters: string[]; sizes: number[] }; // what the dimensions are, and how long
export interface Names { characters: string[]; vocabulary: string[] } // by position, and by id
export interface Trace {
  value: number; rule: string; terms: [Label, number][]; count: number; rest: number; total: number; made: number;
  own: [Label | null, number | null]; snippet: string; file: string;
  source: { path: string; number: number; code: string };
}
export interface Letter {
  character: string; probability: number; drawn_with: number; number: number; forced?: boolean; // put there by hand
}
export interface Candidate extends Omit<Letter, "number" | "forced"> {
  logit: number; penalised: number; scaled: number | null; softmax: number;
  dropped: "temperature" | "top_k" | "top_p" | "min_p" | null;
}
export interface Draw {
  drawn: string; candidates: Candidate[]; others: number; others_share: number; parts: [string, number, number][];
}
export interface Copies {
  absent?: string; name?: string; shortest?: number; longest?: number;
  passages?: { start: number; length: number; line: number; before: string; after: string }[];
}
export interface Answers {
  "window/predictions": Predictions; "window/layers": Layers; "window/parts": Parts; "window/trace": Trace;
  "window/tensors": Record<string, Shape>; redraw: Draw; copies: Copies;
}

// Of the page.
export interface State {
  // Written by main.js alone, from `GET /api/run`; an event renews the snapshots, and takes the run away.
  run: Run | null; model: Model | null; snapshots: number[];
  text: string | null; // the name of the text that an empty form trains on
  presets: string[]; longest_minutes: number; // what the form offers
  example: string; // the text to begin with
  refused: unknown; // why there is nothing to show

  // Written by state.js alone, from events.
  rows: Row[]; samples: Sample[]; end: End | null; saved: number; trouble: Trouble | null; version: string | undefined;
  state: "starting" | "training" | "waiting" | "stopped";
  isLost: boolean; // the server does not answer

  // Set by main.js whenever it shows a panel, which then changes the view and sets the two below it.
  view: View;
  receive: (event: PageEvent) => void; // called after every event
  caption: string[]; // what an export says beside the model
  keep: () => void; // puts the view into the address
  writing: Writing | undefined; // of the panel Write alone; outlives its elements
}
export type ModelState = State & { model: Model }; // of all panels but Train
export interface View {
  text: string; // the window that all panels show
  at: number | null; // a step that was kept; null for the newest model
  layer: number; head: number;
  row: number; // the position of the query
  column: number; // the position of the key, or the channel
  changed: number | null; // the character that the influence test changes; null for that of the column
  state: number; // of the residual stream
  tensor: string; // empty for a panel's first
  target: string; // the character to predict where the text ends; empty for the best guess
  settings: Partial<Settings>; // empty before anything was written
}
export interface Settings {
  prompt: string; length: number; temperature: number; top_k: number; top_p: number; min_p: number;
  repetition_penalty: number; seed: number;
}
export interface Draft { settings: Settings & { at: number | null }; letters: Letter[]; copies?: Copies }
export interface Writing {
  draft: Draft;
  branches: { draft: Draft; at: number; isUnfinished: boolean }[]; // the drafts before, and where they were left
  request: AbortController | undefined; // while the model writes
}
export type Attempt = (work: () => Promise<void>) => Promise<void>;
export interface Field { // numbers in rows and columns
  values: ArrayLike<number>; rows: number; columns: number;
  kind: "signed" | "share"; // on both sides of 0, or shares of 1
  most: number; // is as strong as it gets
  hidden?: (row: number, column: number) => boolean; // cells without a colour
}
export type NamedField = Field & { row: (n: number) => string; column: (n: number) => string };
export interface Head { scores: Float32Array; masked: Float32Array; weights: Float32Array } // T x T each
