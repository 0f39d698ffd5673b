// SPDX-License-Identifier: Apache-2.0
// Scans from a keyboard wedge: a scanner that types. They are caught wherever the focus is.
//
// Outside of a field whatever is typed and ended with Enter is a scan, also when a person types it. In a field only
// what no person can type is one: at least SHORTEST keys without a pause between them, after a rest, ended with Enter
// or Tab. Then the field gets back what it held. A scan is never cut: all of it is taken, or nothing.

const SHORTEST = 4;
const LONGEST = 300;
const REST_GAPS = 3; // so many gaps of silence before a scan, when the focus is in a field
const BY_HAND_MS = 4000; // outside of a field: after so long what was typed is forgotten

export class Wedge {
  #keys = "";
  #last = -Infinity;
  #rested = false;
  #fast = true;
  #before = null;
  #forgetting = 0;

  constructor({ gapMs, onScan, onTyping }) {
    this.gapMs = gapMs;
    this.onScan = onScan;
    this.onTyping = onTyping;
  }

  listen() {
    document.addEventListener("keydown", (event) => this.#key(event), { capture: true });
  }

  #key(event) {
    if (event.isComposing || event.metaKey) return;
    const field = fieldOf(event.target);
    const pause = event.timeStamp - this.#last;
    if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) {
      this.#end(event, field, pause);
      return;
    }
    const character = characterOf(event);
    if (character === "") return;
    if (this.#begins(field, pause)) this.#begin(field, pause);
    this.#fast &&= this.#keys === "" || pause <= this.gapMs;
    this.#keys = (this.#keys + character).slice(0, LONGEST);
    this.#last = event.timeStamp;
    // A space would press the button that has the focus; a control character would call the browser.
    if (field === null && (character === " " || event.ctrlKey)) event.preventDefault();
    this.#show(field === null ? this.#keys : "");
  }

  #begins(field, pause) {
    return this.#keys === "" || field !== this.#before?.field || pause > (field === null ? BY_HAND_MS : this.gapMs);
  }

  #begin(field, pause) {
    this.#keys = "";
    this.#fast = true;
    this.#rested = pause >= REST_GAPS * this.gapMs;
    this.#before = { field, value: field?.value };
  }

  #end(event, field, pause) {
    const typed = this.#keys;
    const whole = field === this.#before?.field;
    const scanned = this.#rested && this.#fast && typed.length >= SHORTEST && pause <= this.gapMs;
    this.#keys = "";
    this.#last = event.timeStamp;
    this.#show("");
    if (typed === "" || !whole) return;
    if (field !== null ? !scanned : pause > BY_HAND_MS || (event.key === "Tab" && !this.#fast)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (field !== null) field.value = this.#before.value;
    this.onScan(typed);
  }

  #show(typed) {
    clearTimeout(this.#forgetting);
    if (typed !== "") this.#forgetting = setTimeout(() => this.onTyping(""), BY_HAND_MS);
    this.onTyping(typed);
  }
}

function fieldOf(target) {
  const field = target instanceof Element ? target.closest("input, textarea, select") : null;
  return field?.type === "radio" ? null : field;
}

/** The character that a key types; a control character that a scanner sends as Ctrl and a letter; "" for no character. */
function characterOf(event) {
  if (event.key.length !== 1) return "";
  if (event.getModifierState("AltGraph") || !(event.ctrlKey || event.altKey)) return event.key;
  if (event.altKey) return "";
  const code = event.key.toUpperCase().charCodeAt(0);
  return code >= 0x40 && code <= 0x5f && event.key !== "c" && event.key !== "v" ? String.fromCharCode(code & 0x1f) : "";
}
