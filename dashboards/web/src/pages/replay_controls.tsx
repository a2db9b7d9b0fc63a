// The player's slider, buttons and speed, with marks where rewards stand out and where steps are missing.

import type { JSX } from "preact";
import { float } from "../core/numbers";
import { Icon } from "../ui/parts";
import { looped, type SeriesData, sped, SPEEDS } from "./replay_data";

export function Controls(props: {
  t: { value: number };
  last: number;
  playing: { value: boolean };
  toggle: () => void;
  seek: (t: number) => void;
  marks: SeriesData["marks"];
  gaps: [number, number][];
  fps: number;
}): JSX.Element {
  const { t, last, seek } = props;
  const span = Math.max(1, last);
  return (
    <>
      <div class="scrub">
        <svg viewBox={`0 0 1000 9`} preserveAspectRatio="none" aria-hidden="true">
          {props.gaps.map(([a, b]) => (
            <rect key={a} x={(a / span) * 1000} width={Math.max(3, ((b - a + 1) / span) * 1000)} y="0" height="9" fill="var(--bad)" opacity="0.5" />
          ))}
          {props.marks.map((mark) => (
            <rect key={mark.t} x={(mark.t / span) * 1000 - 1} width="2.5" y={(float(mark.reward) ?? 0) >= 0 ? 0 : 4.5} height="4.5" fill={(float(mark.reward) ?? 0) >= 0 ? "var(--s3)" : "var(--s5)"} />
          ))}
        </svg>
        <input
          type="range"
          min="0"
          max={last}
          step="1"
          value={t.value}
          aria-label="Time in the episode"
          aria-valuetext={`t ${t.value} of ${last}`}
          onInput={(event) => seek(Number(event.currentTarget.value))}
        />
      </div>
      <div class="keys" role="group" aria-label="Playing">
        <button type="button" class="round" aria-label="One step back" onClick={() => seek(t.value - 1)}>
          <Icon name="back" />
        </button>
        <button type="button" class="round main" aria-label={props.playing.value ? "Pause" : "Play"} onClick={props.toggle}>
          <Icon name={props.playing.value ? "pause" : "play"} />
        </button>
        <button type="button" class="round" aria-label="One step on" onClick={() => seek(t.value + 1)}>
          <Icon name="next" />
        </button>
        <button type="button" class="round" aria-label="Loop" aria-pressed={looped.value} style={looped.value ? { color: "var(--accent)", borderColor: "var(--accent)" } : {}} onClick={() => (looped.value = !looped.value)}>
          <Icon name="loop" />
        </button>
        <label class="field">
          t
          <input type="number" min="0" max={last} value={t.value} onChange={(event) => seek(Number(event.currentTarget.value))} aria-label="Go to step" />
          <span class="tabnum">of {last}</span>
        </label>
        <label class="field push">
          <span class="tabnum">{Math.round(props.fps * sped.value * 10) / 10}/s</span>
          <select aria-label="Speed" value={String(sped.value)} onChange={(event) => (sped.value = Number(event.currentTarget.value))}>
            {SPEEDS.map((speed) => (
              <option key={speed} value={String(speed)}>
                {speed}×
              </option>
            ))}
          </select>
        </label>
      </div>
    </>
  );
}
