// The page itself: its rooms, and the image that is asked in them.

import { forget } from "./count.js";
import { CLASSES, chosen, DATA, FIRST, TEST } from "./data.js";
import { diceRoom } from "./dice.js";
import { fadeRoom } from "./fade.js";
import { shrink } from "./images.js";
import { insideRoom } from "./inside.js";
import { neighboursRoom } from "./neighbours.js";
import { button, el, paint, picture } from "./parts.js";
import { skipsRoom } from "./skips.js";

const MAX_PIXELS = 179e6; // as Pillow has it, which reads pictures for the library
const MAX_BYTES = 64e6;
const MAX_CANVAS = 4096 ** 2; // pixels; phones draw no larger one

const rooms = [
  fadeRoom(),
  neighboursRoom(),
  skipsRoom(),
  insideRoom(),
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
  describe(label);
  say("");
  current.update();
}

function describe(label) {
  const what = label === null ? "is your own" : `is of class “${CLASSES[label]}”`;
  document.getElementById("shown").textContent = `Choose an image. The framed one ${what}.`;
}

function say(text) {
  document.getElementById("message").textContent = text;
}

function addThumbnail(pixels, label, name) {
  const input = el("input", {
    type: "radio",
    name: "image",
    "aria-label": name,
    change: () => choose(pixels, label),
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
    say(
      `${file.name} has ${Math.round(file.size / 1e6)} MB; a picture may have ${MAX_BYTES / 1e6}: choose a smaller one.`,
    );
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
    say(
      `${file.name} has ${width} × ${height} pixels; a picture needs 8 × 8 or more, and at most 179 million in all: choose another.`,
    );
    return;
  }
  const scale = Math.min(1, Math.sqrt(MAX_CANVAS / (width * height)));
  const [across, down] = [width, height].map((side) => Math.round(scale * side));
  const context = el("canvas", { width: across, height: down }).getContext("2d");
  context.drawImage(bitmap, 0, 0, across, down);
  const pixels = shrink(context.getImageData(0, 0, across, down));
  const input = addThumbnail(pixels, null, `your image ${file.name}`);
  input.checked = true;
  choose(pixels, null);
}

function start() {
  document.getElementById("intro").textContent =
    (DATA.trained ? "Your network and others that were trained before" : "Trained networks") +
    " name what they see, while you change the image or the network. They are built " +
    "alike, but for norm and skips. Guess first, then watch.";
  for (const [i, pixels] of TEST.images.entries()) {
    addThumbnail(pixels, TEST.labels[i], `${CLASSES[TEST.labels[i]]}, image ${i + 1}`);
  }
  document.querySelectorAll("#thumbnails input")[FIRST].checked = true;
  describe(chosen.label);
  for (const room of rooms) {
    room.tab = button(room.title, () => show(room));
    room.section = el("section", { "aria-label": room.title }, room.element);
    document.getElementById("rooms").append(room.tab);
    document.querySelector("main").append(room.section);
  }
  const file = document.getElementById("file");
  file.addEventListener("change", () => {
    readFile(file.files[0]);
    file.value = ""; // so that the same one may be chosen again
  });
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
