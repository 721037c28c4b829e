// What lies in the buckets: folders to go into, objects to download.

import { ask, base, downloadPath, objectsPath } from "./api.js";
import { h } from "./dom.js";
import { bytes, dateTime } from "./format.js";

export async function objectsPage(main, bucket, prefix) {
  document.title = `${bucket ? `${bucket}/${prefix}` : "Objects"} · Console`;
  if (!bucket) {
    const { buckets } = await ask("objects");
    main.replaceChildren(
      h("h1", {}, "Buckets"),
      buckets.length
        ? h("ul", { class: "entries" }, buckets.map((name) => h("li", {}, h("a", { href: objectsPath(name) }, name))))
        : h("p", { class: "nothing" }, "There is no bucket yet."),
    );
    return;
  }
  const body = h("tbody");
  const more = h("button", { type: "button", hidden: true }, "Show more");
  const nothing = h("p", { class: "nothing", hidden: true }, "Nothing lies here.");
  main.replaceChildren(
    h("h1", {}, prefix ? prefix.split("/").filter(Boolean).pop() : bucket),
    crumbs(bucket, prefix),
    h(
      "table",
      { class: "objects" },
      h("caption", { class: "hidden" }, `Objects in ${bucket}/${prefix}`),
      h("thead", {}, h("tr", {}, ["Name", "Size", "Changed"].map((title) => h("th", { scope: "col", class: title === "Size" ? "numeric" : null }, title)))),
      body,
    ),
    nothing,
    more,
  );

  async function load(token) {
    const page = await ask("objects", { bucket, prefix, token });
    body.append(
      ...page.folders.map((folder) =>
        h("tr", {}, h("td", { class: "name" }, h("a", { href: objectsPath(bucket, folder) }, folder.slice(prefix.length))), h("td", { class: "numeric" }, "folder"), h("td")),
      ),
      ...page.objects.map((object) =>
        h(
          "tr",
          {},
          h("td", { class: "name" }, h("a", { href: downloadPath(bucket, object.key), download: true }, object.key.slice(prefix.length) || object.key)),
          h("td", { class: "numeric", "data-label": "Size" }, bytes(object.bytes)),
          h("td", { "data-label": "Changed" }, dateTime(object.modified)),
        ),
      ),
    );
    nothing.hidden = body.children.length > 0;
    more.hidden = !page.next;
    more.onclick = () => load(page.next);
  }
  await load("");
}

function crumbs(bucket, prefix) {
  const parts = prefix.split("/").filter(Boolean);
  const links = [h("a", { href: `${base}objects` }, "Buckets"), h("a", { href: objectsPath(bucket) }, bucket)];
  parts.forEach((part, index) => links.push(h("a", { href: objectsPath(bucket, `${parts.slice(0, index + 1).join("/")}/`) }, part)));
  return h("nav", { class: "crumbs", "aria-label": "Place" }, h("ol", {}, links.map((link) => h("li", {}, link))));
}
