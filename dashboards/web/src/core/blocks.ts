// Recorded pictures of an episode, fetched in blocks, decoded once, and a bounded number of them kept.

export interface Picture {
  t: number;
  image: ImageBitmap;
}

/** Split a block: `<u32 t, u32 bytes>` and a PNG, again and again. */
export function pictureBytes(body: ArrayBuffer): { t: number; png: Uint8Array<ArrayBuffer> }[] {
  const view = new DataView(body);
  const found = [];
  for (let at = 0; at + 8 <= body.byteLength; ) {
    const length = view.getUint32(at + 4, true);
    found.push({ t: view.getUint32(at, true), png: new Uint8Array(body, at + 8, length) });
    at += 8 + length;
  }
  return found;
}

export class PictureBlocks {
  private readonly kept = new Map<number, ImageBitmap>();
  private readonly coming = new Map<number, Promise<void>>();

  /**
   * @param ts of all recorded pictures, rising.
   * @param fetchBlock gives the body of a block that begins at the picture of `t`.
   */
  constructor(
    readonly ts: number[],
    private readonly fetchBlock: (t: number, count: number) => Promise<ArrayBuffer>,
    private readonly block = 16,
    private readonly room = 320,
  ) {}

  /** The place in `ts` of the newest picture at or before `t`; -1 where there is none. */
  placeOf(t: number): number {
    let low = 0;
    let high = this.ts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ts[middle] <= t) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The picture that is seen at `t`, if it is here already. */
  now(t: number): Picture | null {
    const place = this.placeOf(t);
    const image = place < 0 ? undefined : this.kept.get(place);
    return image ? { t: this.ts[place], image } : null;
  }

  /** Fetch what is needed at `t`, and what comes after it. */
  async need(t: number, ahead = 1): Promise<void> {
    const place = Math.max(0, this.placeOf(t));
    const first = Math.floor(place / this.block);
    const wanted = [];
    for (let number = first; number <= first + ahead && number * this.block < this.ts.length; number++) wanted.push(this.load(number));
    await wanted[0];
  }

  dispose(): void {
    for (const image of this.kept.values()) image.close();
    this.kept.clear();
  }

  private load(number: number): Promise<void> {
    const start = number * this.block;
    if (this.kept.has(start)) return Promise.resolve();
    const running = this.coming.get(number);
    if (running) return running;
    const fetched = this.fetchBlock(this.ts[start], this.block)
      .then(async (body) => {
        const pictures = pictureBytes(body);
        const images = await Promise.all(pictures.map(({ png }) => createImageBitmap(new Blob([png], { type: "image/png" }))));
        images.forEach((image, i) => this.kept.set(start + i, image));
        while (this.kept.size > this.room) {
          const [oldest, image] = this.kept.entries().next().value as [number, ImageBitmap];
          image.close();
          this.kept.delete(oldest);
        }
      })
      .finally(() => this.coming.delete(number));
    this.coming.set(number, fetched);
    return fetched;
  }
}
