// What an episode looks like at one step.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { address, ask, get } from "../api";
import { ink, inkChanged } from "../choices";
import { PictureBlocks } from "../core/blocks";
import { drawPayload } from "../core/draw";
import { inWords, type Payload } from "../core/payload";
import { type EpisodeData, type FramesData, sped } from "./replay_data";

/** The look of an episode at `at`: its picture, or the grid, graph or text that stands for it, or why there is none. */
export function Screen(props: {
  run: string;
  episode: number;
  about: EpisodeData;
  frames: FramesData | null;
  at: { value: number };
  playing: { value: boolean };
  name: string;
  title?: JSX.Element;
}): JSX.Element {
  const { run, episode, about, frames } = props;
  const base = `runs/${run}/episodes/${episode}`;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [words, setWords] = useState("");
  const [why, setWhy] = useState("");
  const [shownT, setShownT] = useState<number | null>(null);
  const colors = inkChanged.value;
  const symbolic = frames !== null && !frames.t.length && about.kinds.some((kind) => kind !== "rgb");

  const blocks = useMemo(() => {
    if (!frames?.t.length) return null;
    return new PictureBlocks(frames.t, async (first, number) => (await ask(`${base}/pictures`, { first, count: number })).arrayBuffer());
  }, [frames, base]);
  useEffect(() => () => blocks?.dispose(), [blocks]);
  const payloads = useMemo(() => new Map<number, Payload | null>(), [base]);

  const at = props.at.value;
  useEffect(() => {
    const to = canvas.current;
    if (!to) return;
    let stale = false;
    const picture = (): boolean => {
      const found = blocks?.now(at);
      if (!found) return false;
      if (to.width !== found.image.width || to.height !== found.image.height) {
        to.width = found.image.width;
        to.height = found.image.height;
      }
      to.getContext("2d")?.drawImage(found.image, 0, 0);
      to.dataset.t = String(found.t);
      setShownT(found.t);
      setWords(`${props.name} at t ${found.t}`);
      return true;
    };
    const symbol = (): boolean => {
      const found = payloads.get(at);
      if (found === undefined) return false;
      if (found === null || found.kind === "rgb") {
        setWhy("The environment's adapter knows of no look for this moment.");
        return true;
      }
      const scale = Math.min(3, devicePixelRatio || 1);
      const width = Math.max(200, to.clientWidth);
      const height = Math.max(160, to.clientHeight);
      to.width = width * scale;
      to.height = height * scale;
      const context = to.getContext("2d") as CanvasRenderingContext2D;
      context.scale(scale, scale);
      drawPayload(context, found, width, height, ink() as never);
      to.dataset.t = String(at);
      setShownT(at);
      setWords(`${props.name} at t ${at}: ${inWords(found)}`);
      return true;
    };
    if (blocks) {
      const ahead = props.playing.value ? Math.ceil(1 + sped.peek() / 2) : 1;
      const here = picture();
      blocks
        .need(at, ahead)
        .then(() => !stale && !here && picture())
        .catch((error: Error) => !stale && setWhy(error.message));
    } else if (symbolic && !symbol()) {
      const first = Math.floor(at / 16) * 16;
      get<{ payloads: Record<string, Payload | null> }>(`${base}/payloads`, { first, count: 32 })
        .then(({ payloads: got }) => {
          for (const [key, value] of Object.entries(got)) payloads.set(Number(key), value);
          if (!stale) symbol();
        })
        .catch((error: Error) => !stale && setWhy(error.message));
    } else if (symbolic && !payloads.has(at + 8) && at + 8 <= about.length) {
      const first = Math.floor((at + 8) / 16) * 16;
      void get<{ payloads: Record<string, Payload | null> }>(`${base}/payloads`, { first, count: 32 })
        .then(({ payloads: got }) => {
          for (const [key, value] of Object.entries(got)) payloads.set(Number(key), value);
        })
        .catch(() => undefined); // said when it is needed
    }
    return () => {
      stale = true;
    };
  }, [at, blocks, symbolic, payloads, colors]);
  const nothing = frames !== null && !blocks && !symbolic;
  return (
    <div class="stack" style={{ gap: "0" }}>
      <div class="screen">
        {nothing || why ? (
          <div class="why">
            <p>
              <b>No picture</b>
            </p>
            <p>{why || frames?.why}</p>
            {nothing && !why && (
              <p style={{ marginTop: "8px" }}>
                Record with <code>--frames render</code> to have pictures, or <code>--frames replay</code> to have them drawn again when asked for.{about.gaps.length === 0 && " Plots and steps are complete."}
              </p>
            )}
          </div>
        ) : (
          <canvas ref={canvas} class="picture" role="img" aria-label={words || `${props.name}: loading`} data-run={run} data-episode={episode} width="160" height="160" />
        )}
        {shownT === null && !why && !nothing && (
          <span class="note" role="status">
            {symbolic ? "Making the environment again to draw it …" : "Reading pictures …"}
          </span>
        )}
        {shownT !== null && shownT !== props.at.value && !why && <span class="note">picture of t {shownT}</span>}
      </div>
      <div class="under">
        {props.title}
        <span>
          t <b>{props.at.value}</b>
        </span>
        {frames?.shape && (
          <span>
            {frames.dtype} {frames.shape.join("×")}
          </span>
        )}
        {blocks && (
          <a href={address(`${base}/frame.png`, { t: shownT ?? 0 })} download={`${run}-${episode}-${shownT}.png`}>
            this picture, lossless
          </a>
        )}
      </div>
    </div>
  );
}
