// The room in which runs are drawn, as a student draws one.

import { DATA, join, toPercent } from "./data.js";
import { button, compare, el, question } from "./parts.js";

export function diceRoom() {
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
    const all = runs.reduce(
      (draws, values) => draws.flatMap((d) => values.map((v) => [...d, v])),
      [[]],
    );
    return all.filter((draw) => draw.indexOf(Math.max(...draw)) !== best).length / all.length;
  }

  function roll(times) {
    let draw;
    for (let i = 0; i < times; i++) {
      draw = runs.map((values) => values[Math.floor(Math.random() * values.length)]);
      wins[draw.indexOf(Math.max(...draw))]++;
    }
    const first = draw.indexOf(Math.max(...draw));
    dice.replaceChildren(
      ...norms.map((norm, i) =>
        el(
          "span",
          { class: i === first ? "first" : "", style: `--color: var(--${norm})` },
          `${DATA.names[norm]} ${(100 * draw[i]).toFixed(2)} %`,
        ),
      ),
    );
    const total = wins.reduce((a, b) => a + b, 0);
    const each = norms.map((norm, i) => `${DATA.names[norm]} ${wins[i].toLocaleString("en")}`);
    tally.textContent = `${total.toLocaleString("en")} ${total === 1 ? "draw" : "draws"}; came first: ${join(each)}.`;
  }

  const body = el(
    "div",
    {},
    el(
      "p",
      {},
      "Each draw takes one recorded run of each norm, as a student would train one of each.",
    ),
    el(
      "div",
      { class: "buttons" },
      button("Draw", () => roll(1)),
      button("Draw a hundred times", () => roll(100)),
    ),
    dice,
    tally,
    el(
      "p",
      { class: "note" },
      norms.map(
        (norm, i) =>
          `${DATA.names[norm]}: ${(100 * mean(runs[i])).toFixed(2)} % on average over ${runs[i].length} seeds. `,
      ),
    ),
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
