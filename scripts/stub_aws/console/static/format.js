// How times, sums and statuses read.

const GLYPHS = { InProgress: "●", Completed: "✓", Failed: "✕", Stopped: "■", Stopping: "◐" };
const WORDS = { InProgress: "In progress" };

export const statusWord = (status) => WORDS[status] ?? status;
export const statusGlyph = (status) => GLYPHS[status] ?? "·";

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function dollars(usd) {
  if (usd === null) return "–";
  return usd > 0 && usd < 0.0001 ? "< $0.0001" : `$${usd.toFixed(4)}`;
}

export function bytes(size) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${unit && size < 100 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

const pad = (number) => String(number).padStart(2, "0");

export function clock(moment) {
  const at = new Date(moment);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

export function dateTime(moment) {
  const at = new Date(moment);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(moment)}`;
}

export function number(value) {
  return Number(value.toPrecision(5)).toString();
}
