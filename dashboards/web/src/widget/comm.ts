// Questions to the kernel and its answers, over the widget's own channel.

export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  send(content: object, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(event: string, heard: (content: Said, buffers: DataView[]) => void): void;
  off(event: string, heard: (content: Said, buffers: DataView[]) => void): void;
}

export interface Said {
  type: string;
  id?: number;
  message?: string;
  [name: string]: unknown;
}

export interface Answer {
  said: Said;
  buffers: ArrayBuffer[];
}

/** A buffer of its own: what came may be a view into something larger. */
function owned(view: DataView): ArrayBuffer {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer;
}

export class Comm {
  private number = 0;
  private readonly asked = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  private readonly listeners = new Set<(answer: Answer) => void>();

  constructor(private readonly model: Model) {
    model.on("msg:custom", this.heard);
  }

  /** Ask the kernel. It answers when it is idle; an error of its own rejects. */
  ask(question: { type: string; [name: string]: unknown }): Promise<Answer> {
    const id = ++this.number;
    return new Promise((resolve, reject) => {
      this.asked.set(id, { resolve, reject });
      this.model.send({ ...question, id });
    });
  }

  tell(content: { type: string; [name: string]: unknown }): void {
    this.model.send(content);
  }

  /** What comes unasked. */
  listen(listener: (answer: Answer) => void): void {
    this.listeners.add(listener);
  }

  close(): void {
    this.model.off("msg:custom", this.heard);
    this.asked.clear();
    this.listeners.clear();
  }

  private readonly heard = (said: Said, views: DataView[]): void => {
    const answer = { said, buffers: (views ?? []).map(owned) };
    if (said.id === undefined) {
      for (const listener of this.listeners) listener(answer);
      return;
    }
    const waiting = this.asked.get(said.id);
    this.asked.delete(said.id);
    if (said.type === "error") waiting?.reject(new Error(said.message ?? "the kernel could not answer"));
    else waiting?.resolve(answer);
  };
}
