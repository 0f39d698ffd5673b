// SPDX-License-Identifier: Apache-2.0
// A sound for each verdict, told apart by pitch, rhythm and colour of the tone; none needs a file.

// Each tone: frequency in Hz, beginning and length in seconds.
const TUNES = {
  taken: { wave: "sine", tones: [[1320, 0, 0.05]] },
  pass: { wave: "sine", tones: [[660, 0, 0.1], [990, 0.11, 0.16]] },
  fail: { wave: "square", tones: [[220, 0, 0.22], [165, 0.26, 0.34]] },
  quarantine: { wave: "sawtooth", tones: [[523, 0, 0.12], [392, 0.15, 0.12], [523, 0.3, 0.12], [392, 0.45, 0.12]] },
  refused: { wave: "square", tones: [[131, 0, 0.12], [131, 0.17, 0.12]] },
};
const LOUDNESS = { sine: 0.5, square: 0.16, sawtooth: 0.2 };
const EDGE_S = 0.008; // so that a tone does not click
const MUTED = "birthmark-muted";

export class Sounds {
  #context = null;

  get muted() {
    return localStorage.getItem(MUTED) === "yes";
  }

  set muted(muted) {
    localStorage.setItem(MUTED, muted ? "yes" : "no");
  }

  play(name) {
    document.documentElement.dataset.sound = name; // what was to be heard last, heard or not
    if (this.muted) return;
    this.#context ??= new AudioContext();
    if (this.#context.state === "suspended") this.#context.resume().catch(() => {});
    const tune = TUNES[name];
    for (const [hertz, begin, length] of tune.tones) this.#tone(tune.wave, hertz, begin, length);
  }

  #tone(wave, hertz, begin, length) {
    const context = this.#context;
    const tone = new OscillatorNode(context, { type: wave, frequency: hertz });
    const volume = new GainNode(context, { gain: 0 });
    const at = context.currentTime + begin;
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(LOUDNESS[wave], at + EDGE_S);
    volume.gain.setValueAtTime(LOUDNESS[wave], at + length - EDGE_S);
    volume.gain.linearRampToValueAtTime(0, at + length);
    tone.connect(volume).connect(context.destination);
    tone.start(at);
    tone.stop(at + length);
  }
}
