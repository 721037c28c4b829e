// Asks the console's server, again and again while something can still change.

export const base = document.body.dataset.base;
const trouble = document.getElementById("trouble");

export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

class Silence extends Error {} // no answer at all

async function answerOf(asked) {
  const response = await asked.catch((error) => {
    throw new Silence(error.message);
  });
  const answer = await response.json();
  if (!response.ok) throw new Refusal(response.status, answer.error);
  return answer;
}

export async function ask(path, query = {}) {
  const words = new URLSearchParams(query).toString();
  return answerOf(fetch(`${base}api/${path}${words && `?${words}`}`));
}

export async function order(path) {
  return answerOf(fetch(`${base}api/${path}`, { method: "POST", headers: { "X-Console": "1" } }));
}

export function tell(sentence) {
  trouble.hidden = !sentence;
  if (trouble.textContent !== sentence) trouble.textContent = sentence;
}

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Calls `round` until it answers false. A hidden page waits until it is seen again.
export async function repeat(milliseconds, round) {
  for (;;) {
    try {
      if ((await round()) === false) return;
      tell("");
    } catch (error) {
      if (!(error instanceof Silence)) throw error;
      tell("The stub AWS does not answer: it has ended, or this machine is very busy.");
    }
    await wait(milliseconds);
    while (document.hidden) await wait(250);
  }
}

export const jobPath = (name) => `${base}jobs/${encodeURIComponent(name)}`;

export function objectsPath(bucket, prefix = "") {
  const key = prefix.split("/").map(encodeURIComponent).join("/");
  return `${base}objects/${encodeURIComponent(bucket)}/${key}`;
}

export function downloadPath(bucket, key) {
  return `${base}download/${encodeURIComponent(bucket)}/${key.split("/").map(encodeURIComponent).join("/")}`;
}

export function splitUri(uri) {
  const match = /^s3:\/\/([^/]+)\/?(.*)$/.exec(uri);
  return match ? { bucket: match[1], key: match[2] } : null;
}
