// Another episode beside the one that is replayed: which one, and at which of its steps.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useApi } from "../api";
import { figure } from "../core/numbers";
import { link, note } from "../route";
import { Shown } from "../ui/parts";
import { clamp, type EpisodeData, type FramesData, type SeriesData } from "./replay_data";
import { Screen } from "./replay_screen";

export function Second(props: { run: string; episode: number; at: { value: number }; playing: { value: boolean }; align: string; mine: SeriesData | null }): JSX.Element {
  const base = `runs/${props.run}/episodes/${props.episode}`;
  const about = useApi<EpisodeData>(base);
  const frames = useApi<FramesData>(`${base}/frames`);
  const series = useApi<SeriesData>(`${base}/series`, { points: 2000 });
  const own = useSignal(0);
  const at = props.at.value;
  useEffect(() => {
    const last = about.data?.length ?? 0;
    let to = at;
    if (props.align === "end" && props.mine) to = last - ((props.mine.t.at(-1) ?? -1) + 1 - at);
    if (props.align === "time" && props.mine && series.data) {
      const seconds = interpolate(props.mine.t, props.mine.seconds, at);
      to = Math.floor(interpolate(series.data.seconds as number[], series.data.t, seconds));
    }
    own.value = clamp(Math.round(to), 0, last);
  }, [at, about.data, series.data, props.mine, props.align]);
  return (
    <Shown asked={about} what="the other episode">
      {(data) => (
        <Screen
          run={props.run}
          episode={props.episode}
          about={data}
          frames={frames.data}
          at={own}
          playing={props.playing}
          name={`Episode ${props.episode}`}
          title={
            <>
              <a href={link(["run", props.run, "episode", props.episode])}>episode {props.episode}</a>
              <span>
                return <b>{figure(data.row.return)}</b>
              </span>
            </>
          }
        />
      )}
    </Shown>
  );
}

function interpolate(xs: (number | null)[], ys: (number | null)[], x: number): number {
  let i = 0;
  while (i < xs.length - 1 && (xs[i + 1] ?? 0) <= x) i++;
  return ys[i] ?? 0;
}

export function Beside({ run, now }: { run: string; now: string }): JSX.Element {
  const [text, setText] = useState(now.split(":")[1] ?? "");
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        const [, ofRun, number] = /^(?:([0-9A-HJKMNP-TV-Z]{26}):)?(\d+)$/i.exec(text.trim()) ?? [];
        note({ with: number ? `${ofRun && ofRun !== run ? ofRun : "-"}:${number}` : null });
      }}
    >
      <label class="field">
        Beside it
        <input style={{ width: "110px" }} type="text" placeholder="episode" aria-label="Show another episode beside this one" value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
      <button type="submit" class="quiet">
        {now && !text ? "Remove" : "Show"}
      </button>
    </form>
  );
}
