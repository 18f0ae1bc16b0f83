// What the page does: rooms, each of which begins with a question. The networks answer in it by
// network.js; what takes longer than a moment is counted in a worker.

import { EPS, forward, measure, range, softmax } from "./network.js";
import { REST, SIZE, changeImage, countRight, normalise, shrink } from "./images.js";

// ---------------------------------------------------------------------------------- what it knows

const DATA = JSON.parse(document.getElementById("data").textContent);
const CLASSES = DATA.classes;
const NETWORKS = DATA.networks.map((network) => ({ ...network, tensors: unpack(network) }));
const BYTES = decode(DATA.images);
const TEST = {
  images: DATA.labels.map((_, i) => BYTES.subarray(i * 3 * SIZE * SIZE, (i + 1) * 3 * SIZE * SIZE)),
  labels: DATA.labels,
  channels: DATA.channels,
};
const WITH_SKIPS = NETWORKS.filter((network) => network.skip);
// One for each norm
const MAIN = NETWORKS.filter((network, i) => NETWORKS.findIndex(isOf(network.norm)) === i);
// One answers alone or, with BatchNorm, as one of a batch: both are asked where it matters
const MODES = MAIN.flatMap((network) =>
  network.norm === "bn"
    ? [
        { network, detail: "running averages", change: {} },
        { network, detail: "this batch’s own", change: { batch: true } },
      ]
    : [{ network, detail: "", change: {} }],
);
const MAX_PIXELS = 179e6; // as Pillow has it, which reads pictures for the library
const MAX_BYTES = 64e6;

const FIRST = Math.max(0, range(10).findIndex(isEasy)); // one that all networks recognise
const chosen = { pixels: TEST.images[FIRST], label: TEST.labels[FIRST] }; // the image that is asked

function decode(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function unpack({ sizes, values }) {
  const numbers = new Float32Array(decode(values).buffer);
  let at = 0;
  return Object.fromEntries(
    Object.entries(sizes).map(([name, size]) => [name, numbers.subarray(at, (at += size))]),
  );
}

function isOf(norm) {
  return (network) => network.norm === norm;
}

function nameOf(network) {
  const yours = DATA.trained && network === NETWORKS[0] ? ", yours" : "";
  return `${DATA.names[network.norm]}${yours}`;
}

function isEasy(i) {
  const guesses = MAIN.map((network) => rank(ask(network, [TEST.images[i]]).answers[0])[0]);
  return guesses.every((guess) => guess === TEST.labels[i]);
}

function fullName(network) {
  return `${nameOf(network)}${network.skip ? "" : " without skips"}`;
}

function ask(network, images, change) {
  const { logits, layers } = forward(network, normalise(images, DATA.channels), change);
  const answers = images.map((_, n) => softmax(logits.subarray(10 * n, 10 * n + 10)));
  return { answers, layers };
}

// -------------------------------------------------------------------------- counting, in a worker

const known = new Map(); // answers that are there or on their way, by what was asked
let waiting = []; // what is to be counted, the most urgent first
let counting = false;
let worker = startWorker();

function startWorker() {
  const sources = ["network", "images"].map((name) => document.getElementById(`${name}-source`));
  const answer = `onmessage = ({ data }) => {
    if (data.networks) Object.assign(self, data);
    else postMessage(countRight(networks[data.network], test, data.settings, data.change));
  };`;
  const code = [...sources.map((source) => source.textContent), answer].join("\n");
  try {
    const started = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    started.postMessage({ networks: NETWORKS, test: TEST });
    return started;
  } catch {
    return null;
  }
}

/**
 * Return how many of the images a network recognises, in time.
 *
 * What is counted for a purpose can be forgotten; without one it is urgent.
 */
function count(network, settings = {}, change = {}, purpose = "") {
  const question = { network: NETWORKS.indexOf(network), settings, change };
  const key = JSON.stringify(question);
  if (!known.has(key)) {
    known.set(key, new Promise((resolve) => waiting.push({ question, key, purpose, resolve })));
  }
  const job = waiting.find((other) => other.key === key);
  if (job && !purpose) job.purpose = "";
  waiting.sort((a, b) => Boolean(a.purpose) - Boolean(b.purpose));
  countNext();
  return known.get(key);
}

function forget(purpose) {
  for (const { key } of waiting.filter((job) => job.purpose === purpose)) known.delete(key);
  waiting = waiting.filter((job) => job.purpose !== purpose);
}

function countNext() {
  if (counting || !waiting.length) return;
  const job = waiting.shift();
  const { network, settings, change } = job.question;
  const done = (right) => {
    counting = false;
    job.resolve(right);
    countNext();
  };
  counting = true;
  if (worker) {
    worker.onmessage = ({ data }) => done(data);
    worker.onerror = () => {
      worker = null; // not allowed here: the page counts by itself
      setTimeout(() => done(countRight(NETWORKS[network], TEST, settings, change)));
    };
    worker.postMessage(job.question);
  } else {
    setTimeout(() => done(countRight(NETWORKS[network], TEST, settings, change)), 20);
  }
}

// ------------------------------------------------------------------------------ small parts of it

function el(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat(Number.POSITIVE_INFINITY));
  return node;
}

function button(text, click, attributes = {}) {
  return el("button", { type: "button", click, ...attributes }, text);
}

function picture(attributes) {
  return el("canvas", { width: SIZE, height: SIZE, ...attributes });
}

function paint(canvas, pixels) {
  const context = canvas.getContext("2d");
  const shown = context.createImageData(SIZE, SIZE);
  range(SIZE * SIZE).forEach((at) => {
    shown.data.set([0, 1, 2].map((c) => pixels[c * SIZE * SIZE + at]), 4 * at);
    shown.data[4 * at + 3] = 255;
  });
  context.putImageData(shown, 0, 0);
}

function slider(name, { min, max, step, value, format = String }, moved) {
  const shown = el("span", { class: "value" }, format(value));
  const input = el("input", {
    type: "range", min, max, step, value, "aria-label": name,
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

function choice(name, options, changed) {
  const items = options.map((text, i) => el("option", { value: i }, text));
  const select = el("select", { "aria-label": name, change: () => changed(Number(select.value)) });
  select.append(...items);
  return el("label", {}, `${name} `, select);
}

function checkbox(text, changed) {
  const input = el("input", { type: "checkbox", change: () => changed(input.checked) });
  return el("label", { class: "check" }, input, ` ${text}`);
}

/** The three best guesses of a network, as bars. */
function answerCard(title, detail, norm) {
  const rows = range(3).map(() => {
    const parts = { bar: el("i"), name: el("b"), percent: el("b") };
    return { ...parts, row: el("div", { class: "guess" }, parts.bar, parts.name, parts.percent) };
  });
  const truth = el("p", { class: "truth" });
  const heading = el("h4", {}, title, detail ? el("small", {}, ` ${detail}`) : "");
  const style = `--color: var(--${norm})`;
  const element = el("div", { class: "answer", style }, heading, rows.map((r) => r.row), truth);
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

function rank(probabilities) {
  return range(10).sort((a, b) => probabilities[b] - probabilities[a]);
}

function judge(guess, label) {
  if (label === null) return "";
  const right = guess === label;
  return el("span", { class: right ? "right" : "wrong" }, right ? "✓ right" : "✗ wrong");
}

function toPercent(share) {
  return `${Math.round(100 * share)} %`;
}

function join(words) {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function legend(entries) {
  return el(
    "div",
    { class: "legend" },
    entries.map(([text, norm, dashed]) =>
      el("span", { style: `--color: var(--${norm})`, class: dashed ? "dashed" : "" }, text),
    ),
  );
}

/** Move a value over a second, so that one sees where it went. */
function glide(from, to, show) {
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
function question(text, options, body, act) {
  const verdict = el("p", { class: "verdict", role: "status" });
  const buttons = options.map((option, i) =>
    button(option, async () => {
      buttons.forEach((other, j) => other.setAttribute("aria-pressed", i === j));
      open();
      verdict.textContent = "Watch …";
      verdict.replaceChildren(...(await act(i, option)));
    }, { "aria-pressed": "false" }),
  );
  const open = () => {
    body.inert = false;
    body.classList.remove("locked");
  };
  body.inert = true;
  body.classList.add("locked");
  return el(
    "div",
    { class: "question" },
    el("h2", {}, text),
    el("div", { class: "buttons", role: "group", "aria-label": "Your guess" }, buttons),
    verdict,
  );
}

function compare(isRight, said, found) {
  return [el("strong", {}, `You said “${said}”. ${isRight ? "So it is. " : "Not so. "}`), ...found];
}

// ------------------------------------------------------------------------------- room 1: fade it

const CHANGES = {
  contrast: { min: 0.05, max: 1, step: 0.01, points: [0.25, 1, 0.5, 0.1, 0.75, 0.35, 0.15, 0.05] },
  brightness: { min: 0, max: 0.6, step: 0.01, points: [0, 0.6, 0.3, 0.15, 0.45, 0.1, 0.2] },
  noise: { min: 0, max: 0.3, step: 0.01, points: [0, 0.3, 0.15, 0.05, 0.2, 0.1, 0.25] },
  blur: { min: 0, max: 3, step: 0.1, points: [0, 3, 1, 0.5, 2, 1.5, 0.75] },
  colour: { min: 0, max: 0.6, step: 0.01, points: [0, 0.6, 0.3, 0.15, 0.45, 0.1, 0.2] },
  shift: { min: 0, max: 16, step: 1, points: [0, 16, 8, 4, 12, 2, 6, 10] },
};
const UNITS = {
  contrast: "contrast, × that of the image", brightness: "brightness, + part of the range",
  noise: "noise, ± part of the range", blur: "blur, standard deviation in pixels",
  colour: "red, + part of the range", shift: "shift to the right, in pixels",
};
const LABELS = { colour: "red cast" }; // of sliders, where they are not the name itself

function fadeRoom() {
  const settings = { ...REST };
  let kind = "contrast";
  let all = false; // also those without skips
  const big = picture({ class: "big", role: "img", "aria-label": "The image, changed" });
  const cards = NETWORKS.map((network) => ({
    network,
    card: answerCard(nameOf(network), network.skip ? "" : "without skips", network.norm),
  }));
  const shown = () => cards.filter(({ network }) => all || MAIN.includes(network));
  const sliders = Object.fromEntries(
    Object.entries(CHANGES).map(([name, { points, ...values }]) => [
      name,
      slider(LABELS[name] ?? name, { ...values, value: REST[name] }, (value) => change(name, value)),
    ]),
  );
  const chart = el("div");
  const place = el("div");

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
    for (const { network, card } of shown()) {
      card.show(ask(network, [image]).answers[0], chosen.label);
    }
    for (const { network, card } of cards) {
      card.element.hidden = !all && !MAIN.includes(network);
    }
    draw();
  }

  const counts = new Map();
  const at = (network, point) => counts.get(`${NETWORKS.indexOf(network)} ${kind} ${point}`);

  function countAll() {
    forget("curve");
    const now = kind;
    for (const point of CHANGES[kind].points) {
      for (const { network } of shown()) {
        count(network, { [now]: point }, {}, "curve").then((right) => {
          counts.set(`${NETWORKS.indexOf(network)} ${now} ${point}`, right);
          draw();
        });
      }
    }
    draw();
  }

  function draw() {
    const width = Math.max(chart.clientWidth, 300);
    const [height, left, bottom] = [240, 34, 42];
    const { min, max, points } = CHANGES[kind];
    const sorted = [...points].sort((a, b) => a - b);
    // Contrast falls to the right, each step by as large a part; all else grows
    const x = (value) => {
      const part = kind === "contrast" ? Math.log(max / value) / Math.log(max / min) : (value - min) / (max - min);
      return left + 12 + part * (width - left - 26);
    };
    const y = (right) => height - bottom - (right / TEST.images.length) * (height - bottom - 12);
    const total = TEST.images.length;
    const lines = [0, total / 2, total].map((right) => [
      svg("line", { x1: left, x2: width, y1: y(right), y2: y(right), stroke: "var(--faint)" }),
      svg("text", { x: left - 6, y: y(right) + 4, "text-anchor": "end" }, `${right}`),
    ]);
    const ticks = sorted.filter((_, i) => width > 450 || i % 2 === 0).map((point) =>
      svg("text", { x: x(point), y: height - 22, "text-anchor": "middle" }, `${point}`),
    );
    const curves = shown().map(({ network }) => {
      const found = sorted.filter((point) => at(network, point) !== undefined);
      const color = `var(--${network.norm})`;
      return svg(
        "g",
        {},
        svg("polyline", {
          points: found.map((point) => `${x(point)},${y(at(network, point))}`).join(" "),
          fill: "none", stroke: color, "stroke-width": 2.5,
          "stroke-dasharray": network.skip ? "" : "5 4",
        }),
        found.map((point) => {
          const dot = { cx: x(point), cy: y(at(network, point)), r: 3.5, fill: color };
          const text = `${fullName(network)}: ${at(network, point)} of ${total} at ${point}`;
          return svg("circle", dot, svg("title", {}, text));
        }),
      );
    });
    const here = x(settings[kind]);
    const marker = svg("line", {
      x1: here, x2: here, y1: 6, y2: height - bottom, stroke: "var(--grey)", "stroke-dasharray": "2 4",
    });
    const axis = svg("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, UNITS[kind]);
    const label = `Images recognised of ${total}, by ${kind}`;
    chart.replaceChildren(
      svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
        lines, ticks, axis, marker, curves),
    );
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
  const others = NETWORKS.length > MAIN.length
    ? checkbox("also the networks without skips", (checked) => {
        all = checked;
        update();
        countAll();
      })
    : "";
  const body = el(
    "div",
    {},
    el("div", { class: "columns" },
      el("div", {}, big, Object.values(sliders).map((s) => s.element), el("div", { class: "buttons" }, reset)),
      el("div", {}, el("div", { class: "answers" }, cards.map(({ card }) => card.element)), others)),
    el("h3", {}, `How many of all ${TEST.images.length} images are recognised`),
    el("p", { class: "note" }, "The slider that was moved last, with the others at rest. The curve grows while it is counted."),
    place, chart,
  );
  const names = MAIN.map(nameOf);
  const intro = question(
    `The images fade to a quarter of their contrast. Which network recognises the fewest of the ${TEST.images.length}?`,
    names,
    body,
    async (_, said) => {
      kind = "contrast";
      countAll();
      await glide(settings.contrast, 0.25, (value) => change("contrast", value));
      const right = await Promise.all(MAIN.map((n) => count(n, { contrast: 0.25 }, {}, "curve")));
      const whole = await Promise.all(MAIN.map((n) => count(n, { contrast: 1 }, {}, "curve")));
      const fewest = names.filter((_, i) => right[i] === Math.min(...right));
      const each = names.map((name, i) => `${name} ${right[i]} (of ${whole[i]} before)`);
      return compare(fewest.includes(said), said, [
        `At a quarter of the contrast: ${join(each)}. BN divides by the standard deviation that it ` +
          "remembers from training, so a faint image stays faint in every layer. GN and LN divide by " +
          "that of this very image, and what is faint becomes as strong as before." +
          (MAIN.some(isOf("none"))
            ? " Without a norm all is in proportion: the answer stays, but less sure."
            : ""),
      ]);
    },
  );
  return { title: "Fade it", element: [intro, body], update, show: countAll, resize: draw };
}

// ---------------------------------------------------------------------- room 2: its neighbours

function neighboursRoom() {
  let neighbours = spread();
  let contrast = 1;
  let alone = false;
  let before = null; // the answers that a change is measured from
  const strip = el("div", { class: "batch", role: "group", "aria-label": "The batch" });
  const cards = MODES.map((mode) => answerCard(nameOf(mode.network), mode.detail, mode.network.norm));
  const fading = slider(
    "contrast", { min: 0.02, max: 1, step: 0.01, value: 1 },
    (value) => { contrast = value; update(); },
  );

  function spread() {
    const step = TEST.images.length / 8;
    return range(7).map((i) => Math.floor((i + 1) * step));
  }

  const batch = () => [
    chosen.pixels,
    ...(alone ? [] : neighbours).map((i) =>
      changeImage(i === null ? chosen.pixels : TEST.images[i], { contrast }),
    ),
  ];

  function answersNow() {
    const images = batch();
    return MODES.map(({ network, change }) => {
      // Only with the batch's own statistics do the neighbours have to be computed too
      return ask(network, change.batch ? images : images.slice(0, 1), change).answers[0];
    });
  }

  const moved = (answers) => answers.map((answer, i) =>
    50 * answer.reduce((sum, p, c) => sum + Math.abs(p - before[i][c]), 0),
  );

  function update(anew = false) {
    if (anew || !before) before = answersNow();
    const answers = answersNow();
    const points = moved(answers);
    cards.forEach((card, i) => {
      const text = points[i] < 0.05 ? "did not move" : `moved by ${points[i].toFixed(1)} points`;
      card.show(answers[i], chosen.label, text);
    });
    const ours = picture({ class: "ours", role: "img", "aria-label": "Our image" });
    const items = batch().map((pixels, i) => {
      if (i === 0) {
        paint(ours, pixels);
        return ours;
      }
      const canvas = picture({});
      paint(canvas, pixels);
      const name = `Swap neighbour ${i}`;
      return button(canvas, () => swap(i - 1), { "aria-label": name, title: name });
    });
    const focused = [...strip.children].indexOf(document.activeElement);
    strip.replaceChildren(...items);
    if (focused > 0) items[focused]?.focus();
  }

  function swap(place) {
    neighbours = neighbours.map((i, at) => (at === place ? drawImage() : i));
    update();
  }

  const drawImage = () => Math.floor(Math.random() * TEST.images.length);
  const set = (values, single = false) => () => {
    neighbours = values();
    alone = single;
    update();
  };
  const classOf = (label) => range(TEST.images.length).filter((i) => TEST.labels[i] === label);
  const oneClass = () => {
    const same = classOf(drawImage() % 10);
    return range(7).map((i) => same[i % same.length]);
  };
  const actions = [
    button("Draw others", set(() => range(7).map(drawImage))),
    button("All of one class", set(oneClass)),
    button("Eight times ours", set(() => Array(7).fill(null))),
    button("Alone: a batch of one", set(spread, true)),
    button("As it was", () => {
      fading.set(1);
      contrast = 1;
      set(spread)();
    }),
  ];
  const body = el(
    "div", {},
    el("p", { class: "note" }, "A batch of eight. Ours is framed; tap a neighbour to swap it."),
    strip,
    el("div", { class: "buttons" }, actions),
    el("p", {}, "Fade the neighbours, not ours:"),
    fading.element,
    el("h3", {}, "What each network says of our image"),
    el("div", { class: "answers" }, cards.map((card) => card.element)),
    el("p", { class: "note" }, "“Moved” is how much probability went to other classes, in points, since the batch as it was."),
  );
  const names = MODES.map(({ network, detail }) => detail ? `${nameOf(network)}, ${detail}` : nameOf(network));
  const intro = question(
    "Our image stays as it is. Its seven neighbours in the batch fade to a tenth of their contrast. Whose answer to our image moves?",
    [...names, "nobody’s"],
    body,
    async (i, said) => {
      neighbours = spread();
      alone = false;
      update(true);
      await glide(1, 0.1, (value) => {
        contrast = value;
        fading.set(value);
        update();
      });
      const points = moved(answersNow());
      const movers = names.filter((_, at) => points[at] >= 0.05);
      const isRight = i < names.length ? points[i] >= 0.05 : !movers.length;
      const each = movers.map((name) => `${name} by ${points[names.indexOf(name)].toFixed(1)} points`);
      return compare(isRight, said, [
        `${movers.length ? `It moved with ${join(each)}` : "No answer moved"}. Statistics over the ` +
          "batch tie its images together, as they do in all of training. Running averages, GN and LN " +
          "never ask the neighbours.",
      ]);
    },
  );
  return { title: "Its neighbours", element: [intro, body], update: () => update(true) };
}

// ----------------------------------------------------------------------- room 3: cut the skips

const SKIPS = { first: "the skip over C4 to c7", second: "the skip over C8 to C10" };
const STAGES = [
  { layers: ["C1", "C2", "c3", "P1"] },
  { layers: ["C4", "C5", "C6", "c7", "P2"], skip: "first", over: 4 },
  { layers: ["C8", "C9", "C10", "GAP", "c11"], skip: "second", over: 3 },
];
const BLOCKS = ["C1", "C2", "C4", "C5", "C6", "C8", "C9", "C10"];

function skipsRoom() {
  const cut = new Set();
  const drawn = STAGES.map(drawStage);
  const toggles = drawn.flatMap((stage) => stage.toggle ?? []);
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
    if (!skip) {
      const image = svg("svg", { viewBox: "0 0 306 96", "aria-hidden": true }, boxes);
      return { element: el("div", { class: "stage" }, image) };
    }
    const end = over * step + 1;
    const arc = svg(
      "g", { click: () => toggle(skip) },
      svg("path", { d: `M 2 67 C 2 8, ${end} 8, ${end} 62` }),
      svg("path", { d: `M 2 67 C 2 8, ${end} 8, ${end} 62`, style: "stroke: transparent; stroke-width: 24" }),
      svg("text", { x: end, y: 96, "text-anchor": "middle" }, "+"),
    );
    const image = svg("svg", { viewBox: "0 0 306 100", "aria-hidden": true }, boxes, arc);
    const control = button("", () => toggle(skip), { role: "switch" });
    const show = () => {
      arc.setAttribute("class", cut.has(skip) ? "cut" : "");
      control.setAttribute("aria-checked", cut.has(skip));
      control.setAttribute("aria-label", `Cut ${SKIPS[skip]}`);
      control.textContent = cut.has(skip) ? "skip is cut" : "cut this skip";
    };
    show();
    const element = el("div", { class: "stage" }, image, el("div", { class: "buttons" }, control));
    return { element, toggle: { show } };
  }

  function toggle(skip) {
    if (!cut.delete(skip)) cut.add(skip);
    update();
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

  function update() {
    forget("table");
    for (const { show } of toggles) show();
    for (const { network, without, now, other } of rows) {
      tell(now, network, { cut: [...cut].sort() });
      tell(other, without, {});
    }
    loud.update();
    blind.update();
  }

  const loud = loudChannel();
  const blind = instanceNorm();
  const both = rows.some(({ without }) => without);
  const head = ["norm", "trained with skips, now", ...(both ? ["trained without"] : [])];
  const table = el(
    "table", {},
    el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map(({ network, now, other }) =>
      el("tr", {}, el("th", { scope: "row" }, nameOf(network)), now, both ? other : []))),
  );
  const body = el(
    "div", {},
    el("p", { class: "note" }, "Each stage’s skip adds its input to its output. Tap one to cut it."),
    el("div", { class: "stages" }, drawn.map((stage) => stage.element)),
    table, loud.element, blind.element,
  );
  const trained = WITH_SKIPS[0];
  const options = ["nearly as many", "about half as many", "hardly more than chance"];
  const intro = trained ? question(
    `${nameOf(trained)} was trained with both skips. Now both are cut, and nothing else is changed. How many images does it still recognise?`,
    options,
    body,
    async (i, said) => {
      for (const skip of ["first", "second"]) {
        cut.add(skip);
        update();
        await glide(0, 1, () => {});
      }
      const ask = (network, change) => count(network, {}, change);
      const change = { cut: ["first", "second"] };
      const [whole, left] = await Promise.all([ask(trained, {}), ask(trained, change)]);
      const share = left / Math.max(whole, 1);
      const found = share > 0.75 ? 0 : share > 0.35 ? 1 : 2;
      const without = NETWORKS.find((n) => n.norm === trained.norm && !n.skip);
      const beside = without
        ? ` The network that never had any recognises ${await ask(without, {})}: a skip can be done without, but not taken away.`
        : "";
      const total = TEST.images.length;
      return compare(i === found, said, [
        `${whole} of ${total} with its skips, ${left} without; chance is ${total / 10}. Each stage has learned ` +
          `only what is to be added to its input.${beside}`,
      ]);
    },
  ) : el("p", {}, "None of the networks here was trained with skips.");
  return { title: "Cut the skips", element: [intro, body], update };
}

/** One channel becomes a hundred times as strong: what becomes of the others? */
function loudChannel() {
  const state = { layer: "C5", channel: 0, power: 0 };
  const places = MODES.map(({ network, detail }) => {
    const [graph, text] = [el("div"), el("p", { class: "truth" })];
    const heading = el("h4", {}, nameOf(network), detail ? el("small", {}, ` ${detail}`) : "");
    const style = `--color: var(--${network.norm})`;
    return { graph, text, element: el("div", { class: "answer", style }, heading, graph, text) };
  });
  const batch = () => [chosen.pixels, ...range(7).map((i) => TEST.images[Math.floor((i + 1) * TEST.images.length / 8)])];

  function deviations({ network, change }, images, scale) {
    const { output } = ask(network, images, { ...change, scale }).layers[state.layer];
    return range(output.c).map((c) => Math.sqrt(measure(output, [c]).variance)); // of our image
  }

  function update() {
    const images = batch();
    const factor = 10 ** state.power;
    MODES.forEach((mode, i) => {
      const seen = mode.change.batch ? images : images.slice(0, 1);
      const was = deviations(mode, seen);
      const now = deviations(mode, seen, { layer: state.layer, channel: state.channel, factor });
      const others = (values) => values.reduce((a, b) => a + b, 0) - values[state.channel];
      places[i].graph.replaceChildren(bars(was, now));
      places[i].text.textContent = `the others: ${toPercent(others(now) / others(was))} of what they were`;
    });
  }

  function bars(was, now) {
    const top = 1.5 * Math.max(...was, 1e-9);
    const step = 200 / was.length;
    const height = (value) => Math.min(value / top, 1) * 66;
    return svg("svg", { viewBox: "0 0 200 70", role: "img", "aria-label": "Standard deviation of each channel" },
      now.map((value, c) => [
        svg("rect", {
          x: c * step + 1, width: step - 2, y: 68 - height(value), height: height(value),
          fill: c === state.channel ? "var(--ink)" : "var(--color)",
        }),
        svg("line", {
          x1: c * step, x2: (c + 1) * step, y1: 68 - height(was[c]), y2: 68 - height(was[c]),
          stroke: "var(--grey)", "stroke-width": 1.5,
        }),
      ]),
    );
  }

  const channel = slider("channel", { min: 1, max: 16, step: 1, value: 1 }, (value) => {
    state.channel = value - 1;
    update();
  });
  const factor = slider(
    "times", { min: 0, max: 2, step: 0.05, value: 0, format: (v) => (10 ** v).toFixed(v < 1 ? 1 : 0) },
    (value) => { state.power = value; update(); },
  );
  const layer = choice("layer", BLOCKS, (i) => {
    state.layer = BLOCKS[i];
    update();
  });
  layer.querySelector("select").value = BLOCKS.indexOf(state.layer);
  const element = el(
    "div", {},
    el("h3", {}, "One channel grows loud"),
    el("p", {}, "Scale one channel before the norm, up to a hundredfold. Bars are the standard deviation of each channel after the norm; the lines are where they stood. Which norm lets the loud one drown the others?"),
    el("div", { class: "controls" }, layer), channel.element, factor.element,
    el("div", { class: "answers" }, places.map((place) => place.element)),
  );
  return { element, update };
}

/** InstanceNorm before the average pool takes away all that the pool would tell. */
function instanceNorm() {
  let on = false;
  let norm = MAIN[MAIN.length > 1 ? 1 : 0].norm;
  const norms = [...new Set(NETWORKS.map((network) => network.norm))];
  const tables = el("div", { class: "pair" });

  function update() {
    const images = range(8).map((i) => TEST.images[Math.floor(i * TEST.images.length / 8)]);
    const found = NETWORKS.filter(isOf(norm));
    tables.replaceChildren(...found.map((network) => {
      const { answers } = ask(network, images, { instance: on });
      const apart = new Set(answers.map((answer) => answer.map((p) => p.toFixed(4)).join())).size;
      const name = network.skip ? "with skips" : "without skips";
      const text = apart === 1 ? "all eight images get one and the same answer" : `${apart} different answers to eight images`;
      return el("div", {}, el("h4", {}, name), heat(answers, images, norm), el("p", { class: "truth" }, text));
    }));
  }

  function heat(answers, images, color) {
    const cells = answers.flatMap((answer, n) => {
      const canvas = picture({ style: "width: 100%" });
      paint(canvas, images[n]);
      return [canvas, ...answer.map((p, c) =>
        el("span", {
          title: `${CLASSES[c]} ${toPercent(p)}`,
          style: `background: color-mix(in srgb, var(--${color}) ${Math.round(100 * p)}%, var(--tint))`,
        }))];
    });
    const head = ["", ...CLASSES].map((name) => el("small", {}, name));
    const label = "Probabilities of ten classes for eight images";
    return el("div", { class: "heat", role: "img", "aria-label": label }, head, cells);
  }

  const select = choice("norm", norms.map((n) => DATA.names[n]), (i) => {
    norm = norms[i];
    update();
  });
  select.querySelector("select").value = norms.indexOf(norm);
  const element = el(
    "div", {},
    el("h3", {}, "InstanceNorm before the average pool"),
    el("p", {}, "The norm of C10 takes each channel of an image by itself: then each has the same mean, and the mean is all that the average pool hands on. Each row is one image, each column a class; the darker, the more probable."),
    el("div", { class: "controls" }, checkbox("InstanceNorm in C10", (checked) => {
      on = checked;
      update();
    }), select),
    tables,
  );
  return { element, update };
}

// ------------------------------------------------------------------------- room 4: look inside

function insideRoom() {
  const state = { mode: 0, layer: "C4", image: 0, channel: 0, row: 0, column: 0 };
  const before = el("canvas", { "aria-hidden": true });
  const after = el("canvas", { "aria-hidden": true });
  const text = el("p", { class: "sum", role: "status" });
  const [histogramBefore, histogramAfter] = [el("div"), el("div")];
  let block; // what the layer made of the batch
  let shared = []; // the planes that share mean and variance with the chosen value
  const batch = () => [chosen.pixels, ...[1, 2, 3].map((i) => TEST.images[Math.floor(i * TEST.images.length / 4)])];

  function update() {
    const { network, change } = MODES[state.mode];
    block = ask(network, batch(), change).layers[state.layer];
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
    const { network, detail } = MODES[state.mode];
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
        : `It shares mean and variance with ${(set.planes.length * input.size ** 2).toLocaleString("en")} values: ${describe(network, detail)}.`;
      text.replaceChildren(
        `${where}. ${source} Mean ${number(set.mean)}, standard deviation ${number(Math.sqrt(set.variance))}. By hand, γ (x − mean) / √(variance + ε) + β: `,
        el("code", {}, `${number(get("weight"))} × (${number(x)} − ${number(set.mean)}) / √(${number(set.variance)} + ${EPS}) + ${number(get("bias"))} = ${number(y)}`),
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
    const strongest = Math.sqrt(measure(maps, range(n * c)).variance) * 3 || 1;
    for (let plane = 0; plane < n * c; plane++) {
      const isLit = shared.includes(plane);
      const shown = context.createImageData(size, size);
      for (let at = 0; at < size * size; at++) {
        const value = values[plane * size * size + at] / strongest;
        const part = Math.min(Math.abs(value), 1) * (isLit || !shared.length ? 1 : 0.15);
        const ink = value < 0 ? low : high;
        shown.data.set(paper.map((p, k) => p + part * (ink[k] - p)), 4 * at);
        shown.data[4 * at + 3] = 255;
      }
      small.getContext("2d").putImageData(shown, 0, 0);
      const [left, top] = corner(maps, plane);
      context.drawImage(small, left, top, DOTS, DOTS);
      context.strokeStyle = readText(isLit ? "ink" : "faint");
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
        Object.assign(state, { image: Math.floor(plane / c), channel: plane % c, row, column });
        for (const name of Object.keys(controls)) controls[name].set(state[name] + 1);
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
    const line = (channel, attributes) => svg("polyline", {
      points: counts[channel].map((k, bin) => `${((bin + 0.5) * 480) / bins},${96 - (88 * Math.log1p(k)) / top}`).join(" "),
      fill: "none", ...attributes,
    });
    const ticks = [low, (low + limit) / 2, limit].map((value, i) =>
      svg("text", { x: [2, 240, 478][i], y: 114, "text-anchor": ["start", "middle", "end"][i] }, value.toFixed(1).replace("-", "−")));
    return svg("svg", { viewBox: "0 0 480 118", role: "img", "aria-label": "Histogram of each channel" },
      range(c).map((channel) => line(channel, { stroke: "var(--grey)", "stroke-opacity": 0.45 })),
      line(state.channel, { stroke: "var(--bn)", "stroke-width": 3 }), ticks);
  }

  const one = (name, max) => slider(name, { min: 1, max, step: 1, value: 1 }, (value) => {
    state[name] = value - 1;
    pick();
  });
  const controls = { image: one("image", 4), channel: one("channel", 16), row: one("row", 16), column: one("column", 16) };
  const modes = choice("network", MODES.map(({ network, detail }) => detail ? `${nameOf(network)}, ${detail}` : nameOf(network)), (i) => {
    state.mode = i;
    update();
  });
  const layers = choice("layer", BLOCKS, (i) => {
    state.layer = BLOCKS[i];
    update();
  });
  layers.querySelector("select").value = BLOCKS.indexOf(state.layer);
  const frame = (title, canvas) => {
    const holder = el("div", { class: "maps" }, canvas);
    for (const kind of ["pointermove", "pointerdown"]) {
      holder.addEventListener(kind, (event) => find(event, canvas));
    }
    return el("div", {}, el("h3", {}, title), holder);
  };
  const body = el(
    "div", {},
    el("div", { class: "controls" }, modes, layers),
    text,
    frame("Before the norm", before),
    frame("After it", after),
    el("p", { class: "note" }, "A line of maps for each of four images, ours first, one map for each channel; 32 channels take two lines. Green is above zero, orange below. Point at a value, or move the sliders."),
    Object.values(controls).map((control) => control.element),
    el("h3", {}, "Histograms of the channels"),
    el("p", { class: "note" }, "How often which value is there, on a logarithmic scale: before the norm and after it, a line for each channel, that of the chosen one in bold."),
    el("div", { class: "pair" }, histogramBefore, histogramAfter),
  );
  const answers = ["its channel, in this image", "its channel, in all images", "all channels of this image", "nothing"];
  const norm = MAIN.some(isOf("ln")) ? "ln" : MAIN[0].norm;
  const intro = question(
    `One value in the middle of layer C4, with ${DATA.names[norm]}: which others share its mean and variance?`,
    answers,
    body,
    async (i, said) => {
      Object.assign(state, { mode: MODES.findIndex(({ network }) => network.norm === norm), layer: "C4", image: 0, channel: 5, row: 7, column: 7 });
      modes.querySelector("select").value = state.mode;
      layers.querySelector("select").value = BLOCKS.indexOf("C4");
      update();
      const per = block.output.c;
      const own = range(per).every((c) => shared.includes(c)); // all channels of our image
      const others = shared.some((plane) => plane >= per);
      const found = !shared.length ? 3 : own ? 2 : others ? 1 : 0;
      return compare(i === found, said, [
        `${(shared.length * block.output.size ** 2).toLocaleString("en")} values light up: ${answers[found]}. ` +
          "Choose another network above the maps and see what lights up there.",
      ]);
    },
  );
  return { title: "Look inside", element: [intro, body], update };
}

function readText(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function readColor(name) {
  const digits = readText(name).slice(1);
  return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
}

// --------------------------------------------------------------------- room 5: a seed is a die

function diceRoom() {
  const norms = ["bn", "gn", "ln"].filter((norm) => DATA.accuracies[norm]);
  const runs = norms.map((norm) => DATA.accuracies[norm]);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const best = runs.map(mean).indexOf(Math.max(...runs.map(mean)));
  const points = (difference) => (100 * difference).toFixed(1);
  const wins = norms.map(() => 0);
  const dice = el("div", { class: "dice", role: "status" });
  const tally = el("p");

  /** The share of all possible draws in which the norm with the best mean does not come first. */
  function countUpsets() {
    const all = runs.reduce((draws, values) => draws.flatMap((d) => values.map((v) => [...d, v])), [[]]);
    return all.filter((draw) => draw.indexOf(Math.max(...draw)) !== best).length / all.length;
  }

  function roll(times) {
    let draw;
    for (let i = 0; i < times; i++) {
      draw = runs.map((values) => values[Math.floor(Math.random() * values.length)]);
      wins[draw.indexOf(Math.max(...draw))]++;
    }
    const first = draw.indexOf(Math.max(...draw));
    dice.replaceChildren(...norms.map((norm, i) =>
      el("span", { class: i === first ? "first" : "", style: `--color: var(--${norm})` },
        `${DATA.names[norm]} ${(100 * draw[i]).toFixed(2)} %`)));
    const total = wins.reduce((a, b) => a + b, 0);
    const each = norms.map((norm, i) => `${DATA.names[norm]} ${wins[i].toLocaleString("en")}`);
    tally.textContent = `${total.toLocaleString("en")} ${total === 1 ? "draw" : "draws"}; came first: ${join(each)}.`;
  }

  const body = el(
    "div", {},
    el("p", {}, "Each draw takes one recorded run of each norm, as a student would train one of each."),
    el("div", { class: "buttons" }, button("Draw", () => roll(1)), button("Draw a hundred times", () => roll(100))),
    dice, tally,
    el("p", { class: "note" }, norms.map((norm, i) =>
      `${DATA.names[norm]}: ${(100 * mean(runs[i])).toFixed(2)} % on average over ${runs[i].length} seeds. `)),
  );
  const shares = [0, 0.1, 0.25, 0.5];
  const options = ["never", "one time in ten", "one time in four", "every other time"];
  const intro = question(
    `Over all recorded seeds ${DATA.names[norms[best]]} has the highest mean. You train one network of each norm, once. How often does another norm come out first?`,
    options,
    body,
    async (i, said) => {
      roll(1);
      const upsets = countUpsets();
      const distances = shares.map((share) => Math.abs(share - upsets));
      return compare(i === distances.indexOf(Math.min(...distances)), said, [
        `In ${toPercent(upsets)} of all possible draws the wrong norm wins. The means lie at most ` +
          `${points(Math.max(...runs.map(mean)) - Math.min(...runs.map(mean)))} points apart; from seed to seed ` +
          `${DATA.names[norms[best]]} alone ranges over ${points(Math.max(...runs[best]) - Math.min(...runs[best]))}. ` +
          "One run of each cannot say which is better.",
      ]);
    },
  );
  return { title: "A seed is a die", element: [intro, body], update: () => {} };
}

// --------------------------------------------------------------- the image, and the page itself

const rooms = [
  fadeRoom(), neighboursRoom(), skipsRoom(), insideRoom(),
  ...(Object.keys(DATA.accuracies).length ? [diceRoom()] : []),
];
let current = rooms[0];

function show(room) {
  current = room;
  forget("curve");
  for (const other of rooms) {
    other.tab.setAttribute("aria-current", other === room);
    other.section.hidden = other !== room;
  }
  room.update();
  room.show?.();
}

function choose(pixels, label) {
  Object.assign(chosen, { pixels, label });
  say("");
  current.update();
}

function say(text) {
  document.getElementById("message").textContent = text;
}

function addThumbnail(pixels, label, name) {
  const input = el("input", {
    type: "radio", name: "image", "aria-label": name, change: () => choose(pixels, label),
  });
  const canvas = picture({});
  paint(canvas, pixels);
  const holder = el("label", { title: name }, input, canvas);
  document.getElementById("thumbnails").append(holder);
  return input;
}

/** Read a picture from a file; what cannot be one gets one sentence. */
async function readFile(file) {
  if (!file) return;
  if (file.size > MAX_BYTES) {
    say(`${file.name} has ${Math.round(file.size / 1e6)} MB; a picture may have ${MAX_BYTES / 1e6}: choose a smaller one.`);
    return;
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    say(`${file.name} is no picture that your browser can read; choose a PNG or a JPEG.`);
    return;
  }
  const { width, height } = bitmap;
  if (Math.min(width, height) < 8 || width * height > MAX_PIXELS) {
    say(`${file.name} has ${width} × ${height} pixels; a picture needs 8 × 8 or more, and at most 179 million in all: choose another.`);
    return;
  }
  const canvas = el("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const pixels = shrink(context.getImageData(0, 0, width, height));
  const input = addThumbnail(pixels, null, `your image ${file.name}`);
  input.checked = true;
  choose(pixels, null);
}

function start() {
  document.getElementById("intro").textContent =
    (DATA.trained ? "Your network and others that were trained before" : "Trained networks") +
    ", alike but for the norm, answer here while you change what they see. Guess first, then watch.";
  TEST.images.forEach((pixels, i) => addThumbnail(pixels, TEST.labels[i], `${CLASSES[TEST.labels[i]]}, image ${i + 1}`));
  document.querySelectorAll("#thumbnails input")[FIRST].checked = true;
  for (const room of rooms) {
    room.tab = button(room.title, () => show(room));
    room.section = el("section", { "aria-label": room.title }, room.element);
    document.getElementById("rooms").append(room.tab);
    document.querySelector("main").append(room.section);
  }
  const file = document.getElementById("file");
  file.addEventListener("change", () => readFile(file.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", kind === "dragover");
      if (kind === "drop") readFile(event.dataTransfer.files[0]);
    });
  }
  addEventListener("resize", () => current.resize?.());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => current.update());
  show(rooms[0]);
}

start();
