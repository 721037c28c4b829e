// One training job: how it goes, what it says, what it was asked to do, and a way to stop it.

import { ask, base, downloadPath, objectsPath, order, Refusal, repeat, splitUri } from "./api.js";
import { Charts } from "./chart.js";
import { h, setText, show } from "./dom.js";
import { bytes, clock, dateTime, dollars, duration } from "./format.js";
import { statusMark } from "./jobs.js";
import { Logs } from "./logs.js";

const section = (title, id, ...content) => h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...content);

export async function jobPage(main, name) {
  const first = await ask(`jobs/${encodeURIComponent(name)}`);
  document.title = `${name} · Console`;
  const parts = Object.fromEntries(
    ["mark", "reason", "facts", "timeline", "final", "settings", "hyperparameters", "channels", "artifacts"].map((part) => [part, h("div", { class: part })]),
  );
  parts.mark.setAttribute("role", "status");
  const stop = h("button", { type: "button", class: "danger", hidden: true, onclick: () => question.showModal() }, "Stop job…");
  const question = stopQuestion(name);
  const chartPlace = h("div", { class: "charts" });
  const noMetrics = h("p", { class: "nothing" });
  const logPlace = h("div", { class: "logs" });
  main.replaceChildren(
    h("nav", { class: "crumbs", "aria-label": "Place" }, h("a", { href: base }, "← Training jobs")),
    h("div", { class: "title" }, h("h1", {}, name), parts.mark, stop),
    parts.reason,
    parts.facts,
    section("Timeline", "timeline", parts.timeline),
    section("Metrics", "metrics", chartPlace, noMetrics),
    section("Log", "log", logPlace),
    h(
      "div",
      { class: "pair" },
      h("div", {}, section("Data", "data", parts.channels), section("Hyperparameters", "hyperparameters", parts.hyperparameters)),
      h("div", {}, section("Artifacts", "artifacts", parts.artifacts), section("Settings", "settings", parts.settings)),
    ),
    question,
  );
  const charts = new Charts(chartPlace);
  const logs = new Logs(logPlace);
  let tokens = {};

  // All that has been logged so far: an answer holds a part of it.
  async function readLog() {
    for (;;) {
      const answer = await ask(`jobs/${encodeURIComponent(name)}/logs`, { after: JSON.stringify(tokens) });
      tokens = answer.tokens;
      logs.add(answer.streams);
      charts.add(answer.metrics);
      if (!answer.streams.some(({ events }) => events.length)) return;
    }
  }

  function draw(answer) {
    const { job, description } = answer;
    show(parts.mark, [job.status, job.secondary], () => statusMark(job.status, job.secondary));
    stop.hidden = job.status !== "InProgress";
    if (stop.hidden && question.open) question.close();
    show(parts.reason, description.FailureReason ?? "", (reason) => reason && failure(reason));
    show(parts.facts, facts(answer), drawFacts);
    drawTimeline(parts.timeline, description.SecondaryStatusTransitions ?? [], answer.now);
    show(parts.settings, [description, answer.tags], () => settings(answer));
    show(parts.hyperparameters, description.HyperParameters ?? {}, hyperparameters);
    show(parts.channels, [description.InputDataConfig ?? [], description.CheckpointConfig ?? null], channels);
    show(parts.artifacts, answer.artifacts, (objects) => artifacts(objects, job.ended));
    const defined = (description.AlgorithmSpecification.MetricDefinitions ?? []).length;
    noMetrics.hidden = charts.series.size > 0;
    const none = job.ended ? "No line of the log holds a metric." : "No line of the log holds a metric yet.";
    setText(noMetrics, defined ? none : "The job has no metric definitions.");
  }

  draw(first);
  await repeat(700, async () => {
    const answer = await ask(`jobs/${encodeURIComponent(name)}`);
    await readLog(); // after the status: when that is final, the log is complete
    draw(answer);
    return !answer.job.ended;
  });
}

function stopQuestion(name) {
  const trouble = h("p", { class: "trouble", role: "alert" });
  const confirm = h("button", { type: "button", class: "danger" }, "Stop the job");
  const dialog = h(
    "dialog",
    { "aria-labelledby": "stop-title", "aria-describedby": "stop-text" },
    h("h2", { id: "stop-title" }, "Stop this job?"),
    h("p", { id: "stop-text" }, `${name} gets two minutes to save what it has. What it has saved is kept and uploaded; it cannot go on afterwards.`),
    trouble,
    h("div", { class: "choices" }, h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Let it run"), confirm),
  );
  confirm.addEventListener("click", async () => {
    confirm.disabled = true;
    try {
      await order(`jobs/${encodeURIComponent(name)}/stop`);
      dialog.close();
    } catch (error) {
      trouble.textContent = error instanceof Refusal ? error.message : "The stub AWS does not answer.";
    }
    confirm.disabled = false;
  });
  return dialog;
}

const failure = (reason) => h("div", { class: "failure" }, h("h2", {}, "Failure reason"), h("pre", { tabindex: "0" }, reason));

function facts({ job, description, priced }) {
  const rows = [
    ["Machines", job.machines],
    ["Created", dateTime(job.created)],
    ["Duration", duration(job.seconds)],
    ["Billable", description.BillableTimeInSeconds === undefined ? "–" : `${description.BillableTimeInSeconds} s each`],
  ];
  if (priced) rows.push([job.ended ? "Cost" : "Cost so far", dollars(job.usd), job.cost]);
  return rows;
}

const drawFacts = (rows) =>
  h("dl", {}, rows.map(([name, value, title]) => h("div", { title }, h("dt", {}, name), h("dd", {}, value))));

function drawTimeline(container, steps, now) {
  const lengths = steps.map((step) => (new Date(step.EndTime ?? now) - new Date(step.StartTime)) / 1000);
  show(container, [steps, lengths.map((length) => length.toFixed(1))], () => {
    const bar = h("div", { class: "bar", "aria-hidden": "true" });
    steps.forEach((step, index) => {
      if (step.EndTime && lengths[index] === 0) return;
      const piece = h("span", { class: `piece ${step.Status}`, title: `${step.Status}: ${duration(lengths[index])}` });
      piece.style.flexGrow = String(Math.max(lengths[index], 0.001)); // its least width is in the style sheet
      bar.append(piece);
    });
    const list = h(
      "ol",
      { class: "steps" },
      steps.map((step, index) =>
        h(
          "li",
          { class: step.EndTime ? null : "now" },
          h("span", { class: `dot ${step.Status}`, "aria-hidden": "true" }),
          h("strong", {}, step.Status),
          h("span", { class: "message" }, step.StatusMessage ?? ""),
          h("time", { datetime: step.StartTime }, clock(step.StartTime)),
          h("span", { class: "numeric" }, step.EndTime && lengths[index] === 0 ? "" : duration(lengths[index])),
        ),
      ),
    );
    return [bar, list];
  });
}

function settings({ description, tags }) {
  const algorithm = description.AlgorithmSpecification;
  const rows = {
    Image: algorithm.TrainingImage,
    Role: description.RoleArn,
    "Time limit": duration(description.StoppingCondition.MaxRuntimeInSeconds),
    "Volume": `${description.ResourceConfig.VolumeSizeInGB} GB`,
    Spot: description.EnableManagedSpotTraining ? "yes" : "no",
    "Network isolation": description.EnableNetworkIsolation ? "yes" : "no",
    Output: uri(description.OutputDataConfig.S3OutputPath),
    ARN: description.TrainingJobArn,
  };
  const metrics = algorithm.MetricDefinitions ?? [];
  const environment = description.Environment ?? {};
  return [
    pairs(rows),
    folded("Tags", tags),
    folded("Environment", environment),
    folded("Metric definitions", Object.fromEntries(metrics.map(({ Name, Regex }) => [Name, Regex]))),
  ];
}

function folded(title, rows) {
  const size = Object.keys(rows).length;
  return size ? h("details", {}, h("summary", {}, `${title} (${size})`), pairs(rows)) : null;
}

function pairs(rows) {
  const entries = Object.entries(rows);
  if (!entries.length) return h("p", { class: "nothing" }, "None.");
  return h("dl", { class: "pairs" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// What the SDK sends for itself stands after what the learner chose.
function hyperparameters(all) {
  const own = (name) => !name.startsWith("sagemaker_");
  const chosen = Object.fromEntries(Object.entries(all).filter(([name]) => own(name)));
  return [pairs(chosen), folded("The toolkit's own", Object.fromEntries(Object.entries(all).filter(([name]) => !own(name))))];
}

function uri(text) {
  const target = splitUri(text);
  return target ? h("a", { href: objectsPath(target.bucket, target.key) }, text) : text;
}

function channels([inputs, checkpoints]) {
  const rows = inputs.map((channel) => {
    const source = channel.DataSource.S3DataSource;
    const how = [channel.InputMode ?? "File", source.S3DataDistributionType, channel.ContentType].filter(Boolean).join(" · ");
    return h("div", {}, h("dt", {}, channel.ChannelName), h("dd", {}, uri(source.S3Uri), h("span", { class: "how" }, how)));
  });
  if (checkpoints) rows.push(h("div", {}, h("dt", {}, "checkpoints"), h("dd", {}, uri(checkpoints.S3Uri))));
  return rows.length ? h("dl", { class: "pairs" }, rows) : h("p", { class: "nothing" }, "The job has no channel.");
}

function artifacts(objects, ended) {
  if (!objects.length) return h("p", { class: "nothing" }, ended ? "The job has left none." : "None yet; they come at the end.");
  return h(
    "ul",
    { class: "entries" },
    objects.map((object) =>
      h("li", {}, h("a", { href: downloadPath(object.bucket, object.key), download: true }, object.key.split("/").pop()), h("span", { class: "how" }, bytes(object.bytes))),
    ),
  );
}
