// SPDX-License-Identifier: Apache-2.0
// A lead's decision about one unit: let out of quarantine, or begin anew. With a name, a PIN and a reason.

import { advise, clockTime, say } from "/words.js";

const HISTORY_SHOWN = 6;

export class LeadDialog {
  #dialog = document.querySelector("#lead");
  #unit = "";

  constructor(station, post) {
    this.leads = station.leads;
    this.post = post;
    const names = this.#dialog.querySelector("#lead-name");
    names.replaceChildren(...station.leads.map((name) => new Option(name, name)));
    this.#dialog.querySelector(".cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.querySelector(".decide").addEventListener("click", () => this.#decide());
    this.#dialog.addEventListener("close", () => this.#forget());
  }

  async open(unit, operator) {
    this.#unit = unit;
    this.#forget();
    this.#dialog.querySelector(".unit").textContent = unit;
    if (this.leads.includes(operator)) this.#dialog.querySelector("#lead-name").value = operator;
    this.#dialog.showModal();
    this.#dialog.querySelector("#lead-pin").focus();
    const answer = await fetch(`/v1/units/${encodeURIComponent(unit)}`);
    const record = await answer.json();
    if (answer.ok) this.#showRecord(record);
    else this.#refused(record);
  }

  #showRecord(record) {
    const state = say(`state.${record.state}`);
    this.#dialog.querySelector(".state").textContent = say("lead.state", { ...record, state });
    const lines = record.history.slice(-HISTORY_SHOWN).map((change) => {
      const line = document.createElement("li");
      const why = change.finding !== "" ? change.finding : change.by !== "" ? `${change.by}: ${change.reason}` : "";
      const parts = [clockTime(change.changed_at), say(`state.${change.state}`), change.rig, why];
      line.textContent = parts.filter((part) => part !== "").join("  ·  ");
      return line;
    });
    this.#dialog.querySelector(".history").replaceChildren(...lines);
    const override = this.#act("override");
    override.disabled = record.state !== "quarantined";
    this.#act(override.disabled ? "rework" : "override").checked = true;
  }

  async #decide() {
    const value = (id) => this.#dialog.querySelector(id).value;
    const act = this.#dialog.querySelector("input[name=act]:checked")?.value ?? "rework";
    const body = { lead: value("#lead-name"), pin: value("#lead-pin"), reason: value("#lead-reason") };
    try {
      const answer = await this.post(`/v1/units/${encodeURIComponent(this.#unit)}/${act}`, body);
      if (answer.ok) this.#dialog.close();
      else this.#refused(await answer.json());
    } catch {
      this.#dialog.querySelector(".refusal").textContent = say("away.title");
    }
  }

  #refused(told) {
    this.#dialog.querySelector(".refusal").textContent = `${advise(told.finding)} (${told.message})`;
    const pin = this.#dialog.querySelector("#lead-pin");
    pin.value = "";
    pin.focus();
  }

  #forget() {
    for (const id of ["#lead-pin", "#lead-reason"]) this.#dialog.querySelector(id).value = "";
    for (const name of [".refusal", ".state", ".history"]) this.#dialog.querySelector(name).textContent = "";
    this.#act("override").disabled = false;
  }

  #act(name) {
    return this.#dialog.querySelector(`input[value=${name}]`);
  }
}
