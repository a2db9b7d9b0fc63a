// The notebook's widgets, one module for anywidget: what `run.live()` and `run.replay(episode)` show.
// They share drawing and wire with the page (core/), and nothing else: no framework is loaded into the notebook.

import { Comm, type Model } from "./widget/comm";
import { showLive } from "./widget/live";
import { showReplay } from "./widget/replay";
import { styled } from "./widget/style";

interface Door {
  host: string;
  port: number;
  token: string;
}

/** By run. Not by model: a notebook hands `initialize` and `render` each an object of its own for the same model. */
const doors = new Map<string, Door>();

function runOf(model: Model): string {
  return (model.get("about") as { run?: string }).run ?? "";
}

export default {
  initialize({ model }: { model: Model }): void {
    const door = model.get("door") as Door | undefined;
    if (door?.token) {
      doors.set(runOf(model), door);
      model.set("door", {}); // kept out of what a notebook saves; the kernel still has it
    }
  },

  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const root = styled(el);
    const comm = new Comm(model);
    const show = model.get("kind") === "live" ? showLive(root, model, comm, doors.get(runOf(model)) ?? null) : showReplay(root, model, comm);
    return () => {
      show();
      comm.close();
    };
  },
};
