// Lines over a shared axis by uPlot, with a cursor that other plots and the player share, and the same as a table.

import { type Signal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { ink, inkChanged } from "../choices";
import { figure } from "../core/numbers";

export interface Line {
  name: string;
  values: (number | null)[];
  /** A pale line behind the others: raw values under smoothed ones. */
  ghost?: boolean;
  /** Lengths of strokes and gaps in turn; none for an unbroken line. */
  dash?: number[];
  steps?: boolean;
}

export function Plot(props: {
  title: string;
  x: number[];
  lines: Line[];
  xName: string;
  time?: boolean;
  height?: number;
  /** Of the values at the axis; numbers in short otherwise. */
  format?: (value: number) => string;
  cursor?: Signal<number>;
  onSeek?: (x: number) => void;
}): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [asTable, setAsTable] = useState(false);
  const { lines, x, height = 160 } = props;
  const shape = lines.map((line) => `${line.name}${line.ghost ? "~" : ""}`).join("|");
  const data = useMemo(() => [x, ...lines.map((line) => line.values)] as uPlot.AlignedData, [x, lines]);
  const colors = inkChanged.value;

  useEffect(() => {
    if (asTable || !box.current) return;
    const paint = ink();
    const axis = {
      stroke: paint.soft,
      grid: { stroke: paint.line, width: 1 },
      ticks: { stroke: paint.line, width: 1, size: 4 },
      font: "11px system-ui, sans-serif",
    };
    let color = 0;
    const made = new uPlot(
      {
        width: Math.max(120, box.current.clientWidth),
        height,
        padding: [8, 14, 0, 0],
        legend: {
          show: lines.length > 1 && lines.length <= 12,
          markers: { dash: (_: uPlot, i: number) => (lines[i - 1]?.dash ? "dashed" : "solid") },
        },
        cursor: { y: false, points: { size: 6 }, drag: { x: !props.onSeek, y: false } },
        scales: { x: { time: Boolean(props.time) }, y: { range: rangeOf } },
        axes: [
          { ...axis, size: 28, space: 60 },
          { ...axis, size: 52, values: (_, ticks) => ticks.map(props.format ?? short) },
        ],
        series: [
          { label: props.xName },
          ...lines.map((line) => {
            const stroke = line.ghost ? paint.faint : paint[`s${(color++ % 8) + 1}`];
            return {
              label: line.name,
              stroke,
              width: line.ghost ? 1 : 1.6,
              dash: line.dash,
              points: { show: x.length < 40, size: 4, fill: stroke },
              spanGaps: false,
              paths: line.steps ? uPlot.paths.stepped?.({ align: 1 }) : undefined,
              value: (_: uPlot, value: number | null) => (value === null ? "–" : figure(value)),
            } satisfies uPlot.Series;
          }),
        ],
        hooks: {
          draw: [
            (u) => {
              const at = props.cursor?.peek();
              if (at === undefined || at < (u.scales.x.min ?? 0) || at > (u.scales.x.max ?? 0)) return;
              const left = Math.round(u.valToPos(at, "x", true));
              u.ctx.save();
              u.ctx.strokeStyle = paint.accent;
              u.ctx.lineWidth = 2 * devicePixelRatio;
              u.ctx.beginPath();
              u.ctx.moveTo(left, u.bbox.top);
              u.ctx.lineTo(left, u.bbox.top + u.bbox.height);
              u.ctx.stroke();
              u.ctx.restore();
            },
          ],
        },
      },
      data,
      box.current,
    );
    plot.current = made;
    const seek = (event: MouseEvent): void => {
      const rect = made.over.getBoundingClientRect();
      props.onSeek?.(made.posToVal(event.clientX - rect.left, "x"));
    };
    made.over.addEventListener("click", seek);
    const sized = new ResizeObserver(() => {
      if (box.current) made.setSize({ width: Math.max(120, box.current.clientWidth), height });
    });
    sized.observe(box.current);
    return () => {
      sized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, asTable, height, colors, props.time]);

  useEffect(() => {
    if (plot.current && plot.current.data !== data) plot.current.setData(data);
  }, [data]);
  useSignalEffect(() => {
    void props.cursor?.value;
    plot.current?.redraw(false, false);
  });

  const last = (line: Line): string => figure(line.values.findLast((value) => value !== null));
  return (
    <figure class="plot">
      <figcaption>
        <span>{props.title}</span>
        <button type="button" class="quiet small" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? "as lines" : "as table"}
        </button>
      </figcaption>
      {asTable ? (
        <div class="table short" tabIndex={0} role="region" aria-label={`${props.title} as a table`}>
          <table>
            <thead>
              <tr>
                <th class="number">{props.xName}</th>
                {lines.map((line) => (
                  <th key={line.name} class="number">
                    {line.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {x.slice(0, 500).map((at, i) => (
                <tr key={i}>
                  <td class="number">{props.time ? new Date(at * 1000).toLocaleTimeString() : figure(at)}</td>
                  {lines.map((line) => (
                    <td key={line.name} class="number">
                      {figure(line.values[i])}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
          {x.length > 500 && <p class="soft">The first 500 of {x.length} points.</p>}
        </div>
      ) : (
        <div ref={box} class="canvas" role="img" aria-label={`${props.title} over ${props.xName}: ${lines.map((l) => `${l.name} ends at ${last(l)}`).join(", ")}`} />
      )}
    </figure>
  );
}

/** Some room around the values; of a constant one as well. */
function rangeOf(_: uPlot, low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low >= 0 && low - room < 0 ? 0 - room / 4 : low - room, high + room];
}

const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

function short(value: number): string {
  return Math.abs(value) >= 10_000 ? compact.format(value) : figure(value);
}
