// SPDX-License-Identifier: Apache-2.0
// The last boards of this station: a strip beside the places, and a table to look at.

import { clockTime, say, seconds } from "/words.js";

const LOOKS = { FAIL: "fail", QUARANTINE: "quarantine" };

export class BoardsDialog {
  #strip = document.querySelector("#last ol");
  #dialog = document.querySelector("#boards");
  #boards = [];

  constructor() {
    document.querySelector("#last-open").addEventListener("click", () => this.#open());
    this.#dialog.querySelector(".cancel").addEventListener("click", () => this.#dialog.close());
  }

  show(boards) {
    this.#boards = boards;
    const marks = [...boards].reverse().map((board) => {
      const mark = document.createElement("li");
      mark.className = LOOKS[board.verdict] ?? "pass";
      return mark;
    });
    this.#strip.replaceChildren(...marks);
    if (this.#dialog.open) this.#fill();
  }

  #open() {
    this.#fill();
    this.#dialog.showModal();
  }

  #fill() {
    this.#dialog.querySelector("tbody").replaceChildren(...this.#boards.map(row));
  }
}

function row(board) {
  const line = document.createElement("tr");
  const texts = [clockTime(board.at), board.unit, board.position, say(`verdict.${board.verdict}`)];
  for (const text of [...texts, seconds(board.board_s), board.finding]) {
    line.insertCell().textContent = text;
  }
  line.cells[3].className = `verdict ${LOOKS[board.verdict] ?? "pass"}`;
  return line;
}
