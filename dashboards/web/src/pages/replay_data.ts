// What the API says of an episode, and how its player is set.

import { kept } from "../choices";

export interface EpisodeData {
  row: Record<string, any>;
  status: string;
  length: number;
  open: boolean;
  stride: number | null;
  env_id: string;
  fps: number | null;
  action_names: string[];
  observation_names: string[];
  kinds: string[];
  policy: string | null;
  gaps: [number, number][];
}
export interface SeriesData {
  t: number[];
  seconds: (number | null)[];
  lines: Record<string, (number | null)[]>;
  rows: number;
  marks: { t: number; reward: number | string }[];
}
export interface FramesData {
  t: number[];
  shape: number[] | null;
  dtype: string | null;
  why: string | null;
}

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
export const looped = kept("replay.loop", false);
export const sped = kept("replay.speed", 1);

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
