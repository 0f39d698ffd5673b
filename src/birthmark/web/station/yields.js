// SPDX-License-Identifier: Apache-2.0
// The yields of this rig in the shift that runs, and what failed most: asked when a panel has ended, and now and then.

import { say } from "/words.js";

const RENEW_MS = 60_000;
const PATIENCE_MS = 10_000;
const BARS = 2;

export class Yields {
  #section = document.querySelector("#yields");
  #panel = -1;

  constructor(rig) {
    this.path = `/v1/yields?since=shift&rig=${encodeURIComponent(rig)}`;
    setInterval(() => this.#renew(), RENEW_MS);
  }

  /** Look anew when a panel has ended since the last look. */
  show(floor) {
    const ended = floor.phase === "running" ? floor.panel - 1 : floor.panel;
    if (ended === this.#panel) return;
    this.#panel = ended;
    this.#renew();
  }

  async #renew() {
    try {
      const answer = await fetch(this.path, { signal: AbortSignal.timeout(PATIENCE_MS) });
      // A store that is away is said by the next panel; until then there is no number rather than an old one.
      this.#section.hidden = !answer.ok;
      if (answer.ok) this.#fill(await answer.json());
    } catch {
      this.#section.hidden = true;
    }
  }

  #fill(numbers) {
    for (const value of this.#section.querySelectorAll("[data-yield]")) {
      value.textContent = percent(numbers.yields[value.dataset.yield]);
    }
    const bars = numbers.pareto.finding.slice(0, BARS).map((bar) => {
      const line = document.createElement("li");
      line.style.setProperty("--share", String(bar.share));
      const untried = bar.untried === bar.attempts;
      line.className = untried ? "untried" : "";
      line.append(text(untried ? `${bar.finding} (${say("pareto.untried")})` : bar.finding), text(String(bar.attempts)));
      return line;
    });
    this.#section.querySelector(".bars").replaceChildren(...bars);
  }
}

/** Rounded down: what is not all is not shown as all. */
export function percent(share) {
  if (share === null) return "\u2013";
  const digits = share === 1 ? 0 : 1;
  const form = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return (Math.floor(share * 1000) / 1000).toLocaleString(document.documentElement.lang, form);
}

function text(content) {
  const made = document.createElement("span");
  made.textContent = content;
  return made;
}
