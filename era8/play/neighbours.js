// The room in which the other images of the batch change.

import { ask, chosen, join, MODE_NAMES, MODES, nameOf, spread, TEST } from "./data.js";
import { changeImage } from "./images.js";
import { range } from "./network.js";
import {
  answerCard,
  button,
  compare,
  div,
  el,
  glide,
  note,
  paint,
  picture,
  question,
  slider,
} from "./parts.js";

export function neighboursRoom() {
  const usual = () => spread(8).slice(1);
  let neighbours = usual();
  let contrast = 1;
  let alone = false;
  let before = null; // the answers that a change is measured from
  const caption = el("p", { class: "note" });
  const strip = el("div", { class: "batch", role: "group", "aria-label": "The batch" });
  const cards = MODES.map((mode) =>
    answerCard(nameOf(mode.network), mode.detail, mode.network.norm),
  );
  const fading = slider("contrast", { min: 0.02, max: 1, step: 0.01, value: 1 }, (value) => {
    contrast = value;
    update();
  });

  const joinOurs = (others, settings) => [
    chosen.pixels,
    ...others.map((i) => changeImage(i === null ? chosen.pixels : TEST.images[i], settings)),
  ];
  const batch = () => joinOurs(alone ? [] : neighbours, { contrast });

  function answersTo(images) {
    return MODES.map(({ network, change }) => {
      // Only with the batch's own statistics do the neighbours have to be computed too
      return ask(network, change.batch ? images : images.slice(0, 1), change).answers[0];
    });
  }

  const moved = (answers) =>
    answers.map(
      (answer, i) => 50 * answer.reduce((sum, p, c) => sum + Math.abs(p - before[i][c]), 0),
    );

  function update(anew = false) {
    if (anew || !before) before = answersTo(joinOurs(usual(), {}));
    const images = batch();
    const answers = answersTo(images);
    const points = moved(answers);
    cards.forEach((card, i) => {
      const text = points[i] < 0.05 ? "did not move" : `moved by ${points[i].toFixed(1)} points`;
      card.show(answers[i], chosen.label, text);
    });
    const ours = picture({ class: "ours", role: "img", "aria-label": "Our image" });
    caption.textContent = alone
      ? "A batch of one: ours."
      : "A batch of eight. Ours is framed; tap a neighbour to swap it.";
    const items = images.map((pixels, i) => {
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
  const set =
    (values, single = false) =>
    () => {
      neighbours = values();
      alone = single;
      contrast = 1;
      fading.set(contrast);
      update();
    };
  const classOf = (label) => range(TEST.images.length).filter((i) => TEST.labels[i] === label);
  const oneClass = () => {
    const same = classOf(drawImage() % 10);
    return range(7).map((i) => same[i % same.length]);
  };
  const others = () => range(7).map(drawImage);
  const onlyOurs = () => Array(7).fill(null);
  const actions = [
    button("Draw others", set(others)),
    button("All of one class", set(oneClass)),
    button("Eight times ours", set(onlyOurs)),
    button("Alone: a batch of one", set(usual, true)),
    button("As it was", set(usual)),
  ];
  const body = el(
    "div",
    {},
    caption,
    strip,
    div("buttons", actions),
    el("p", {}, "Fade the neighbours, not ours:"),
    fading.element,
    el("h3", {}, "What each network says of our image"),
    div("answers", ...cards.map((card) => card.element)),
    note(
      "“Moved” tells how much probability went from some classes to others, in percentage points, compared with the batch as it was.",
    ),
  );
  const intro = question(
    "Our image stays as it is. Its seven neighbours in the batch fade to a tenth of their contrast. Whose answer to our image moves?",
    [...MODE_NAMES, "nobody’s"],
    body,
    async (i, said) => {
      set(usual)();
      await glide(1, 0.1, (value) => {
        contrast = value;
        fading.set(value);
        update();
      });
      const points = moved(answersTo(batch()));
      const movers = range(points.length).filter((at) => points[at] >= 0.05);
      const isRight = i < points.length ? movers.includes(i) : !movers.length;
      const each = movers.map((at) => `“${MODE_NAMES[at]}”, by ${points[at].toFixed(1)} points`);
      return compare(isRight, said, [
        `${movers.length ? `It moved with ${join(each)}` : "No answer moved"}. There a mean and a variance ` +
          "are taken over all images of the batch, so each answer depends on the others, as it does " +
          "in all of training. With running averages, with GN, LN or no norm, an image is on its own.",
      ]);
    },
  );
  return { title: "Its neighbours", element: [intro, body], update: () => update(true) };
}
