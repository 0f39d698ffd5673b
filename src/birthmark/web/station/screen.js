// SPDX-License-Identifier: Apache-2.0
// Draws what the rig shows. Text is only ever set as text: nothing that was scanned becomes markup.

import { advise, say, seconds } from "/words.js";

const TILE_SHAPE = 1.35; // width to height that a tile looks best with
const GAUGE_TAKTS = 1.5; // the gauge ends at so many takts
const CLOCK_MS = 100;
const LETTERS_MIN = 5; // shorter words than this become no larger

const find = (selector) => document.querySelector(selector);

export class Screen {
  #tiles = [];
  #floor = null;
  #beganMs = 0;

  constructor(station, lead, boards, yields) {
    this.station = station;
    this.lead = lead;
    this.boards = boards;
    this.yields = yields;
    find("#rig").textContent = station.rig;
    find("#product").textContent = station.product;
    find("#order").textContent = station.order;
    find("#takt-s").textContent = say("takt.of", { takt: seconds(station.takt_s, 1) });
    document.title = station.rig;
    this.#tiles = Array.from({ length: station.positions }, (_, index) => tile(index + 1));
    find("#places").replaceChildren(...this.#tiles.map((each) => each.element));
    new ResizeObserver(() => this.#arrange()).observe(find("#places"));
    setInterval(() => this.#tick(), CLOCK_MS);
  }

  show(floor) {
    this.#floor = floor;
    this.#beganMs = performance.now() - 1000 * (floor.running_s ?? 0);
    document.body.dataset.phase = floor.phase;
    floor.places.forEach((place, index) => this.#tiles[index].show(place));
    const next = floor.phase === "ready" && floor.operator !== "" ? nextPlace(floor) : 0;
    this.#tiles.forEach(({ element }, index) => element.toggleAttribute("data-next", index + 1 === next));
    this.#header(floor);
    this.#band(floor);
    this.#todo(floor);
    this.#pace(floor);
    this.boards.show(floor.last);
    this.yields.show(floor);
  }

  /** The rig does not answer: everything that is shown may be out of date, and says so. */
  away() {
    document.body.dataset.phase = "away";
    band("away", { headline: say("away.title"), advice: say("away.advice") });
  }

  /** A scan that the rig never got, or could not read as a request. */
  lost(typed, why) {
    band("refused", { headline: say("band.refused"), scanned: typed, advice: why });
  }

  typing(typed) {
    find("#typing output").textContent = typed;
  }

  muted(muted) {
    const button = find("#mute");
    button.setAttribute("aria-pressed", String(muted));
    button.querySelector("use").setAttribute("href", muted ? "#icon-silent" : "#icon-sound");
    button.querySelector("span").textContent = say(muted ? "sound.off" : "sound.on");
  }

  #header(floor) {
    const role = floor.role === "lead" ? ` (${say("role.lead")})` : "";
    find("#operator span").textContent = floor.operator === "" ? say("operator.nobody") : floor.operator + role;
    find("#operator").classList.toggle("alarm", floor.operator === "");
    optional("#outbox", floor.outbox > 0, say("outbox.waiting", { count: floor.outbox }));
    optional("#parked", floor.parked > 0, say("outbox.parked", { count: floor.parked }));
    optional("#behind", floor.behind !== "", say("mes.behind"));
    optional("#assumed", floor.assumed !== "", say("interlock.assumed"));
    optional("#reader", floor.reader !== "", `${say("reader.away")}: ${floor.reader}`);
    const free = floor.phase !== "running";
    for (const button of document.querySelectorAll("button.command")) button.disabled = !free;
  }

  #band(floor) {
    if (floor.told.finding !== "") {
      const { finding, scanned, text } = floor.told;
      const headline = say(scanned === "" ? "band.stopped" : "band.refused");
      band("refused", { headline, scanned, advice: advise(finding), detail: `${finding}: ${text}` });
    } else if (floor.held.finding !== "") {
      const { finding, text } = floor.held;
      // Whatever keeps the CA away, the line goes on by itself; only what is the rig's own has advice of its own.
      const advice = /^(line|cfx)\./.test(finding) ? advise(finding) : say("band.held-advice");
      band("held", { headline: say("band.held"), advice, detail: `${finding}: ${text}` });
    } else {
      band(...PHASES[floor.phase](floor));
    }
  }

  #todo(floor) {
    const wrong = floor.places.filter((place) => place.finding !== "");
    find("#todo").hidden = wrong.length === 0;
    const known = wrong.map((place) => `${place.number} ${place.unit} ${place.finding} ${place.decided}`).join("\n");
    const list = find("#todo ul");
    if (list.dataset.known === known) return; // so that a button that has the focus keeps it
    list.dataset.known = known;
    const findings = [...new Set(wrong.map((place) => place.finding))];
    list.replaceChildren(...findings.map((finding) => this.#task(finding, wrong.filter((place) => place.finding === finding))));
  }

  /** One card for each finding: what to do, and at which places. */
  #task(finding, places) {
    const task = element("li", places[0].look);
    task.append(element("p", "advice", advise(finding)), element("p", "detail", finding));
    task.append(...places.map((place) => this.#taskPlace(place)));
    return task;
  }

  #taskPlace(place) {
    const row = element("p", "at");
    row.title = place.reason;
    row.append(element("b", "number", String(place.number)), element("b", "unit", place.unit));
    if (place.decided !== "") {
      row.append(element("span", "decided", say("todo.decided", { what: place.decided })));
    } else if (this.station.leads.length > 0) {
      const button = element("button", "lead-open", say("todo.lead"));
      button.type = "button";
      button.addEventListener("click", () => this.lead.open(place.unit, this.#floor.operator));
      row.append(button);
    }
    return row;
  }

  #pace(floor) {
    find("#units").textContent = String(floor.units_last_hour);
    const { count, p50_s, p95_s } = floor.panels;
    find("#spread").textContent = count === 0 ? "" : say("takt.spread", { count, p50: seconds(p50_s), p95: seconds(p95_s) });
    const rows = Object.entries(floor.steps).map(([step, times]) => {
      const row = document.createElement("tr");
      const name = element("th", "", say(`step.${step}`));
      name.scope = "row";
      row.append(name, element("td", "", milliseconds(times.p50_s)), element("td", "", milliseconds(times.p95_s)));
      return row;
    });
    find("#steps tbody").replaceChildren(...rows);
    find("#steps").hidden = rows.length === 0;
    this.#tick();
  }

  /** The running panel's time goes on between two looks. */
  #tick() {
    if (this.#floor === null || document.body.dataset.phase === "away") return;
    const running = this.#floor.running_s !== null;
    const panelS = running ? (performance.now() - this.#beganMs) / 1000 : this.#floor.panel_s;
    find("#panel-s").textContent = panelS === 0 ? "–" : seconds(panelS, running ? 1 : 2);
    const gauge = find("#gauge");
    const takt = this.station.takt_s;
    gauge.style.setProperty("--part", String(Math.min(1, panelS / (takt * GAUGE_TAKTS))));
    gauge.style.setProperty("--mark", String(1 / GAUGE_TAKTS));
    gauge.setAttribute("aria-valuemax", String(takt * GAUGE_TAKTS));
    gauge.setAttribute("aria-valuenow", panelS.toFixed(2));
    find("#takt").classList.toggle("over", panelS > takt);
  }

  /** As many columns as let the tiles be large and of a good shape, and leave little room unused. */
  #arrange() {
    const { width, height } = find("#places").getBoundingClientRect();
    const count = this.#tiles.length;
    let best = { size: 0, columns: 1 };
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const size = Math.min(width / columns, (height / rows) * TILE_SHAPE) * (count / (columns * rows));
      if (size > best.size) best = { size, columns };
    }
    find("#places").style.setProperty("--columns", String(best.columns));
    find("#places").style.setProperty("--rows", String(Math.ceil(count / best.columns)));
  }
}

const PHASES = {
  ready(floor) {
    if (floor.operator === "") return ["ready", { headline: say("band.badge"), advice: say("band.badge-advice") }];
    const next = nextPlace(floor);
    const headline = say("band.scan", { place: next, places: floor.places.length });
    return ["ready", { headline, advice: next > 1 ? say("band.scan-advice") : "" }];
  },
  running: () => ["running", { headline: say("band.running"), advice: say("band.running-advice") }],
  shown(floor) {
    const count = (look) => floor.places.filter((place) => place.look === look).length;
    const looks = ["pass", "fail", "quarantine", "skip"].filter((look) => count(look) > 0);
    const headline = looks.map((look) => `${count(look)} ${say(`look.${look}`)}`).join("   ");
    const kind = ["quarantine", "fail"].find((look) => looks.includes(look)) ?? "pass";
    return [kind, { headline, advice: say(kind === "pass" ? "band.next" : "band.set-aside") }];
  },
};

/** The number of the place that the next scan fills; 0 when none is free. */
function nextPlace(floor) {
  return floor.places.findIndex((place) => place.look === "empty") + 1;
}

function band(kind, { headline, scanned = "", advice = "", detail = "" }) {
  const section = find("#band");
  section.className = kind;
  const texts = { headline, scanned, advice, detail };
  for (const [name, text] of Object.entries(texts)) {
    const part = section.querySelector(`.${name}`);
    if (part.textContent !== text) part.textContent = text;
    part.hidden = text === "";
  }
}

function tile(number) {
  const place = element("li", "empty");
  const icon = svgIcon();
  const parts = {
    number: element("span", "number", String(number)),
    word: element("span", "word"),
    unit: element("span", "unit"),
    more: element("span", "more"),
  };
  place.append(parts.number, icon.svg, parts.word, parts.unit, parts.more);
  const show = (now) => {
    if (place.className !== now.look) place.className = now.look;
    icon.use.setAttribute("href", `#icon-${now.look}`);
    const texts = { word: say(`look.${now.look}`), unit: now.unit, more: moreOf(now) };
    for (const [name, text] of Object.entries(texts)) {
      if (parts[name].textContent !== text) parts[name].textContent = text;
    }
    place.style.setProperty("--letters", String(Math.max(LETTERS_MIN, texts.word.length)));
  };
  return { element: place, show };
}

/** The small print of a tile: the step that goes on, how it passed, or which rule it broke. */
function moreOf(place) {
  if (place.decided !== "") return place.decided;
  if (place.look === "working") return say(`step.${place.word}`);
  if (place.finding !== "") return place.finding;
  if (place.look === "pass") return `${say(`verdict.${place.word}`)} · ${seconds(place.board_s)}\u00a0s`;
  return "";
}

function svgIcon() {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  svg.append(use);
  return { svg, use };
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}

function optional(selector, shown, text) {
  find(selector).hidden = !shown;
  find(selector).textContent = shown ? text : "";
}

function milliseconds(value) {
  return (1000 * value).toFixed(value < 0.1 ? 1 : 0);
}
