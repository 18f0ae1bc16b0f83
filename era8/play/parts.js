// What the rooms are made of: elements, sliders, bars, and the question that opens a room.

import { CLASSES, rank, toPercent } from "./data.js";
import { SIZE } from "./images.js";
import { range } from "./network.js";

export function el(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children.flat(Number.POSITIVE_INFINITY));
  return node;
}

export function div(kind, ...children) {
  return el("div", { class: kind }, children);
}

export function note(text) {
  return el("p", { class: "note" }, text);
}

export function button(text, click, attributes = {}) {
  return el("button", { type: "button", click, ...attributes }, text);
}

export function picture(attributes) {
  return el("canvas", { width: SIZE, height: SIZE, ...attributes });
}

export function paint(canvas, pixels) {
  const context = canvas.getContext("2d");
  const shown = context.createImageData(SIZE, SIZE);
  range(SIZE * SIZE).forEach((at) => {
    shown.data.set(
      [0, 1, 2].map((c) => pixels[c * SIZE * SIZE + at]),
      4 * at,
    );
    shown.data[4 * at + 3] = 255;
  });
  context.putImageData(shown, 0, 0);
}

export function slider(name, { min, max, step, value, format = String }, moved) {
  const shown = el("span", { class: "value" }, format(value));
  const input = el("input", {
    type: "range",
    min,
    max,
    step,
    value,
    "aria-label": name,
    input: () => {
      set(Number(input.value));
      moved(Number(input.value));
    },
  });
  const set = (to) => {
    input.value = to;
    shown.textContent = format(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  set(value);
  const element = el("label", { class: "slider" }, el("span", {}, name), input, shown);
  return { element, input, set };
}

export function choice(name, options, value, changed) {
  const items = options.map((text, i) => el("option", { value: i }, text));
  const change = () => changed(Number(select.value));
  const select = el("select", { "aria-label": name, change }, items);
  const set = (to) => {
    select.value = to;
  };
  set(value);
  return { element: el("label", {}, `${name} `, select), set };
}

export function checkbox(text, changed) {
  const input = el("input", { type: "checkbox", change: () => changed(input.checked) });
  return el("label", { class: "check" }, input, ` ${text}`);
}

/** What is said of a network, under its name. */
export function card(title, detail, norm, ...children) {
  const heading = el("h4", {}, title, detail ? el("small", {}, ` ${detail}`) : "");
  return el("div", { class: "answer", style: `--color: var(--${norm})` }, heading, children);
}

/** The three best guesses of a network, as bars. */
export function answerCard(title, detail, norm) {
  const rows = range(3).map(() => {
    const parts = { bar: el("i"), name: el("b"), percent: el("b") };
    return { ...parts, row: div("guess", Object.values(parts)) };
  });
  const truth = el("p", { class: "truth" });
  const bars = rows.map((r) => r.row);
  const element = card(title, detail, norm, bars, truth);
  const show = (probabilities, label, remark) => {
    const best = rank(probabilities);
    rows.forEach(({ bar, name, percent }, i) => {
      bar.style.width = `${100 * probabilities[best[i]]}%`;
      name.textContent = CLASSES[best[i]];
      percent.textContent = toPercent(probabilities[best[i]]);
    });
    truth.replaceChildren(remark ?? judge(best[0], label));
  };
  return { element, show };
}

function judge(guess, label) {
  if (label === null) return "";
  const right = guess === label;
  return el("span", { class: right ? "right" : "wrong" }, right ? "✓ right" : "✗ wrong");
}

export function legend(entries) {
  const keys = entries.map(([text, norm, dashed]) =>
    el("span", { style: `--color: var(--${norm})`, class: dashed ? "dashed" : "" }, text),
  );
  return div("legend", keys);
}

/** Move a value over a second, so that one sees where it went. */
export function glide(from, to, show) {
  const time = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 1000;
  const started = performance.now();
  return new Promise((resolve) => {
    const step = () => {
      const part = time ? Math.min((performance.now() - started) / time, 1) : 1;
      show(from + part * (to - from));
      if (part < 1) setTimeout(step, 30);
      else resolve();
    };
    step();
  });
}

/** A question with its answers; what it locks opens once one is chosen. */
export function question(text, options, body, act) {
  const prompt = "Choose an answer, and what is below comes to life.";
  const verdict = el("p", { class: "verdict", role: "status" }, prompt);
  const buttons = options.map((option, i) =>
    button(
      option,
      async () => {
        for (const other of buttons) other.setAttribute("aria-pressed", other === buttons[i]);
        body.inert = false;
        verdict.textContent = "Watch below …";
        verdict.replaceChildren(...(await act(i, option)));
      },
      { "aria-pressed": "false" },
    ),
  );
  body.inert = true;
  const guesses = { class: "buttons", role: "group", "aria-label": "Your guess" };
  return div("question", el("h2", {}, text), el("div", guesses, buttons), verdict);
}

export function compare(isRight, said, found) {
  return [el("strong", {}, `You said “${said}”. ${isRight ? "So it is. " : "Not so. "}`), ...found];
}

export function readText(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function readColor(name) {
  const digits = readText(name).slice(1);
  return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
}
