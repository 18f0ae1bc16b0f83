// What the page knows: the networks, the images, and which of these is chosen.

import { normalise, SIZE } from "./images.js";
import { forward, range, softmax } from "./network.js";

export const DATA = JSON.parse(document.getElementById("data").textContent);
export const CLASSES = DATA.classes;
export const NETWORKS = DATA.networks.map((network) => ({ ...network, tensors: unpack(network) }));
const BYTES = decode(DATA.images);
export const TEST = {
  images: DATA.labels.map((_, i) => BYTES.subarray(i * 3 * SIZE * SIZE, (i + 1) * 3 * SIZE * SIZE)),
  labels: DATA.labels,
  channels: DATA.channels,
};
export const WITH_SKIPS = NETWORKS.filter((network) => network.skip);
// One for each norm
export const MAIN = NETWORKS.filter((network, i) => NETWORKS.findIndex(isOf(network.norm)) === i);
// One answers alone or, with BatchNorm, as one of a batch: both are asked where it matters
export const MODES = MAIN.flatMap((network) =>
  network.norm === "bn"
    ? [
        { network, detail: "running averages", change: {} },
        { network, detail: "this batch’s averages", change: { batch: true } },
      ]
    : [{ network, detail: "", change: {} }],
);
export const MODE_NAMES = MODES.map(({ network, detail }) =>
  detail ? `${nameOf(network)}, ${detail}` : nameOf(network),
);
export const BLOCKS = ["C1", "C2", "C4", "C5", "C6", "C8", "C9", "C10"]; // layers with a norm

export const FIRST = Math.max(0, range(10).findIndex(isEasy)); // one that all networks classify correctly
export const chosen = { pixels: TEST.images[FIRST], label: TEST.labels[FIRST] }; // the image that is asked

function decode(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function unpack({ sizes, values }) {
  const numbers = new Float32Array(decode(values).buffer);
  const tensors = {};
  let at = 0;
  for (const [name, size] of Object.entries(sizes)) {
    tensors[name] = numbers.subarray(at, at + size);
    at += size;
  }
  return tensors;
}

export function isOf(norm) {
  return (network) => network.norm === norm;
}

export function nameOf(network) {
  const yours = DATA.trained && network === NETWORKS[0] ? ", yours" : "";
  return `${DATA.names[network.norm]}${yours}`;
}

/** Return the places of so many images, as far apart as can be: they are of many classes. */
export function spread(count) {
  return range(count).map((i) => Math.floor((i * TEST.images.length) / count));
}

/** Return a batch: our image, and others that are always the same. */
export function batchOf(size) {
  const others = spread(size).slice(1);
  return [chosen.pixels, ...others.map((i) => TEST.images[i])];
}

function isEasy(i) {
  const guesses = MAIN.map((network) => rank(ask(network, [TEST.images[i]]).answers[0])[0]);
  return guesses.every((guess) => guess === TEST.labels[i]);
}

export function fullName(network) {
  return `${nameOf(network)}${network.skip ? "" : " without skips"}`;
}

export function ask(network, images, change) {
  const { logits, layers } = forward(network, normalise(images, DATA.channels), change);
  const answers = images.map((_, n) => softmax(logits.subarray(10 * n, 10 * n + 10)));
  return { answers, layers };
}

export function rank(probabilities) {
  return range(10).sort((a, b) => probabilities[b] - probabilities[a]);
}

export function toPercent(share) {
  return `${Math.round(100 * share)} %`;
}

export function join(words) {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
