// The room in which runs are drawn, as a student draws one.

import { DATA, join, toPercent } from "./data.js";
import { argmax, sum } from "./network.js";
import { button, compare, div, el, note, question } from "./parts.js";

export function diceRoom() {
  const norms = ["bn", "gn", "ln"].filter((norm) => DATA.accuracies[norm]);
  const runs = norms.map((norm) => DATA.accuracies[norm]);
  const means = runs.map((values) => sum(values) / values.length);
  const best = argmax(means);
  const extent = (values) => (100 * (Math.max(...values) - Math.min(...values))).toFixed(1);
  const wins = norms.map(() => 0);
  const dice = el("div", { class: "dice", role: "status" });
  const tally = el("p");
  const strip = div("runs");
  const percent = (accuracy) => `${(100 * accuracy).toFixed(2)} %`;
  const low = Math.min(...runs.flat());
  const high = Math.max(...runs.flat());

  /** A dot for each run, a bar for their mean; those that were drawn are full. */
  function showRuns(draw = []) {
    const place = (accuracy) => `left: ${(100 * (accuracy - low)) / (high - low || 1)}%`;
    const rows = norms.map((norm, i) => {
      const name = DATA.names[norm];
      const dots = runs[i].map((accuracy) =>
        el("i", { class: accuracy === draw[i] ? "drawn" : "", style: place(accuracy) }),
      );
      const average = el("i", { class: "mean", style: place(means[i]) });
      const label = `${runs[i].length} runs with ${name}, mean ${percent(means[i])}`;
      const style = `--color: var(--${norm})`;
      return [
        el("b", {}, name),
        el("div", { role: "img", "aria-label": label, style }, dots, average),
        el("span", {}, `mean ${percent(means[i])}`),
      ];
    });
    const ends = [low, high].map((accuracy) => el("span", {}, percent(accuracy)));
    strip.replaceChildren(...rows.flat(), el("span"), el("p", {}, ends));
  }

  /** The share of all possible draws in which the norm with the best mean does not come first. */
  function countUpsets() {
    const all = runs.reduce(
      (draws, values) => draws.flatMap((d) => values.map((v) => [...d, v])),
      [[]],
    );
    return all.filter((draw) => argmax(draw) !== best).length / all.length;
  }

  function roll(times) {
    let draw;
    for (let i = 0; i < times; i++) {
      draw = runs.map((values) => values[Math.floor(Math.random() * values.length)]);
      wins[argmax(draw)]++;
    }
    showRuns(draw);
    const drawn = norms.map((norm, i) => {
      const look = { class: i === argmax(draw) ? "first" : "", style: `--color: var(--${norm})` };
      return el("span", look, `${DATA.names[norm]} ${percent(draw[i])}`);
    });
    dice.replaceChildren(...drawn);
    const total = sum(wins);
    const each = norms.map((norm, i) => `${DATA.names[norm]} ${wins[i].toLocaleString("en")}`);
    tally.textContent = `${total.toLocaleString("en")} ${total === 1 ? "draw" : "draws"}; came first: ${join(each)}.`;
  }

  const draw = button("Draw", () => roll(1));
  const drawMany = button("Draw a hundred times", () => roll(100));
  const body = el(
    "div",
    {},
    el(
      "p",
      {},
      "A seed decides with which weights a run begins and in which order it sees the images; nothing else differs between the runs of one norm. Each draw takes one run of each norm, as a student would train one of each. Numbers are accuracies on the test set.",
    ),
    div("buttons", draw, drawMany),
    dice,
    tally,
    strip,
    note("A dot is a run; a full one was drawn last. The upright line is the mean."),
  );
  showRuns();
  const shares = [0, 0.1, 0.25, 0.5];
  const options = ["never", "one time in ten", "one time in four", "half the time"];
  const intro = question(
    `Over all recorded seeds ${DATA.names[norms[best]]} has the highest mean. You train one network of each norm, once. How often does another norm come out first?`,
    options,
    body,
    async (i, said) => {
      roll(1);
      const upsets = countUpsets();
      const nearest = argmax(shares.map((share) => -Math.abs(share - upsets)));
      return compare(i === nearest, said, [
        `In ${toPercent(upsets)} of all possible draws another norm than ${DATA.names[norms[best]]} comes first: ` +
          `nearest to “${options[nearest]}”. The means lie at most ${extent(means)} points apart; from ` +
          `seed to seed ${DATA.names[norms[best]]} alone ranges over ${extent(runs[best])}. ` +
          "One run of each cannot say which is better.",
      ]);
    },
  );
  return { title: "A seed is a die", element: [intro, body], update: () => {} };
}
