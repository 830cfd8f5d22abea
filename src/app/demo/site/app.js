"use strict";

const ASSETS = ["/style.css", "/app.js", "/logo.svg", "/coast.png", "/inter.woff2"];
const ORIGINS = ["origin-1", "origin-2", "origin-3"];
const ECHOES_SHOWN = 4;
const PROTOCOLS = { h2: "HTTP/2", h3: "HTTP/3", "http/1.1": "HTTP/1.1" };
const byId = (id) => document.getElementById(id);

// Past the browser's own cache, and yet content with what the edge has stored.
const ASK_THE_EDGE = { cache: "no-store", headers: { "Cache-Control": "max-age=86400" } };

function cell(row, text, kind) {
  const data = row.insertCell();
  data.textContent = text;
  if (kind) data.className = kind;
}

function madeBy(response) {
  return /desc="?([^";,]+)/.exec(response.headers.get("Server-Timing") ?? "")?.[1] ?? "–";
}

function isHit(response) {
  return /;\s*hit/.test(response.headers.get("Cache-Status") ?? "");
}

async function showAssets() {
  const answers = await Promise.all(ASSETS.map(async (path) => {
    const response = await fetch(path, ASK_THE_EDGE);
    await response.arrayBuffer();
    return [path, response];
  }));
  const hits = answers.filter(([, response]) => isHit(response)).length;
  byId("assets-note").textContent = `${hits} of ${answers.length} came from the cache of the edge.`;
  const table = byId("assets");
  table.replaceChildren();
  for (const [path, response] of answers) {
    const row = table.insertRow();
    const status = response.headers.get("Cache-Status") ?? "none: there is no edge in between";
    cell(row, path);
    cell(row, status, isHit(response) ? "hit" : "miss");
    cell(row, response.headers.has("Age") ? `${response.headers.get("Age")} s` : "–");
    cell(row, madeBy(response));
  }
}

const answered = new Map(ORIGINS.map((name) => [name, 0]));

function showOrigins() {
  const most = Math.max(1, ...answered.values());
  const list = byId("origins");
  list.replaceChildren();
  for (const [name, times] of answered) {
    const term = document.createElement("dt");
    term.textContent = name;
    const bar = document.createElement("dd");
    const share = document.createElement("progress");
    share.max = most;
    share.value = times;
    share.setAttribute("aria-label", `Answers of ${name}`);
    bar.append(share);
    const count = document.createElement("dd");
    count.textContent = String(times);
    list.append(term, bar, count);
  }
}

async function askApi() {
  const { origin, time, requests } = await (await fetch("/api/time")).json();
  answered.set(origin, (answered.get(origin) ?? 0) + 1);
  showOrigins();
  byId("answer").textContent = `${origin} at ${time}, its request no. ${requests}`;
}

async function askApiAFewTimes(times) {
  await askApi();
  if (times > 1) setTimeout(() => askApiAFewTimes(times - 1).catch(complain("answer")), 400);
}

function showEcho(text) {
  const item = document.createElement("li");
  item.textContent = text;
  const log = byId("echo");
  log.replaceChildren(item, ...(socket ? [...log.children].slice(0, ECHOES_SHOWN - 1) : []));
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${scheme}//${location.host}/ws`);
    socket.addEventListener("open", () => resolve(socket), { once: true });
    socket.addEventListener("error", () => reject(new Error("no connection")), { once: true });
    socket.addEventListener("close", () => showEcho("The connection was closed."));
  });
}

let socket;
async function echo(message) {
  if (socket?.readyState !== WebSocket.OPEN) {
    byId("echo").replaceChildren();
    socket = await connect();
  }
  const began = performance.now();
  socket.onmessage = ({ data }) => showEcho(`${data} (${(performance.now() - began).toFixed(1)} ms)`);
  socket.send(message);
}

async function pieces(response, take) {
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    take(value);
  }
}

async function loadBigFile() {
  const began = performance.now();
  const response = await fetch("/big.bin", ASK_THE_EDGE);
  const size = Number(response.headers.get("Content-Length"));
  let received = 0;
  await pieces(response, (bytes) => {
    received += bytes.length;
    byId("loading").value = size ? received / size : 0;
  });
  const status = response.headers.get("Cache-Status") ?? "no edge in between";
  const took = Math.round(performance.now() - began);
  byId("loaded").textContent = `${(received / 2 ** 20).toFixed(1)} MiB in ${took} ms: ${status}`;
}

async function showTrickle() {
  const began = performance.now();
  const since = () => `${Math.round(performance.now() - began)} ms`;
  const text = new TextDecoder();
  let first, last = "";
  byId("waiting").value = 0;
  await pieces(await fetch("/slow?ms=2000"), (bytes) => {
    first ??= since();
    last = text.decode(bytes, { stream: true }).trim().split("\n").at(-1);
    byId("waiting").value = last === "Done" ? 100 : parseInt(last) || 0;
    byId("trickle").textContent = last;
  });
  byId("trickle").textContent = `${last}: the first piece after ${first}, the last after ${since()}`;
}

function complain(id) {
  return (error) => { byId(id).textContent = `That failed: ${error.message}`; };
}

function onClick(id, output, action) {
  const button = byId(id);
  button.addEventListener("click", async () => {
    button.disabled = true;
    await action().catch(complain(output));
    button.disabled = false;
  });
}

onClick("assets-again", "assets-note", showAssets);
onClick("ask", "answer", askApi);
onClick("load", "loaded", loadBigFile);
onClick("wait", "trickle", showTrickle);
byId("socket").addEventListener("submit", (event) => {
  event.preventDefault();
  echo(byId("message").value).catch(complain("echo"));
});

const [navigation] = performance.getEntriesByType("navigation");
const protocol = navigation?.nextHopProtocol;
byId("protocol").textContent = `This page came over ${PROTOCOLS[protocol] ?? protocol ?? "an unknown protocol"}.`;
showOrigins();
showAssets().catch(complain("assets-note"));
askApiAFewTimes(6).catch(complain("answer"));
