// The room in which one looks at what a norm does to a layer.

import { ask, BLOCKS, batchOf, DATA, isOf, MAIN, MODE_NAMES, MODES } from "./data.js";
import { EPS, measure, range } from "./network.js";
import {
  choice,
  compare,
  div,
  el,
  note,
  question,
  readColor,
  readText,
  slider,
  svg,
} from "./parts.js";

export function insideRoom() {
  const state = { mode: 0, layer: "C4", image: 0, channel: 0, row: 0, column: 0 };
  const before = el("canvas", { "aria-hidden": true });
  const after = el("canvas", { "aria-hidden": true });
  const text = el("p", { class: "sum", role: "status" });
  const [histogramBefore, histogramAfter] = [el("div"), el("div")];
  let block; // what the layer made of the batch
  let shared = []; // the planes that share mean and variance with the chosen value

  function update() {
    const { network, change } = MODES[state.mode];
    block = ask(network, batchOf(4), change).layers[state.layer];
    const { c, size } = block.output;
    state.channel = Math.min(state.channel, c - 1);
    state.row = Math.min(state.row, size - 1);
    state.column = Math.min(state.column, size - 1);
    controls.channel.input.max = c;
    controls.row.input.max = controls.column.input.max = size;
    for (const name of Object.keys(controls)) controls[name].set(state[name] + 1);
    pick();
  }

  function pick() {
    const { network } = MODES[state.mode];
    const { input, output, statistics } = block;
    const plane = state.image * input.c + state.channel;
    const set = statistics.find(({ planes }) => planes.includes(plane));
    shared = set ? set.planes : [];
    const at = plane * input.size ** 2 + state.row * input.size + state.column;
    const [x, y] = [input.values[at], output.values[at]];
    const where = `Channel ${state.channel + 1}, row ${state.row + 1}, column ${state.column + 1}`;
    if (!set) {
      text.textContent = `${where}: ${x.toFixed(3)}. Without a norm nothing is shared: the value passes as it is.`;
    } else {
      const get = (tensor) => network.tensors[`${state.layer}.2.${tensor}`][state.channel];
      const number = (value) => value.toFixed(3).replace("-", "−");
      const source = set.running
        ? "Its mean and variance are running averages from training; they are those of this channel in every image."
        : `It shares mean and variance with ${(set.planes.length * input.size ** 2).toLocaleString("en")} values: ${describe(network)}.`;
      const byHand = `${number(get("weight"))} × (${number(x)} − ${number(set.mean)}) / √(${number(set.variance)} + ${EPS}) + ${number(get("bias"))} = ${number(y)}`;
      text.replaceChildren(
        `${where}. ${source} Mean ${number(set.mean)}, standard deviation ${number(Math.sqrt(set.variance))}. By hand, γ (x − mean) / √(variance + ε) + β: `,
        el("code", {}, byHand),
      );
    }
    drawMaps(before, input);
    drawMaps(after, output);
    histogramBefore.replaceChildren(histogram(input));
    histogramAfter.replaceChildren(histogram(output));
  }

  function describe(network) {
    if (network.norm === "bn") return "this channel, in all images of the batch";
    if (network.norm === "ln" || network.groups === 1) return "all channels of this image";
    return `one of ${network.groups} groups of channels of this image`;
  }

  // 16 planes to a line, each of 64 dots and a gap; an image of 32 channels takes two lines
  const DOTS = 64;
  const CELL = DOTS + 4;

  function corner({ c }, plane) {
    const [image, channel] = [Math.floor(plane / c), plane % c];
    const line = (image * c) / 16 + Math.floor(channel / 16);
    return [(channel % 16) * CELL + 2, line * CELL + image * 12 + 2];
  }

  function drawMaps(canvas, maps) {
    const { n, c, size, values } = maps;
    canvas.width = 16 * CELL;
    canvas.height = ((n * c) / 16) * CELL + (n - 1) * 12;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.lineWidth = 2;
    const small = el("canvas", { width: size, height: size });
    const [low, paper, high] = ["wrong", "paper", "ln"].map(readColor);
    const [lit, unlit] = ["ink", "faint"].map(readText);
    const strongest = Math.sqrt(measure(maps, range(n * c)).variance) * 3 || 1;
    for (let plane = 0; plane < n * c; plane++) {
      const isLit = shared.includes(plane);
      const shown = context.createImageData(size, size);
      for (let at = 0; at < size * size; at++) {
        const value = values[plane * size * size + at] / strongest;
        const part = Math.min(Math.abs(value), 1) * (isLit || !shared.length ? 1 : 0.15);
        const ink = value < 0 ? low : high;
        for (let k = 0; k < 3; k++) shown.data[4 * at + k] = paper[k] + part * (ink[k] - paper[k]);
        shown.data[4 * at + 3] = 255;
      }
      small.getContext("2d").putImageData(shown, 0, 0);
      const [left, top] = corner(maps, plane);
      context.drawImage(small, left, top, DOTS, DOTS);
      context.strokeStyle = isLit ? lit : unlit;
      context.strokeRect(left - 1, top - 1, DOTS + 2, DOTS + 2);
    }
    const [left, top] = corner(maps, state.image * c + state.channel);
    const dot = DOTS / size;
    context.lineWidth = 4;
    context.strokeStyle = readText("bn");
    context.strokeRect(left + state.column * dot - 2, top + state.row * dot - 2, dot + 4, dot + 4);
  }

  function find(event, canvas) {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * canvas.width;
    const y = ((event.clientY - box.top) / box.height) * canvas.height;
    const { n, c, size } = block.input;
    for (let plane = 0; plane < n * c; plane++) {
      const [left, top] = corner(block.input, plane);
      const [column, row] = [x - left, y - top].map((dots) => Math.floor((dots * size) / DOTS));
      if (column >= 0 && column < size && row >= 0 && row < size) {
        const found = { image: Math.floor(plane / c), channel: plane % c, row, column };
        const names = Object.keys(found);
        if (names.every((name) => found[name] === state[name])) return;
        for (const name of names) controls[name].set(found[name] + 1);
        Object.assign(state, found);
        pick();
        return;
      }
    }
  }

  /** How often a channel has which value: a line for each, that of the chosen one in bold. */
  function histogram(maps) {
    const { n, c, size, values } = maps;
    const pixels = size * size;
    const limit = 4 * Math.sqrt(measure(maps, range(n * c)).variance) || 1;
    const [low, bins] = [values.some((value) => value < 0) ? -limit : 0, 24];
    const counts = range(c).map(() => new Array(bins).fill(0));
    values.forEach((value, at) => {
      const bin = Math.floor(((value - low) / (limit - low)) * bins);
      counts[Math.floor(at / pixels) % c][Math.min(Math.max(bin, 0), bins - 1)]++;
    });
    const top = Math.log1p(Math.max(...counts.flat()));
    const line = (channel, attributes) =>
      svg("polyline", {
        points: counts[channel]
          .map((k, bin) => `${((bin + 0.5) * 480) / bins},${96 - (88 * Math.log1p(k)) / top}`)
          .join(" "),
        fill: "none",
        ...attributes,
      });
    const ticks = [low, (low + limit) / 2, limit].map((value, i) => {
      const place = { x: [2, 240, 478][i], y: 114, "text-anchor": ["start", "middle", "end"][i] };
      return svg("text", place, value.toFixed(1).replace("-", "−"));
    });
    const all = range(c).map((i) => line(i, { stroke: "var(--grey)", "stroke-opacity": 0.45 }));
    const bold = line(state.channel, { stroke: "var(--bn)", "stroke-width": 3 });
    const label = "Histogram of each channel";
    const frame = { viewBox: "0 0 480 118", role: "img", "aria-label": label };
    return svg("svg", frame, all, bold, ticks);
  }

  const one = (name, max) =>
    slider(name, { min: 1, max, step: 1, value: 1 }, (value) => {
      state[name] = value - 1;
      pick();
    });
  const controls = {
    image: one("image", 4),
    channel: one("channel", 16),
    row: one("row", 16),
    column: one("column", 16),
  };
  const modes = choice("network", MODE_NAMES, state.mode, (i) => {
    state.mode = i;
    update();
  });
  const layers = choice("layer", BLOCKS, BLOCKS.indexOf(state.layer), (i) => {
    state.layer = BLOCKS[i];
    update();
  });
  const frame = (title, canvas) => {
    const holder = div("maps", canvas);
    for (const kind of ["pointermove", "pointerdown"]) {
      holder.addEventListener(kind, (event) => find(event, canvas));
    }
    return el("div", {}, el("h3", {}, title), holder);
  };
  const body = el(
    "div",
    {},
    div("controls", modes.element, layers.element),
    text,
    frame("Before the norm", before),
    frame("After it", after),
    note(
      "A row of maps for each of four images, ours first; a map for each channel, 32 channels in two rows. Green is above zero, orange below. Before the norm nothing is below: ReLU comes first. Point at a value, or move the sliders.",
    ),
    Object.values(controls).map((control) => control.element),
    el("h3", {}, "Histograms of the channels"),
    note(
      "To the right the value, upwards how many have it, on a logarithmic scale. Each line is a channel; the chosen one is bold.",
    ),
    div(
      "pair",
      el("div", {}, el("h4", {}, "Before the norm"), histogramBefore),
      el("div", {}, el("h4", {}, "After it"), histogramAfter),
    ),
  );
  const answers = [
    "its channel, in this image",
    "its channel, in all images",
    "all channels of this image",
    "nothing",
  ];
  const norm = MAIN.some(isOf("ln")) ? "ln" : MAIN[0].norm;
  const intro = question(
    `One value in the middle of layer C4, with ${DATA.names[norm]}: which others share its mean and variance?`,
    answers,
    body,
    async (i, said) => {
      Object.assign(state, {
        mode: MODES.findIndex(({ network }) => network.norm === norm),
        layer: "C4",
        image: 0,
        channel: 5,
        row: 7,
        column: 7,
      });
      modes.set(state.mode);
      layers.set(BLOCKS.indexOf(state.layer));
      update();
      const per = block.output.c;
      const own = range(per).every((c) => shared.includes(c)); // all channels of our image
      const others = shared.some((plane) => plane >= per);
      const found = !shared.length ? 3 : own ? 2 : others ? 1 : 0;
      return compare(i === found, said, [
        `With ${DATA.names[norm]} ${(shared.length * block.output.size ** 2).toLocaleString("en")} values light up: ${answers[found]}. ` +
          "Choose another network above the maps and see what lights up there.",
      ]);
    },
  );
  return { title: "Look inside", element: [intro, body], update };
}
