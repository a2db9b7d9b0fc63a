// The fleet now: a tile for each stream in view, by what it is: picture, grid, graph or text.

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { kept } from "../choices";
import { count } from "../core/numbers";
import type { Status, Stream } from "../core/wire";
import { note, place } from "../route";
import { Empty } from "../ui/parts";
import type { LiveRun } from "./live_link";
import { LiveHead, Unlive, useLive } from "./live_state";
import { Fleet, Mosaic, sideOf, size } from "./live_tiles";
import { Vitals } from "./live_vitals";

const paused = kept("live.paused", false);

export function Live({ run }: { run: string }): JSX.Element {
  const live = useLive(run);
  const { env = "", sort = "env", state = "" } = place.value.query;
  const instead = Unlive({ live, run });
  const status = live.status.value;
  const shown = useMemo(() => chosenStreams(live.streams.value, status, env, state, sort), [live.streams.value, sort === "starved" || state ? status : null, env, state, sort]);
  const limit = live.hello.value?.limits.tiles ?? 64;
  const tiles = shown.slice(0, limit);
  const mosaic = live.layout.value !== null && tiles.filter((stream) => stream.kind === "rgb").length > (live.hello.value?.limits.mosaic_above ?? 16);
  const [inView, setInView] = useState<number[]>([]);
  const wanted = paused.value ? [] : mosaicWanted(tiles, live) ? tiles.map((stream) => stream.index) : inView;
  useEffect(() => {
    live.link.want({ sub: wanted, size: sideOf(live), mode: "auto", lossless: false, steps: [] });
  }, [live, wanted.join(), sideOf(live)]);
  useEffect(() => () => live.link.want({ sub: [] }), [live]); // nobody looks any more: nothing is sampled
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      if ((event.target as Element).closest("input,select,textarea,button,a") && event.key === " ") return;
      if ((event.target as Element).closest("input,select,textarea")) return;
      if (event.key === " ") paused.value = !paused.peek();
      else if (event.key.toLowerCase() === "s") note({ sort: sort === "starved" ? null : "starved" });
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, [sort]);
  if (instead)
    return (
      <>
        <h1>Live</h1>
        {instead}
      </>
    );
  const envs = [...new Set(live.streams.value.map((stream) => stream.env))];
  return (
    <>
      <LiveHead live={live} title={<h1>Live</h1>}>
        {envs.length > 1 && (
          <label class="field">
            Env
            <select value={env} onChange={(event) => note({ env: event.currentTarget.value })}>
              <option value="">all</option>
              {envs.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        <label class="field">
          Show
          <select value={state} onChange={(event) => note({ state: event.currentTarget.value })}>
            <option value="">all</option>
            <option value="live">live</option>
            <option value="starved">starved</option>
          </select>
        </label>
        <label class="field">
          Sort
          <select value={sort} onChange={(event) => note({ sort: event.currentTarget.value })}>
            <option value="env">by number</option>
            <option value="starved">starved first</option>
            <option value="return">by return</option>
          </select>
        </label>
        <label class="field">
          Size
          <select value={String(size.value)} onChange={(event) => (size.value = Number(event.currentTarget.value))}>
            <option value="0">as set</option>
            <option value="96">S</option>
            <option value="160">M</option>
            <option value="320">L</option>
          </select>
        </label>
        <button type="button" class="quiet" aria-pressed={paused.value} onClick={() => (paused.value = !paused.value)}>
          {paused.value ? "Go on" : "Pause"}
        </button>
      </LiveHead>
      <div class="with-side">
        <div class="stack">
          {!tiles.length ? (
            <Empty title={live.streams.value.length ? "No stream fits" : "Waiting for the first environment"}>
              <p>{live.streams.value.length ? "Change the filter above." : "Workers are starting; tiles appear by themselves."}</p>
            </Empty>
          ) : mosaic ? (
            <Mosaic live={live} run={run} streams={tiles} status={status} />
          ) : (
            <Fleet live={live} run={run} streams={tiles} status={status} onView={setInView} />
          )}
          {shown.length > limit && <p class="soft">Showing {limit} of {count(shown.length)} streams: filter or sort to see others.</p>}
          {live.hello.value?.run.frames === "none" && live.streams.value.every((stream) => stream.kind === "text") && (
            <p class="soft">This run makes no pictures (frames = none) and its adapter knows no grid or graph, so that tiles show its numbers as text.</p>
          )}
        </div>
        <div class="stack">
          <Vitals live={live} />
        </div>
      </div>
    </>
  );
}

function mosaicWanted(tiles: Stream[], live: LiveRun): boolean {
  return tiles.filter((stream) => stream.kind === "rgb").length > (live.hello.value?.limits.mosaic_above ?? 16);
}

function chosenStreams(streams: Stream[], status: Status | null, env: string, state: string, sort: string): Stream[] {
  const columns = status?.streams;
  const at = new Map(columns?.index.map((index, i) => [index, i]));
  const of = <K extends keyof Status["streams"]>(stream: Stream, name: K): Status["streams"][K][number] | undefined => {
    const i = at.get(stream.index);
    return i === undefined ? undefined : (columns as any)[name][i];
  };
  const kept_ = streams.filter((stream) => (!env || stream.env === env) && (!state || of(stream, "state") === state));
  if (sort === "starved") return [...kept_].sort((a, b) => Number(of(b, "starved_s") ?? 0) - Number(of(a, "starved_s") ?? 0) || a.index - b.index);
  if (sort === "return") return [...kept_].sort((a, b) => Number(of(b, "return") ?? -Infinity) - Number(of(a, "return") ?? -Infinity) || a.index - b.index);
  return kept_;
}
