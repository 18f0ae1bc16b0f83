// How many of the images a network classifies correctly: counted in a worker, for it takes a while.

import { NETWORKS, TEST } from "./data.js";
import { countRight } from "./images.js";

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
 * Return how many of the images a network classifies correctly, in time.
 *
 * What is counted for a purpose can be forgotten; without one it is urgent.
 */
export function count(network, settings = {}, change = {}, purpose = "") {
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

export function forget(purpose) {
  for (const { key } of waiting.filter((job) => job.purpose === purpose)) known.delete(key);
  waiting = waiting.filter((job) => job.purpose !== purpose);
}

function countNext() {
  if (counting || !waiting.length) return;
  const { question, resolve } = waiting.shift();
  const done = (right) => {
    counting = false;
    resolve(right);
    countNext();
  };
  const countHere = () => {
    const { network, settings, change } = question;
    setTimeout(() => done(countRight(NETWORKS[network], TEST, settings, change)), 20);
  };
  counting = true;
  if (!worker) return countHere();
  worker.onmessage = ({ data }) => done(data);
  worker.onerror = () => {
    worker = null; // not allowed here: the page counts by itself
    countHere();
  };
  worker.postMessage(question);
}
