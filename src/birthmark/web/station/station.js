// SPDX-License-Identifier: Apache-2.0
// The station's page: it follows what the rig shows, and hands scans to it. All that it knows comes from the rig.

import { BoardsDialog } from "/boards.js";
import { LeadDialog } from "/lead.js";
import { Wedge } from "/scanning.js";
import { Screen } from "/screen.js";
import { Sounds } from "/sounds.js";
import { loadWords, say } from "/words.js";
import { Yields } from "/yields.js";

const REST_MS = 80; // between two looks, so that a fast line does not keep the page busy
const RETRY_MS = 500; // while the rig is away
const PATIENCE_MS = 30_000; // longer than the rig ever lets a look wait

const sounds = new Sounds();
let screen;

async function begin() {
  const station = await whenThere("/v1/station");
  await loadWords();
  const lead = new LeadDialog(station, post);
  const boards = new BoardsDialog();
  screen = new Screen(station, lead, boards, new Yields(station.rig));
  new Wedge({ gapMs: station.gap_ms, onScan: scan, onTyping: (typed) => screen.typing(typed) }).listen();
  for (const button of document.querySelectorAll("button[data-scan]")) {
    button.addEventListener("click", () => scan(button.dataset.scan));
  }
  const mute = document.querySelector("#mute");
  mute.addEventListener("click", () => {
    sounds.muted = !sounds.muted;
    screen.muted(sounds.muted);
  });
  screen.muted(sounds.muted);
  await follow();
}

async function follow() {
  let seen = null;
  for (;;) {
    try {
      const floor = await get(`/v1/floor?after=${seen?.version ?? ""}`);
      if (seen !== null && session(floor) !== session(seen)) {
        location.reload(); // the rig was started anew, perhaps with another program
        return;
      }
      screen.show(floor);
      const sound = soundOf(seen, floor);
      if (sound !== "") sounds.play(sound);
      seen = floor;
      await pause(REST_MS);
    } catch (error) {
      if (!isAway(error)) throw error;
      screen.away();
      await pause(RETRY_MS);
    }
  }
}

function session(floor) {
  return floor.version.split("-")[0];
}

/** What is to be heard about the difference between two looks; nothing about what was there before this page. */
function soundOf(before, now) {
  if (before === null) return "";
  if (now.told.number !== 0 && now.told.number !== before.told.number) return "refused";
  if (now.phase === "shown" && (before.phase !== "shown" || before.panel !== now.panel)) return worst(now);
  const taken = (floor) => floor.places.filter((place) => place.look === "scanned").length;
  return now.operator !== before.operator || (now.phase === "ready" && taken(now) > taken(before)) ? "taken" : "";
}

function worst(floor) {
  const looks = floor.places.map((place) => place.look);
  if (floor.told.finding !== "") return "fail";
  return ["quarantine", "fail"].find((look) => looks.includes(look)) ?? "pass";
}

async function scan(typed) {
  try {
    const answer = await post("/v1/scan", { typed });
    // The rig shows what it refuses as a scan; anything else is about the request itself.
    if (!answer.ok && answer.status !== 409 && answer.status !== 422) screen.lost(typed, (await answer.json()).message);
  } catch (error) {
    if (!isAway(error)) throw error;
    screen.lost(typed, say("away.scan"));
    sounds.play("refused");
  }
}

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new TypeError(`${path}: ${answer.status}`);
  return answer.json();
}

function post(path, body) {
  const headers = { "content-type": "application/json" };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function whenThere(path) {
  for (;;) {
    try {
      return await get(path);
    } catch (error) {
      if (!isAway(error)) throw error;
      await pause(RETRY_MS);
    }
  }
}

/** fetch says TypeError when nobody answers, and TimeoutError or AbortError when nobody answers in time. */
function isAway(error) {
  return error instanceof TypeError || error.name === "TimeoutError" || error.name === "AbortError";
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

begin();
