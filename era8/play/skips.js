// The room in which skips are cut, a channel grows loud, and InstanceNorm hides the image.

import { count, forget } from "./count.js";
import {
  ask,
  BLOCKS,
  batchOf,
  CLASSES,
  chosen,
  DATA,
  isOf,
  MAIN,
  MODES,
  NETWORKS,
  nameOf,
  rank,
  spread,
  TEST,
  toPercent,
  WITH_SKIPS,
} from "./data.js";
import { measure, range, sum } from "./network.js";
import {
  button,
  card,
  checkbox,
  choice,
  compare,
  div,
  el,
  glide,
  note,
  paint,
  picture,
  question,
  slider,
  svg,
} from "./parts.js";

const SKIPS = { first: "the skip over C4 to c7", second: "the skip over C8 to C10" };
const STAGES = [
  { layers: ["C1", "C2", "c3", "P1"] },
  { layers: ["C4", "C5", "C6", "c7", "P2"], skip: "first", over: 4 },
  { layers: ["C8", "C9", "C10", "GAP", "c11"], skip: "second", over: 3 },
];

export function skipsRoom() {
  const cut = new Set();
  const stages = STAGES.map(drawStage);
  const rows = WITH_SKIPS.map((network) => {
    const without = NETWORKS.find((n) => n.norm === network.norm && !n.skip);
    return { network, without, now: el("td"), other: el("td") };
  });

  function drawStage({ layers, skip, over }) {
    const step = 300 / layers.length;
    const boxes = layers.map((name, i) => [
      svg("rect", { x: i * step + 8, y: 52, width: step - 14, height: 30, rx: 5 }),
      svg("text", { x: i * step + step / 2 + 1, y: 71, "text-anchor": "middle" }, name),
      svg("line", { x1: i * step - 6, x2: i * step + 8, y1: 67, y2: 67 }),
    ]);
    const image = svg("svg", { viewBox: "0 0 306 100", "aria-hidden": true }, boxes);
    const element = div("stage", image);
    if (!skip) return { element, show: () => {} };
    const end = over * step + 1;
    const d = `M 2 67 C 2 8, ${end} 8, ${end} 62`;
    const arc = svg(
      "g",
      { click: () => toggle(skip) },
      svg("path", { d }),
      svg("path", { d, style: "stroke: transparent; stroke-width: 24" }), // wide, to be hit
      svg("text", { x: end, y: 96, "text-anchor": "middle" }, "+"),
    );
    image.append(arc);
    const toSwitch = { role: "switch", "aria-label": `Cut ${SKIPS[skip]}` };
    const control = button("", () => toggle(skip), toSwitch);
    element.append(div("buttons", control));
    const show = () => {
      arc.setAttribute("class", cut.has(skip) ? "cut" : "");
      control.setAttribute("aria-checked", cut.has(skip));
      control.textContent = cut.has(skip) ? "skip is cut" : "cut this skip";
    };
    return { element, show };
  }

  function toggle(skip) {
    if (!cut.delete(skip)) cut.add(skip);
    updateTable();
  }

  const tell = (cell, network, change) => {
    if (!network) return;
    const best = ask(network, [chosen.pixels], change).answers[0];
    const [guess] = rank(best);
    const small = el("small", {}, `this image: ${CLASSES[guess]} ${toPercent(best[guess])}`);
    cell.replaceChildren("… ", small);
    count(network, {}, change, "table").then((right) => {
      if (cell.contains(small)) cell.replaceChildren(`${right} of ${TEST.images.length}`, small);
    });
  };

  function updateTable() {
    forget("table");
    for (const { show } of stages) show();
    for (const { network, without, now, other } of rows) {
      tell(now, network, { cut: [...cut].sort() });
      tell(other, without, {});
    }
  }

  function update() {
    updateTable();
    loud.update();
    blind.update();
  }

  const loud = loudChannel();
  const blind = instanceNorm();
  const both = rows.some(({ without }) => without);
  const head = ["norm", "trained with skips, now", ...(both ? ["trained without"] : [])];
  const headings = head.map((text) => el("th", { scope: "col" }, text));
  const lines = rows.map(({ network, now, other }) =>
    el("tr", {}, el("th", { scope: "row" }, nameOf(network)), now, both ? other : []),
  );
  const table = el("table", {}, el("thead", {}, el("tr", {}, headings)), el("tbody", {}, lines));
  const body = el(
    "div",
    {},
    note(
      "A skip, the arc, adds what enters its layers to what leaves them. Tap it or its button to cut it. C: a 3 × 3 convolution with ReLU and norm. c: a 1 × 1 convolution. P: a pool that halves height and width. GAP: the average over each channel.",
    ),
    div("stages", ...stages.map((stage) => stage.element)),
    table,
    loud.element,
    blind.element,
  );
  const trained = WITH_SKIPS[0];
  const options = ["nearly as many", "about half as many", "hardly more than chance"];
  const intro = trained
    ? question(
        `The network with ${nameOf(trained)} was trained with both skips. Now both are cut, and nothing else is changed. How many images does it still classify correctly?`,
        options,
        body,
        async (i, said) => {
          for (const skip of ["first", "second"]) {
            cut.add(skip);
            updateTable();
            await glide(0, 1, () => {});
          }
          const change = { cut: ["first", "second"] };
          const [whole, left] = await Promise.all([count(trained), count(trained, {}, change)]);
          const share = left / Math.max(whole, 1);
          const found = share > 0.75 ? 0 : share > 0.35 ? 1 : 2;
          const { without } = rows[0];
          const beside = without
            ? ` The network that never had any classifies ${await count(without)} correctly: a skip can be done without, but not taken away.`
            : "";
          const total = TEST.images.length;
          return compare(i === found, said, [
            `${whole} of ${total} with its skips, ${left} without; chance is ${total / 10}. Each stage has learned ` +
              `only what is to be added to its input.${beside}`,
          ]);
        },
      )
    : el("p", {}, "None of the networks here was trained with skips.");
  return { title: "Cut the skips", element: [intro, body], update };
}

/** One channel becomes a hundred times as strong: what becomes of the others? */
function loudChannel() {
  const state = { layer: "C5", channel: 0, power: 0 };
  const places = MODES.map(({ network, detail }) => {
    const [graph, text] = [el("div"), el("p", { class: "truth" })];
    return { graph, text, element: card(nameOf(network), detail, network.norm, graph, text) };
  });
  const why = note(
    "LN divides all channels by one standard deviation. The loud channel raises it, so the others shrink. In GN that happens in the group of the loud one alone. BN treats each channel by itself, so the others stay; with this batch’s averages even the loud one becomes as it was. Running averages do not know that it is loud, and no norm does nothing: there its bar leaves the picture.",
  );
  function deviations({ network, change }, images, scale) {
    const { output } = ask(network, images, { ...change, scale }).layers[state.layer];
    return range(output.c).map((c) => Math.sqrt(measure(output, [c]).variance)); // of our image
  }

  function update() {
    const images = batchOf(8);
    const factor = 10 ** state.power;
    why.hidden = !state.power;
    MODES.forEach((mode, i) => {
      const seen = mode.change.batch ? images : images.slice(0, 1);
      const was = deviations(mode, seen);
      const now = deviations(mode, seen, { layer: state.layer, channel: state.channel, factor });
      const others = (values) => sum(values) - values[state.channel];
      places[i].graph.replaceChildren(bars(was, now));
      places[i].text.textContent = `the others: ${toPercent(others(now) / others(was))}`;
    });
  }

  function bars(was, now) {
    const top = 1.5 * Math.max(...was, 1e-9);
    const step = 200 / was.length;
    const height = (value) => Math.min(value / top, 1) * 66;
    const drawn = now.map((value, c) => [
      svg("rect", {
        x: c * step + 1,
        width: step - 2,
        y: 68 - height(value),
        height: height(value),
        fill: c === state.channel ? "var(--ink)" : "var(--color)",
      }),
      svg("line", {
        x1: c * step,
        x2: (c + 1) * step,
        y1: 68 - height(was[c]),
        y2: 68 - height(was[c]),
        stroke: "var(--grey)",
        "stroke-width": 1.5,
      }),
    ]);
    const label = "Standard deviation of each channel";
    return svg("svg", { viewBox: "0 0 200 70", role: "img", "aria-label": label }, drawn);
  }

  const channel = slider("channel", { min: 1, max: 16, step: 1, value: 1 }, (value) => {
    state.channel = value - 1;
    update();
  });
  const factor = slider(
    "times",
    { min: 0, max: 2, step: 0.05, value: 0, format: (v) => (10 ** v).toFixed(v < 1 ? 1 : 0) },
    (value) => {
      state.power = value;
      update();
    },
  );
  const layer = choice("layer", BLOCKS, BLOCKS.indexOf(state.layer), (i) => {
    state.layer = BLOCKS[i];
    update();
  });
  const element = el(
    "div",
    {},
    el("h3", {}, "One channel grows loud"),
    el(
      "p",
      {},
      "Scale one channel before the norm, up to a hundredfold. A bar is the standard deviation of a channel after the norm; a line is where it stood, and the number is what is left of all other channels together. Which norm lets the loud one drown the others? Move “times”.",
    ),
    div("controls", layer.element),
    channel.element,
    factor.element,
    div("answers", ...places.map((place) => place.element)),
    why,
  );
  return { element, update };
}

/** InstanceNorm before the average pool takes away all that the pool would tell. */
function instanceNorm() {
  let on = false;
  let norm = MAIN[MAIN.length > 1 ? 1 : 0].norm;
  const norms = [...new Set(NETWORKS.map((network) => network.norm))];
  const tables = div("pair");

  function update() {
    const images = spread(8).map((i) => TEST.images[i]);
    const found = NETWORKS.filter(isOf(norm)).map((network) => {
      const { answers } = ask(network, images, { instance: on });
      const apart = new Set(answers.map((answer) => answer.map((p) => p.toFixed(4)).join())).size;
      const name = network.skip ? "trained with skips, none of them cut" : "trained without";
      const text =
        apart === 1
          ? "all eight images get one and the same answer"
          : `the answers differ from image to image${on && network.skip ? ": the skip leads past the norm" : ""}`;
      const truth = el("p", { class: "truth" }, text);
      return el("div", {}, el("h4", {}, name), heat(answers, images, norm), truth);
    });
    tables.replaceChildren(...found);
  }

  function heat(answers, images, color) {
    const cells = answers.flatMap((answer, n) => {
      const canvas = picture({ style: "width: 100%" });
      paint(canvas, images[n]);
      return [
        canvas,
        ...answer.map((p, c) =>
          el("span", {
            title: `${CLASSES[c]} ${toPercent(p)}`,
            style: `background: color-mix(in srgb, var(--${color}) ${Math.round(100 * p)}%, var(--tint))`,
          }),
        ),
      ];
    });
    const head = ["", ...CLASSES].map((name) => el("small", {}, name));
    const label = "Probabilities of ten classes for eight images";
    return el("div", { class: "heat", role: "img", "aria-label": label }, head, cells);
  }

  const names = norms.map((n) => DATA.names[n]);
  const select = choice("norm", names, norms.indexOf(norm), (i) => {
    norm = norms[i];
    update();
  });
  const replace = checkbox("InstanceNorm in C10", (checked) => {
    on = checked;
    update();
  });
  const element = el(
    "div",
    {},
    el("h3", {}, "InstanceNorm before the average pool"),
    el(
      "p",
      {},
      "InstanceNorm takes each channel of an image by itself, so a channel has the same mean in every image. The average pool hands on nothing but this mean. A row is an image, a column a class; the stronger the colour, the more probable. What happens if C10 gets InstanceNorm?",
    ),
    div("controls", replace, select.element),
    tables,
  );
  return { element, update };
}
