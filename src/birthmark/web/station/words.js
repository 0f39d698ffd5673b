// SPDX-License-Identifier: Apache-2.0
// The page's words, in the language that rig.toml names.

let language = { words: {}, advice: {} };

export async function loadWords() {
  const answer = await fetch("/language.json");
  if (!answer.ok) throw new Error(`language.json: ${answer.status}`);
  language = await answer.json();
  document.documentElement.lang = language.language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = say(element.dataset.text);
  }
}

/** The text of a key, its {names} filled in. */
export function say(key, values = {}) {
  const text = language.words[key];
  if (text === undefined) {
    console.error(`no word for ${key}`);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** What to do about a finding: its own advice, else that of the longest beginning of it, else the general one. */
export function advise(finding) {
  const parts = finding.split(".");
  let key = finding;
  while (language.advice[key] === undefined && parts.length > 0) {
    parts.pop();
    key = [...parts, "*"].join(".");
  }
  return language.advice[key];
}

export function seconds(value, digits = 2) {
  return value.toLocaleString(language.language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function clockTime(moment) {
  return new Date(moment).toLocaleTimeString(language.language, { hourCycle: "h23" });
}
