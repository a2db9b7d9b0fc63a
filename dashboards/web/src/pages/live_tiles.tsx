// Tiles of a fleet, one by one or as a mosaic.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { kept } from "../choices";
import { figure, percent, seconds } from "../core/numbers";
import type { Status, Stream } from "../core/wire";
import { link } from "../route";
import { Badge, Loading } from "../ui/parts";
import { LiveCanvas } from "./live_canvas";
import type { LiveRun } from "./live_link";
import { STILL_S, stateOf } from "./live_state";

/** Longer side of tiles in pixels; 0: as `ui_controls.tile_px` says. */
export const size = kept("live.size", 0);

export function sideOf(live: LiveRun): number {
  return size.value || (live.hello.value?.view.size ?? 160);
}

export function Fleet(props: { live: LiveRun; run: string; streams: Stream[]; status: Status | null; onView: (streams: number[]) => void }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const keys = props.streams.map((stream) => stream.index).join();
  useEffect(() => {
    const seen = new Set<number>();
    const watcher = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) {
          const index = Number((entry.target as HTMLElement).dataset.stream);
          if (entry.isIntersecting) seen.add(index);
          else seen.delete(index);
        }
        props.onView([...seen].sort((a, b) => a - b));
      },
      { rootMargin: "80px" },
    );
    for (const tile of box.current?.querySelectorAll("[data-stream]") ?? []) watcher.observe(tile);
    return () => watcher.disconnect();
  }, [keys]);
  return (
    <div class="fleet" ref={box} style={{ "--tile": `${sideOf(props.live)}px` }} onKeyDown={arrows}>
      {props.streams.map((stream) => (
        <Tile key={stream.index} live={props.live} run={props.run} stream={stream} status={props.status} />
      ))}
    </div>
  );
}

/** Arrow keys go from tile to tile, as they lie. */
function arrows(event: KeyboardEvent): void {
  const ways: Record<string, [number, number]> = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  const way = ways[event.key];
  const from = (event.target as HTMLElement).closest("a");
  if (!way || !from) return;
  event.preventDefault();
  const all = [...(event.currentTarget as HTMLElement).querySelectorAll("a")];
  const here = from.getBoundingClientRect();
  const columns = all.filter((tile) => Math.abs(tile.getBoundingClientRect().top - all[0].getBoundingClientRect().top) < here.height / 2).length || 1;
  all[all.indexOf(from) + way[0] + way[1] * columns]?.focus();
}

function Tile(props: { live: LiveRun; run: string; stream: Stream; status: Status | null }): JSX.Element {
  const { live, stream } = props;
  const now = stateOf(props.status, stream.index);
  const starved = live.starvedShare(stream.index);
  const still = live.stillFor(stream.index);
  return (
    <a class="tile" href={link(["run", props.run, "live", stream.index])} data-stream={stream.index} aria-label={`Environment ${stream.sub_environment}, ${now.state.replace("_", " ")}, return ${figure(now.return)}`}>
      <LiveCanvas live={live} stream={stream} />
      <span class="name">
        <span>
          env {stream.sub_environment}
          {stream.agent !== "agent_0" && ` ${stream.agent}`}
        </span>
        <span class="soft">
          {[now.return !== null && `return ${figure(now.return)}`, now.t !== null && `t ${now.t}`].filter(Boolean).join(" · ")}
        </span>
        {now.state === "starved" && <Badge state="starved" />}
      </span>
      {starved > 0.02 && <span class="name soft">starved {percent(starved)} of 30 s</span>}
      {still >= STILL_S && <span class="name soft">not stepping for {seconds(Math.floor(still))}</span>}
    </a>
  );
}

export function Mosaic(props: { live: LiveRun; run: string; streams: Stream[]; status: Status | null }): JSX.Element {
  const { live } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const layout = live.layout.value;
  useEffect(() => {
    live.paintMosaic((image, number) => {
      const to = canvas.current;
      if (!to) return;
      if (to.width !== image.width || to.height !== image.height) {
        to.width = image.width;
        to.height = image.height;
      }
      const context = to.getContext("2d");
      context?.drawImage(image, 0, 0);
      const now = live.layout.value;
      if (!now || now.number !== number || !now.columns) return;
      const rows = Math.ceil(now.streams.length / now.columns);
      const [width, height] = [image.width / now.columns, image.height / rows];
      context?.clearRect(width * (now.streams.length - (rows - 1) * now.columns), height * (rows - 1), image.width, height); // cells of nobody are black
    });
    return () => live.paintMosaic(null);
  }, [live]);
  if (!layout) return <Loading what="the mosaic" />;
  const byIndex = new Map(props.streams.map((stream) => [stream.index, stream]));
  const rows = Math.ceil(layout.streams.length / layout.columns);
  const others = props.streams.filter((stream) => !layout.streams.includes(stream.index));
  return (
    <>
      <div class="mosaic" style={{ maxWidth: `${layout.size[0] * 1.6}px` }}>
        <canvas ref={canvas} width={layout.size[0]} height={layout.size[1]} aria-hidden="true" />
        <div class="cells" role="group" aria-label={`${layout.streams.length} environments`} style={{ gridTemplateColumns: `repeat(${layout.columns}, 1fr)`, gridTemplateRows: `repeat(${rows}, 1fr)` }} onKeyDown={arrows}>
          {layout.streams.map((index) => {
            const now = stateOf(props.status, index);
            const stream = byIndex.get(index) ?? live.streams.value[index];
            return (
              <a key={index} href={link(["run", props.run, "live", index])} aria-label={`Environment ${stream?.sub_environment ?? index}, ${now.state.replace("_", " ")}, return ${figure(now.return)}`}>
                {stream?.sub_environment ?? index}
                {now.state === "starved" && " ▲"}
              </a>
            );
          })}
        </div>
      </div>
      {others.length > 0 && (
        <div class="fleet" style={{ "--tile": `${sideOf(live)}px` }} onKeyDown={arrows}>
          {others.map((stream) => (
            <Tile key={stream.index} live={live} run={props.run} stream={stream} status={props.status} />
          ))}
        </div>
      )}
    </>
  );
}
