// The look of one live stream: its newest picture, grid, graph or text.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, get } from "../api";
import { ink, inkChanged } from "../choices";
import { drawPayload } from "../core/draw";
import { inWords } from "../core/payload";
import type { Stream } from "../core/wire";
import type { LiveRun, Look } from "./live_link";
import { STILL_S, stateOf } from "./live_state";

/** The newest picture that is recorded of an episode; null where there is none. */
async function lastRecorded(run: string, episode: number): Promise<{ t: number; image: ImageBitmap } | null> {
  const base = `runs/${run}/episodes/${episode}`;
  const t = (await get<{ t: number[] }>(`${base}/frames`)).t.at(-1);
  if (t === undefined) return null;
  return { t, image: await createImageBitmap(await (await ask(`${base}/frame.png`, { t })).blob()) };
}

export function LiveCanvas(props: { live: LiveRun; stream: Stream; height?: string }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [shape, setShape] = useState(1);
  const [words, setWords] = useState("");
  const [waits, setWaits] = useState(true);
  const [recorded, setRecorded] = useState<number | null>(null);
  const colors = inkChanged.value;
  useEffect(
    () =>
      props.live.paint(props.stream.index, (look: Look) => {
        const to = canvas.current;
        const context = to?.getContext("2d");
        if (!to || !context) return;
        setWaits(false);
        if (look.image) {
          if (to.width !== look.image.width || to.height !== look.image.height) {
            to.width = look.image.width;
            to.height = look.image.height;
            setShape(look.image.width / look.image.height);
          }
          context.drawImage(look.image, 0, 0);
        } else if (look.payload) {
          const scale = Math.min(3, devicePixelRatio || 1);
          const [width, height] = [Math.max(96, to.clientWidth), Math.max(96, to.clientHeight)];
          to.width = width * scale;
          to.height = height * scale;
          context.scale(scale, scale);
          drawPayload(context, look.payload, width, height, ink() as never);
          setWords(inWords(look.payload));
        }
        to.dataset.seq = String(look.seq);
      }),
    [props.live, props.stream.index, colors],
  );
  const still = props.live.stillFor(props.stream.index) >= STILL_S;
  const { episode } = stateOf(props.live.status.value, props.stream.index);
  useEffect(() => {
    if (!waits || !still || episode === null) return;
    let late = false;
    lastRecorded(props.live.run, episode)
      .then((found) => {
        const to = canvas.current;
        if (found && to && !late) {
          to.width = found.image.width;
          to.height = found.image.height;
          setShape(found.image.width / found.image.height);
          to.getContext("2d")?.drawImage(found.image, 0, 0);
          setRecorded(found.t);
        }
        found?.image.close();
      })
      .catch(() => undefined); // nothing of it is recorded yet: the tile says that it waits
    return () => {
      late = true;
    };
  }, [props.live, waits, still, episode]);
  const label = `${props.stream.kind} of environment ${props.stream.sub_environment}${words ? `: ${words}` : ""}`;
  return (
    <span class="live-screen">
      <canvas ref={canvas} class="live-picture" role="img" aria-label={label} style={{ "--shape": shape, ...(props.height ? { height: props.height } : {}) }} width="160" height="160" />
      {waits && recorded === null && <span class="waits soft">{still ? "not stepping: shown with its next step" : "shown with its next step"}</span>}
      {waits && recorded !== null && <span class="note">recorded at t {recorded}</span>}
    </span>
  );
}
