// The room in which the image fades.

import { count, forget } from "./count.js";
import { ask, chosen, fullName, isOf, join, MAIN, NETWORKS, nameOf, TEST } from "./data.js";
import { changeImage, REST } from "./images.js";
import {
  answerCard,
  button,
  checkbox,
  compare,
  div,
  el,
  glide,
  legend,
  note,
  paint,
  picture,
  question,
  slider,
  svg,
} from "./parts.js";

const CHANGES = {
  contrast: { min: 0.05, max: 1, step: 0.01, points: [0.25, 1, 0.5, 0.1, 0.75, 0.35, 0.15, 0.05] },
  brightness: { min: 0, max: 0.6, step: 0.01, points: [0, 0.6, 0.3, 0.15, 0.45, 0.1, 0.2] },
  noise: { min: 0, max: 0.3, step: 0.01, points: [0, 0.3, 0.15, 0.05, 0.2, 0.1, 0.25] },
  blur: { min: 0, max: 3, step: 0.1, points: [0, 3, 1, 0.5, 2, 1.5, 0.75] },
  colour: { min: 0, max: 0.6, step: 0.01, points: [0, 0.6, 0.3, 0.15, 0.45, 0.1, 0.2] },
  shift: { min: 0, max: 16, step: 1, points: [0, 16, 8, 4, 12, 2, 6, 10] },
};
const UNITS = {
  contrast: "contrast, × that of the image",
  brightness: "brightness, + part of the range",
  noise: "noise, ± part of the range",
  blur: "blur, standard deviation in pixels",
  colour: "red, + part of the range",
  shift: "shift to the right, in pixels",
};
const LABELS = { colour: "red cast" }; // of sliders, where they are not the name itself

export function fadeRoom() {
  const settings = { ...REST };
  let kind = "contrast";
  let all = false; // also those without skips
  const big = picture({ class: "big", role: "img", "aria-label": "The image, changed" });
  const cards = NETWORKS.map((network) => ({
    network,
    card: answerCard(nameOf(network), network.skip ? "" : "no skips", network.norm),
  }));
  const shown = () => cards.filter(({ network }) => all || MAIN.includes(network));
  const sliders = Object.fromEntries(
    Object.entries(CHANGES).map(([name, { points, ...values }]) => [
      name,
      slider(LABELS[name] ?? name, { ...values, value: REST[name] }, (value) =>
        change(name, value),
      ),
    ]),
  );
  const chart = div("outcome");
  const place = el("div");
  const progress = el("p", { class: "note" });

  function change(name, value) {
    settings[name] = value;
    sliders[name].set(value);
    if (kind !== name) {
      kind = name;
      countAll();
    }
    update();
  }

  function update() {
    const image = changeImage(chosen.pixels, settings);
    paint(big, image);
    for (const { card } of cards) card.element.hidden = true;
    for (const { network, card } of shown()) {
      card.element.hidden = false;
      card.show(ask(network, [image]).answers[0], chosen.label);
    }
    draw();
  }

  const counts = new Map();
  const name = (network, point) => `${NETWORKS.indexOf(network)} ${kind} ${point}`;
  const at = (network, point) => counts.get(name(network, point));

  function countAll() {
    forget("curve");
    for (const point of CHANGES[kind].points) {
      for (const { network } of shown()) {
        const key = name(network, point);
        count(network, { [kind]: point }, {}, "curve").then((right) => {
          counts.set(key, right);
          draw();
        });
      }
    }
    draw();
  }

  function draw() {
    const width = Math.max(chart.clientWidth, 300);
    const [height, left, bottom] = [240, 34, 42];
    const total = TEST.images.length;
    const { min, max, points } = CHANGES[kind];
    const sorted = [...points].sort((a, b) => a - b);
    const x = (value) => {
      const part =
        kind === "contrast" // grows by as large a part with each step
          ? Math.log(value / min) / Math.log(max / min)
          : (value - min) / (max - min);
      return left + 12 + part * (width - left - 26);
    };
    const y = (right) => height - bottom - (right / total) * (height - bottom - 12);
    const lines = [0, total / 2, total].map((right) => [
      svg("line", { x1: left, x2: width, y1: y(right), y2: y(right), stroke: "var(--faint)" }),
      svg("text", { x: left - 6, y: y(right) + 4, "text-anchor": "end" }, `${right}`),
    ]);
    const ticks = sorted
      .filter((_, i) => width > 450 || (i - sorted.indexOf(REST[kind])) % 2 === 0)
      .map((point) =>
        svg("text", { x: x(point), y: height - 22, "text-anchor": "middle" }, `${point}`),
      );
    const curves = shown().map(({ network }) => {
      const found = sorted.filter((point) => at(network, point) !== undefined);
      const color = `var(--${network.norm})`;
      const path = found.map((point) => {
        // A line joins only what has been counted on both of its sides
        const before = at(network, sorted[sorted.indexOf(point) - 1]);
        return `${before === undefined ? "M" : "L"} ${x(point)} ${y(at(network, point))}`;
      });
      const line = svg("path", {
        d: path.join(" "),
        fill: "none",
        stroke: color,
        "stroke-width": 2.5,
        "stroke-dasharray": network.skip ? "" : "5 4",
      });
      const dots = found.map((point) => {
        const dot = { cx: x(point), cy: y(at(network, point)), r: 3.5, fill: color };
        const text = `${fullName(network)}: ${at(network, point)} of ${total} at ${point}`;
        return svg("circle", dot, svg("title", {}, text));
      });
      return [line, dots];
    });
    const here = x(settings[kind]);
    const marker = svg("line", {
      x1: here,
      x2: here,
      y1: 6,
      y2: height - bottom,
      stroke: "var(--grey)",
      "stroke-dasharray": "2 4",
    });
    const middle = { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" };
    const axis = svg("text", middle, UNITS[kind]);
    const label = `Images classified correctly of ${total}, by ${kind}`;
    const frame = { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label };
    chart.replaceChildren(svg("svg", frame, lines, ticks, axis, marker, curves));
    const known = shown().flatMap(({ network }) => sorted.map((point) => at(network, point)));
    const toCome = known.filter((right) => right === undefined).length;
    progress.textContent = toCome
      ? `Counting: ${toCome} of ${known.length} points are to come.`
      : "";
    place.replaceChildren(
      legend(shown().map(({ network }) => [fullName(network), network.norm, !network.skip])),
    );
  }

  const reset = button("As it was", () => {
    for (const name of Object.keys(CHANGES)) {
      settings[name] = REST[name];
      sliders[name].set(REST[name]);
    }
    update();
  });
  const others =
    NETWORKS.length > MAIN.length
      ? checkbox("also the networks without skips", (checked) => {
          all = checked;
          update();
          countAll();
        })
      : "";
  const controls = Object.values(sliders).map((s) => s.element);
  const outcome = [
    div("answers", ...cards.map(({ card }) => card.element)),
    others,
    el("h3", {}, `How many of all ${TEST.images.length} images are classified correctly`),
    note(
      "A curve is of the slider that you moved last, as if the other sliders had not been moved.",
    ),
    place,
    chart,
    progress,
  ];
  const left = el("div", {}, big, controls, div("buttons", reset));
  const body = div("columns", left, el("div", {}, outcome));
  const names = MAIN.map(nameOf);
  const intro = question(
    `The images fade to a quarter of their contrast. Which network classifies the fewest of the ${TEST.images.length} correctly?`,
    names,
    body,
    async (_, said) => {
      kind = "contrast";
      countAll();
      await glide(settings.contrast, 0.25, (value) => change("contrast", value));
      const right = await Promise.all(MAIN.map((n) => count(n, { contrast: 0.25 })));
      const whole = await Promise.all(MAIN.map((n) => count(n, { contrast: 1 })));
      const fewest = names.filter((_, i) => right[i] === Math.min(...right));
      const each = names.map((name, i) => `${name} ${whole[i]} → ${right[i]}`);
      return compare(fewest.includes(said), said, [
        `Correct of ${TEST.images.length}, before → at a quarter of the contrast: ${join(each)}. ` +
          "BN subtracts a mean and divides by a standard deviation that it remembers from training. " +
          "Those of a faint image are others, so what leaves each layer is too weak and off centre. " +
          "GN and LN take both from the image itself, and what is faint becomes as strong as before." +
          (MAIN.some(isOf("none"))
            ? " Without a norm nothing is subtracted: all values fade together. The answer mostly stays, but less sure."
            : ""),
      ]);
    },
  );
  return { title: "Fade it", element: [intro, body], update, show: countAll, resize: draw };
}
