// What the network computes, in plain loops: Session8Net of era8/models.py, layer by layer.
//
// Feature maps are { n, c, size, values }: n images, c channels and size x size pixels, all in one
// Float32Array in PyTorch's order (n, c, h, w). One channel of one image is called a plane. Layers
// have the names that they have in the library; their tensors those of its state_dict.

export const EPS = 1e-5; // as in era8/norms.py

/**
 * Return the logits of a batch of images, and what each layer made of them.
 *
 * network: { norm, skip, groups, tensors }, the tensors as Float32Arrays by name.
 * images: maps with three channels, normalised.
 * change: what is done to a trained network:
 *   batch: BatchNorm uses this batch's own statistics, as in training, not its running averages;
 *   cut: the skips that are cut, of "first" and "second";
 *   scale: { layer, channel, factor }, one channel times a factor before that layer's norm;
 *   instance: the norm of C10, before the average pool, takes each channel of an image by itself.
 */
export function forward(network, images, change = {}) {
  const { tensors, skip } = network;
  const layers = {}; // what each layer put out, by its name; of a block with a norm, all its steps
  const keep = (name, output) => {
    layers[name] = { output };
    return output;
  };
  const isCut = (name) => !skip || (change.cut ?? []).includes(name);

  function block(name, x) {
    const convolved = conv3x3(x, tensors[`${name}.0.weight`]);
    if (change.scale?.layer === name) scalePlanes(convolved, change.scale);
    const input = relu(convolved);
    const { output, statistics } = norm(input, network, name, change);
    layers[name] = { input, output, statistics };
    return output;
  }
  const transition = (name, x) => keep(name, relu(conv1x1(x, tensors[`${name}.0.weight`])));
  const pool = (name, x) => keep(name, maxPool(x));

  let x = block("C2", block("C1", images)); // (n, 32, 32, 32)
  const stage1 = pool("P1", transition("c3", x)); // (n, 16, 16, 16)
  x = transition("c7", block("C6", block("C5", block("C4", stage1))));
  const stage2 = pool("P2", isCut("first") ? x : add(x, stage1)); // (n, 16, 8, 8)
  x = block("C10", block("C9", block("C8", stage2)));
  x = isCut("second") ? x : add(x, stage2);
  const logits = keep("c11", conv1x1(keep("GAP", averagePool(x)), tensors["c11.weight"]));
  return { logits: logits.values, layers }; // logits: (n, 10)
}

/**
 * Subtract a mean and divide by a standard deviation, then scale and shift each channel.
 *
 * The norms differ in one thing alone: which planes share one mean and one variance.
 */
function norm(x, network, name, change = {}) {
  const instance = change.instance && name === "C10";
  if (network.norm === "none" && !instance) return { output: x, statistics: [] };
  const get = (tensor) => network.tensors[`${name}.2.${tensor}`];
  const [gamma, beta] = [get("weight"), get("bias")]; // a network without norms has none
  const output = makeMaps(x.n, x.c, x.size);
  const pixels = x.size * x.size;
  const statistics = sharedPlanes(network, x, instance).map((planes) => {
    const running = network.norm === "bn" && !change.batch && !instance;
    const channel = planes[0] % x.c;
    const { mean, variance } = running
      ? { mean: get("running_mean")[channel], variance: get("running_var")[channel] }
      : measure(x, planes);
    const deviation = Math.sqrt(variance + EPS);
    for (const plane of planes) {
      const [scale, shift] = gamma ? [gamma[plane % x.c], beta[plane % x.c]] : [1, 0];
      for (let at = plane * pixels; at < (plane + 1) * pixels; at++) {
        output.values[at] = (scale * (x.values[at] - mean)) / deviation + shift;
      }
    }
    return { planes, mean, variance, running };
  });
  return { output, statistics };
}

/** Return the planes n * C + c that share one mean and one variance, set by set. */
function sharedPlanes(network, x, instance = false) {
  const images = range(x.n);
  const channels = range(x.c);
  if (network.norm === "bn" && !instance) {
    return channels.map((c) => images.map((n) => n * x.c + c)); // (N, H, W)
  }
  // GroupNorm; LayerNorm is that with one group, InstanceNorm with as many as there are channels
  const groups = instance ? x.c : network.norm === "gn" ? network.groups : 1;
  const width = x.c / groups;
  return images.flatMap((n) =>
    range(groups).map((g) => range(width).map((c) => n * x.c + g * width + c)),
  ); // (C / groups, H, W)
}

/** Return mean and variance over all values of some planes. */
export function measure(x, planes) {
  const pixels = x.size * x.size;
  const count = planes.length * pixels;
  let sum = 0;
  for (const plane of planes) {
    for (let at = plane * pixels; at < (plane + 1) * pixels; at++) sum += x.values[at];
  }
  const mean = sum / count;
  let squares = 0;
  for (const plane of planes) {
    for (let at = plane * pixels; at < (plane + 1) * pixels; at++) {
      squares += (x.values[at] - mean) ** 2;
    }
  }
  return { mean, variance: squares / count };
}

/** Convolve maps, with zeros around them, by a weight (out, in, 3, 3). */
function conv3x3(x, weight) {
  const { n, c, size } = x;
  const outChannels = weight.length / (9 * c);
  const padded = pad(x);
  const width = size + 2;
  const y = makeMaps(n, outChannels, size);
  const sums = y.values;
  for (let image = 0; image < n; image++) {
    for (let o = 0; o < outChannels; o++) {
      for (let i = 0; i < c; i++) {
        const from = 9 * (o * c + i);
        const [w00, w01, w02] = [weight[from], weight[from + 1], weight[from + 2]];
        const [w10, w11, w12] = [weight[from + 3], weight[from + 4], weight[from + 5]];
        const [w20, w21, w22] = [weight[from + 6], weight[from + 7], weight[from + 8]];
        let to = (image * outChannels + o) * size * size;
        for (let row = 0; row < size; row++) {
          let top = ((image * c + i) * width + row) * width; // of the 3 x 3 pixels, the upper left
          let middle = top + width;
          let bottom = middle + width;
          // A step to the right reads the third column alone: the others have been read
          let x00 = padded[top];
          let x01 = padded[top + 1];
          let x10 = padded[middle];
          let x11 = padded[middle + 1];
          let x20 = padded[bottom];
          let x21 = padded[bottom + 1];
          for (const end = to + size; to < end; to++, top++, middle++, bottom++) {
            const x02 = padded[top + 2];
            const x12 = padded[middle + 2];
            const x22 = padded[bottom + 2];
            // biome-ignore format: the weights stand as the pixels do
            sums[to] +=
              w00 * x00 + w01 * x01 + w02 * x02 +
              w10 * x10 + w11 * x11 + w12 * x12 +
              w20 * x20 + w21 * x21 + w22 * x22;
            x00 = x01;
            x01 = x02;
            x10 = x11;
            x11 = x12;
            x20 = x21;
            x21 = x22;
          }
        }
      }
    }
  }
  return y;
}

/** Mix the channels of each pixel by a weight (out, in, 1, 1); the channels come in fours. */
function conv1x1(x, weight) {
  const { n, c, size } = x;
  const outChannels = weight.length / c;
  const pixels = size * size;
  const y = makeMaps(n, outChannels, size);
  const [from, sums] = [x.values, y.values];
  for (let image = 0; image < n; image++) {
    for (let o = 0; o < outChannels; o++) {
      const first = (image * outChannels + o) * pixels;
      for (let i = 0; i < c; i += 4) {
        const [w0, w1, w2, w3] = weight.subarray(o * c + i, o * c + i + 4);
        let at = (image * c + i) * pixels;
        for (let to = first; to < first + pixels; to++, at++) {
          sums[to] +=
            w0 * from[at] +
            w1 * from[at + pixels] +
            w2 * from[at + 2 * pixels] +
            w3 * from[at + 3 * pixels];
        }
      }
    }
  }
  return y;
}

/** Take the largest of each 2 x 2 pixels. */
function maxPool(x) {
  const y = makeMaps(x.n, x.c, x.size / 2);
  const { size, values } = x;
  let to = 0;
  for (let from = 0; from < values.length; from += size) {
    // Two rows of all planes make one
    for (const end = from + size; from < end; from += 2, to++) {
      const upper = Math.max(values[from], values[from + 1]);
      y.values[to] = Math.max(upper, values[from + size], values[from + size + 1]);
    }
  }
  return y;
}

/** Average each plane. */
function averagePool(x) {
  const means = range(x.n * x.c).map((plane) => measure(x, [plane]).mean);
  return { n: x.n, c: x.c, size: 1, values: Float32Array.from(means) };
}

/** Put zero for what is below it, in place. */
function relu(x) {
  const { values } = x;
  for (let at = 0; at < values.length; at++) values[at] = Math.max(values[at], 0);
  return x;
}

function add(x, other) {
  const y = makeMaps(x.n, x.c, x.size);
  for (let at = 0; at < y.values.length; at++) y.values[at] = x.values[at] + other.values[at];
  return y;
}

/** Return the probabilities that logits stand for. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  return toShares(powers);
}

export function toShares(values) {
  const total = sum(values);
  return values.map((value) => value / total);
}

export function sum(values) {
  return values.reduce((a, b) => a + b, 0);
}

/** Return the place of the largest value. */
export function argmax(values) {
  return values.indexOf(Math.max(...values));
}

export function makeMaps(n, c, size) {
  return { n, c, size, values: new Float32Array(n * c * size * size) };
}

export function range(length) {
  return Array.from({ length }, (_, i) => i);
}

function pad({ n, c, size, values }) {
  const width = size + 2;
  const padded = new Float32Array(n * c * width * width);
  for (let row = 0; row < n * c * size; row++) {
    const plane = Math.floor(row / size);
    const to = plane * width * width + ((row % size) + 1) * width + 1;
    padded.set(values.subarray(row * size, (row + 1) * size), to);
  }
  return padded;
}

function scalePlanes(x, { channel, factor }) {
  const pixels = x.size * x.size;
  for (let image = 0; image < x.n; image++) {
    const from = (image * x.c + channel) * pixels;
    for (let at = from; at < from + pixels; at++) x.values[at] *= factor;
  }
}
