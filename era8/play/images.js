// What is done to images before a network sees them. An image is a Uint8Array of 3 x 32 x 32 values
// in the order (channel, row, column), as in the data set.

import { argmax, forward, makeMaps, range, sum, toShares } from "./network.js";

export const SIZE = 32;
const PIXELS = SIZE * SIZE;

/** No change at all. */
export const REST = { contrast: 1, brightness: 0, noise: 0, blur: 0, colour: 0, shift: 0 };

/**
 * Return a changed image, as change() in study/inside.py does it.
 *
 * Contrast is drawn towards the mean of the image; brightness, red and noise are parts of the range
 * from black to white; blur is a standard deviation in pixels; shift is in pixels to the right.
 */
export function changeImage(image, settings) {
  const { contrast, brightness, noise, blur, colour, shift } = { ...REST, ...settings };
  let x = Float32Array.from(image);
  if (shift) x = shiftRight(x, shift);
  if (blur) x = blurImage(x, blur);
  if (contrast !== 1) {
    const grey = sum(x) / x.length;
    x = x.map((value) => grey + contrast * (value - grey));
  }
  if (brightness) x = x.map((value) => value + 255 * brightness);
  if (colour) x = x.map((value, at) => value + (at < PIXELS ? 255 * colour : 0));
  if (noise) x = x.map((value, at) => value + 255 * noise * NORMAL[at]);
  return Uint8Array.from(Uint8ClampedArray.from(x)); // rounds a half to even, as torch does
}

/** Return images as normalised maps, which a network takes. */
export function normalise(images, { mean, std }) {
  const x = makeMaps(images.length, 3, SIZE);
  images.forEach((image, n) => {
    image.forEach((value, at) => {
      const channel = Math.floor(at / PIXELS);
      x.values[n * 3 * PIXELS + at] = (value - 255 * mean[channel]) / (255 * std[channel]);
    });
  });
  return x;
}

/** Return how many images a network classifies correctly once they are changed. */
export function countRight(network, { images, labels, channels }, settings, change) {
  return images.filter((image, i) => {
    const maps = normalise([changeImage(image, settings)], channels);
    return argmax(forward(network, maps, change).logits) === labels[i];
  }).length;
}

/**
 * Return the middle square of a picture, shrunk to an image: as read_picture() in era8/pictures.py
 * does it, by Lanczos's filter and with white behind what is transparent.
 *
 * rgba: width x height pixels of four bytes, row by row.
 */
export function shrink({ data: rgba, width, height }) {
  const side = Math.min(width, height);
  const columns = lanczos((width - side) / 2, side, width);
  const rows = lanczos((height - side) / 2, side, height);
  const narrow = new Uint8ClampedArray(3 * height * SIZE); // (channel, row, column)
  const top = rows[0].first;
  const bottom = rows[SIZE - 1].first + rows[SIZE - 1].weights.length;
  for (let row = top; row < bottom; row++) {
    columns.forEach(({ first, weights }, column) => {
      const sums = [0, 0, 0];
      weights.forEach((weight, i) => {
        const from = 4 * (row * width + first + i);
        const alpha = rgba[from + 3] / 255;
        for (let c = 0; c < 3; c++) {
          sums[c] += weight * (alpha * rgba[from + c] + (1 - alpha) * 255);
        }
      });
      sums.forEach((sum, c) => {
        narrow[(c * height + row) * SIZE + column] = sum;
      });
    });
  }
  const image = new Uint8ClampedArray(3 * PIXELS); // rounds, and clips what the filter overshoots
  for (let at = 0; at < image.length; at++) {
    const [c, row, column] = [Math.floor(at / PIXELS), Math.floor(at / SIZE) % SIZE, at % SIZE];
    const { first, weights } = rows[row];
    let sum = 0;
    weights.forEach((weight, i) => {
      sum += weight * narrow[(c * height + first + i) * SIZE + column];
    });
    image[at] = sum;
  }
  return Uint8Array.from(image);
}

/** For each of 32 pixels: which of the pixels of a side it is made of, and with what weights. */
function lanczos(start, side, length) {
  const scale = side / SIZE;
  const stretch = Math.max(scale, 1);
  const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  return range(SIZE).map((pixel) => {
    const center = start + (pixel + 0.5) * scale;
    const first = Math.max(Math.round(center - 3 * stretch), 0);
    const last = Math.min(Math.round(center + 3 * stretch), length);
    const weights = range(last - first).map((i) => {
      const x = (first + i + 0.5 - center) / stretch;
      return Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
    });
    return { first, weights: toShares(weights) };
  });
}

/** Blur by a Gaussian over 9 x 9 pixels; beyond its edge an image is mirrored. */
function blurImage(x, sigma) {
  const weights = toShares(range(9).map((i) => Math.exp(-0.5 * ((i - 4) / sigma) ** 2)));
  const mirror = (i) => (i < 0 ? -i : i >= SIZE ? 2 * SIZE - 2 - i : i);
  const along = (values, step) =>
    values.map((_, at) => {
      const place = Math.floor(at / step) % SIZE;
      let y = 0;
      weights.forEach((weight, i) => {
        y += weight * values[at + (mirror(place + i - 4) - place) * step];
      });
      return y;
    });
  return along(along(x, 1), SIZE);
}

/** Shift to the right; what comes in is the column that was at the left edge. */
function shiftRight(x, pixels) {
  return x.map((_, at) => x[at - Math.min(at % SIZE, Math.round(pixels))]);
}

/** The same noise for every image and at every time: values of a normal distribution. */
const NORMAL = (() => {
  let seed = 1;
  const uniform = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; // a linear congruential generator
    return (seed + 0.5) / 2 ** 32;
  };
  return range(3 * PIXELS).map(
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
})();
