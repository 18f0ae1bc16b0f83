// Answers what the modules of era8/play/ compute, for the fixture ask_node: JSON in, JSON out.

import { readFileSync } from "node:fs";

const { folder, network, images, channels, changes, settings, picture } = JSON.parse(
  readFileSync(0),
);
const { forward } = await import(`${folder}/network.js`);
const { changeImage, normalise, shrink } = await import(`${folder}/images.js`);

const encode = (array) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
const decode = (text) => new Uint8Array(Buffer.from(text, "base64"));
const answer = {};

const pixels = decode(images ?? "");
const all = Array.from({ length: pixels.length / 3072 }, (_, i) =>
  pixels.slice(3072 * i, 3072 * (i + 1)),
);
if (network) {
  const numbers = new Float32Array(decode(network.values).buffer);
  network.tensors = {};
  let at = 0;
  for (const [name, size] of Object.entries(network.sizes)) {
    network.tensors[name] = numbers.subarray(at, at + size);
    at += size;
  }
  answer.layers = changes.map((change) => {
    const { layers } = forward(network, normalise(all, channels), change);
    const plain = ({ input, output }) => ({
      input: encode((input ?? output).values),
      output: encode(output.values),
    });
    return Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, plain(layer)]));
  });
}
if (settings)
  answer.changed = settings.map((setting) =>
    all.map((image) => encode(changeImage(image, setting))),
  );
if (picture) answer.shrunk = encode(shrink({ ...picture, data: decode(picture.data) }));
console.log(JSON.stringify(answer));
