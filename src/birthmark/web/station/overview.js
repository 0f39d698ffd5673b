// SPDX-License-Identifier: Apache-2.0
// The lead page: rigs, places, operators and hours compared, what fails most, and what the rig depends on.

import { loadWords, say } from "/words.js";
import { percent } from "/yields.js";

const RENEW_MS = 15_000;
const PATIENCE_MS = 20_000;
const DAY_MS = 86_400_000;

const find = (selector) => document.querySelector(selector);

async function begin() {
  await loadWords();
  const station = await get("/v1/station");
  find("#rig").textContent = station.rig;
  find("#product").textContent = station.product;
  find("#order").textContent = station.order;
  find("#period").addEventListener("change", renew);
  setInterval(renew, RENEW_MS);
  await renew();
}

async function renew() {
  const since = find("#period").value;
  for (const link of document.querySelectorAll("a[data-csv]")) {
    const { csv } = link.dataset;
    link.href = csv === "attempts" ? `/v1/attempts.csv?since=${since}` : `/v1/yields.csv?since=${since}&by=${csv}`;
  }
  try {
    const [numbers, around] = await Promise.all([get(`/v1/yields?since=${since}`), get("/v1/surroundings")]);
    if (since !== find("#period").value) return; // somebody chose another period meanwhile
    show(numbers);
    showAround(around);
    trouble("");
  } catch (error) {
    trouble(error.finding === undefined ? say("away.title") : `${error.finding}: ${error.message}`);
  }
}

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  const body = await answer.json();
  if (!answer.ok) throw body;
  return body;
}

function trouble(text) {
  find("#trouble").textContent = text;
  find("#trouble").hidden = text === "";
  document.body.dataset.shown = text === "" ? "yes" : "no";
}

function show(numbers) {
  const whole = numbers.yields;
  for (const part of document.querySelectorAll("[data-yield]")) {
    part.querySelector(".big").textContent = percent(whole[part.dataset.yield]);
  }
  counted("first_pass", { passed: whole.first_passed, of: whole.units });
  counted("final", { passed: whole.good, of: whole.units });
  find("[data-yield=throughput] .of").textContent = say("yields.of-attempts", { passed: whole.passed, of: whole.attempts });
  find("#uncounted").textContent = say("yields.uncounted", whole);
  showPlaces(numbers.by.position);
  showHours(numbers.by.hour, new Date(numbers.until) - new Date(numbers.since) > 3 * DAY_MS);
  for (const section of document.querySelectorAll(".compared")) showCompared(section, numbers.by[section.dataset.by]);
  for (const section of document.querySelectorAll(".pareto")) showPareto(section, numbers.pareto[section.dataset.by]);
}

function counted(name, numbers) {
  find(`[data-yield=${name}] .of`).textContent = say("yields.of-units", numbers);
}

/** One row for each fixture at a rig, one column for each of its places. */
function showPlaces(places) {
  const rows = grouped(places, (place) => `${place.rig}  ${place.fixture}`.trim());
  const last = Math.max(0, ...places.map((place) => Number(place.position)));
  const numbers = Array.from({ length: last }, (_, index) => index + 1);
  const head = row([element("td", ""), ...numbers.map((number) => header(String(number), "col"))]);
  const body = [...rows].map(([name, ofRow]) => {
    const byNumber = new Map(ofRow.map((place) => [Number(place.position), place]));
    return row([header(name, "row"), ...numbers.map((number) => placeCell(byNumber.get(number)))]);
  });
  find("#places thead").replaceChildren(head);
  find("#places tbody").replaceChildren(...body);
}

function grouped(each, name) {
  const groups = new Map();
  for (const one of each) groups.set(name(one), [...(groups.get(name(one)) ?? []), one]);
  return groups;
}

function placeCell(place) {
  const cell = element("td", "none");
  if (place === undefined || place.units === 0) {
    cell.textContent = "–";
    return cell;
  }
  cell.className = look(place);
  cell.append(element("b", "", percent(place.first_pass)));
  cell.append(element("small", "", say("yields.of", { passed: place.first_passed, of: place.units })));
  if (place.faults > 0) cell.append(element("small", "", say("overview.faults", { count: place.faults })));
  return cell;
}

function look(group) {
  if (group.stands_out) return "bad";
  return group.first_passed < group.units ? "some" : "good";
}

function showHours(hours, days) {
  const columns = hours.map((hour) => {
    const column = element("li", hour.stands_out ? "bad" : "");
    const bar = element("div", "bar");
    const fill = element("span", "");
    fill.style.setProperty("--share", String(hour.first_pass ?? 0));
    bar.append(fill);
    const begun = new Date(hour.hour);
    const form = days ? { day: "numeric", month: "numeric" } : { hour: "2-digit", minute: "2-digit" };
    const time = element("time", "", begun.toLocaleString(document.documentElement.lang, { ...form, hourCycle: "h23" }));
    time.dateTime = hour.hour;
    column.title = say("yields.of-units", { passed: hour.first_passed, of: hour.units });
    column.append(element("b", "", hours.length > 12 ? "" : percent(hour.first_pass)), bar, time);
    return column;
  });
  find("#hours ol").replaceChildren(...columns);
}

function showCompared(section, groups) {
  const by = section.dataset.by;
  const titles = ["", "", "yields.first-column", "yields.final-column", "yields.throughput-column", "yields.units"];
  const rows = groups.map((group) => {
    const name = header(group[by] === "" ? "–" : group[by], "row");
    name.className = group.stands_out ? "bad" : "";
    const shares = [group.first_pass, group.final, group.throughput].map((share) => element("td", "", percent(share)));
    const line = row([name, shareCell(group.first_pass), ...shares, element("td", "", String(group.units))]);
    line.className = group.stands_out ? "bad" : "";
    return line;
  });
  table(section, titles, rows);
}

function showPareto(section, bars) {
  const by = section.dataset.by;
  const titles = ["", "", "pareto.attempts", "pareto.cumulative"];
  const rows = bars.map((bar) => {
    const name = by === "step" && bar.step !== "" ? say(`step.${bar.step}`) : bar[by] === "" ? "–" : bar[by];
    const line = row([
      header(bar.untried === bar.attempts ? `${name} (${say("pareto.untried")})` : name, "row"),
      shareCell(bar.share),
      element("td", "", String(bar.attempts)),
      element("td", "", percent(bar.cumulative)),
    ]);
    line.className = bar.untried === bar.attempts ? "untried" : "";
    return line;
  });
  table(section, titles, rows);
}

function table(section, titles, rows) {
  const heads = titles.map((title) => (title === "" ? element("td", "") : header(say(title), "col")));
  const head = document.createElement("thead");
  head.append(row(heads));
  const body = document.createElement("tbody");
  body.append(...(rows.length > 0 ? rows : [row([element("td", "", say("overview.nothing"))])]));
  section.querySelector("table").replaceChildren(...(rows.length > 0 ? [head, body] : [body]));
}

function showAround(around) {
  const chip = find("#ca .chip");
  chip.textContent = say(`ca.${around.ca.state}`);
  chip.className = `chip ${around.ca.state}`;
  find("#ca .detail").textContent = around.ca.detail;
  showOrder(around.order);
  const rows = around.outbox.map((each) => {
    const texts = [each.destination, each.waiting, each.oldest_at === "" ? "" : clock(each.oldest_at), each.parked];
    const said = each.configured ? each.reason : say("outbox.unknown");
    const cells = [...texts, said].map((text) => element("td", "", String(text)));
    if (each.waiting > 0) cells[1].className = "waits";
    if (each.parked > 0) cells[3].className = "waits";
    return row(cells);
  });
  find("#outbox tbody").replaceChildren(...rows);
}

function clock(moment) {
  return new Date(moment).toLocaleString(document.documentElement.lang, { hourCycle: "h23" });
}

function shareCell(share) {
  const cell = element("td", "share");
  const bar = element("span", "");
  bar.style.setProperty("--share", String(share ?? 0));
  cell.append(bar);
  return cell;
}

function header(text, scope) {
  const cell = element("th", "", text);
  cell.scope = scope;
  return cell;
}

function row(cells) {
  const line = document.createElement("tr");
  line.append(...cells);
  return line;
}

function element(name, kind, text = "") {
  const made = document.createElement(name);
  if (kind !== "") made.className = kind;
  made.textContent = text;
  return made;
}

begin();

function showOrder(order) {
  const account = order.account;
  const bar = find("#progress progress");
  bar.hidden = account === null;
  find("#progress span").textContent = say("order.passed", order);
  if (account === null) return;
  bar.max = account.ordered;
  bar.value = account.confirmed;
  const told = say(`order.${account.state}`, { ...account, until: clock(account.not_after) });
  find("#progress span").textContent = `${told} ${say("order.here", order)}`;
}
