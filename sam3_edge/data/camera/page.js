"use strict";
// What the server tells is only ever set as text. Places are sent as fractions of the picture.

const $ = (id) => document.getElementById(id);
const page = { feed: 0, positive: true, object: null, concept: null, paused: false, channel: null, state: null, shown: -1 };
const DRAG = 8; // pixels: less is a click

async function enter(token) {
  const answer = await fetch("login", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  });
  if (!answer.ok) toast("That token does not fit, or there were too many attempts.");
  return answer.ok;
}

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", location.pathname); // not to stay in the bar, nor in the history
    await enter(token);
  }
  connect();
}

async function connect() {
  const answer = await fetch("health").catch(() => null);
  if (answer && answer.status === 401) {
    status("gone", "locked");
    if (!$("login").open) $("login").showModal();
    return;
  }
  if (!answer || !answer.ok) return retry();
  const channel = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  page.channel = channel;
  channel.onopen = () => { page.shown = -1; };
  channel.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    if (told.kind === "error") toast(told.text); else show(told);
  };
  channel.onclose = () => { if (page.channel === channel) retry(); };
}

function retry() {
  page.channel = null;
  status("gone", "no connection");
  setTimeout(connect, 1000);
}

function send(order) {
  if (!page.channel || page.channel.readyState !== 1) return toast("There is no connection to the camera.");
  page.channel.send(JSON.stringify({ feed: page.feed, ...order }));
}

function make(name, values = {}, ...children) {
  const { dataset, style, ...rest } = values;
  const made = Object.assign(document.createElement(name), rest);
  Object.assign(made.dataset, dataset);
  if (style) made.style.setProperty("background", style);
  made.append(...children);
  return made;
}

// Lists are told anew twice a second: what is there is changed, so that a finger never loses what it is on.
function list(parent, items, key, create, change) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, place) => {
    const name = String(key(item));
    const child = there.get(name) || create(item);
    child.dataset.key = name;
    there.delete(name);
    change(child, item);
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] || null);
  });
  there.forEach((child) => child.remove());
}

function show(state) {
  page.state = state;
  const feed = state.feeds[page.feed] || state.feeds[0];
  if (page.shown !== page.feed) {
    $("picture").src = `stream/${page.feed}?${Date.now()}`;
    page.shown = page.feed;
  }
  status(state.status, state.status === "ok" ? "live" : state.status, state.why.join("\n"));
  list($("feeds"), state.feeds, (_, i) => i, newFeed, changeFeed);
  list($("concepts"), feed.concepts, (it) => it.name, newConcept, changeConcept);
  list($("objects"), feed.objects, (it) => it.id, newObject, changeObject);
  if (!feed.objects.some((it) => it.id === page.object)) page.object = null;
  if (!feed.concepts.some((it) => it.name === page.concept)) page.concept = null;
  $("count").textContent = feed.objects.length || "";
  page.paused = feed.paused;
  $("pause").textContent = feed.paused ? "Resume" : "Pause";
  $("pause").classList.toggle("on", feed.paused);
  banner(feed);
  hint();
  numbers(state, feed);
}

function banner(feed) {
  const text = feed.state === "waiting" || feed.state === "opening"
    ? (feed.frames ? "the camera is gone, trying again" : "waiting for the camera")
    : feed.paused ? "paused" : feed.state === "ended" ? "the source is over" : "";
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

function numbers(state, feed) {
  const put = (id, value, unit, digits = 0) => {
    $(id).textContent = value === null || value === undefined ? "–" : `${value.toFixed(digits)}${unit}`;
  };
  put("fps", feed.fps, "", 1);
  put("age", feed.age_ms, " ms");
  put("step", feed.step_ms, " ms");
  put("dropped", feed.dropped, "");
  put("temperature", state.temperature_c, " °C");
  put("power", state.power_w, " W", 1);
  put("memory", state.memory_mb, " MB");
  $("recording").textContent = state.recording.state;
  $("recording").classList.toggle("warn", state.recording.state === "stopped");
  $("recording").title = state.recording.why || "";
}

function status(kind, text, more = "") {
  $("status").className = kind;
  $("status").lastElementChild.textContent = text;
  $("status").title = more;
}

function newFeed() {
  return make("button", { onclick: (event) => {
    page.feed = [...$("feeds").children].indexOf(event.currentTarget);
    page.object = page.concept = null;
    show(page.state);
  } });
}
function changeFeed(button, feed) {
  button.textContent = feed.source;
  const several = page.state.feeds.length > 1;
  button.classList.toggle("on", several && page.state.feeds.indexOf(feed) === page.feed);
  button.disabled = !several;
}

function newConcept(concept) {
  const name = concept.name;
  return make("li", { className: "chip" },
    make("input", { type: "color", title: "Colour", onchange: (event) => send({ do: "colour", concept: name, colour: event.target.value }) }),
    make("button", { className: "name", title: "Boxes that are drawn are examples of this", onclick: () => {
      page.concept = page.concept === name ? null : name;
      show(page.state);
    } }),
    make("span", { className: "many" }),
    make("button", { className: "close", textContent: "×", title: "Stop looking for it", onclick: () => send({ do: "remove", concept: name }) }));
}
function changeConcept(chip, concept) {
  const [colour, name, many, close] = chip.children;
  const first = (page.state.feeds[page.feed].objects.find((it) => it.concept === concept.name.toLowerCase()) || {}).colour;
  if (document.activeElement !== colour) colour.value = concept.colour || first || "#8b98a5";
  name.textContent = concept.name;
  many.textContent = concept.count;
  close.ariaLabel = `Stop looking for ${concept.name}`;
  chip.classList.toggle("on", page.concept === concept.name);
}

function newObject(object) {
  const id = object.id;
  return make("li", { className: "object", onclick: () => {
    page.object = page.object === id ? null : id;
    show(page.state);
  } },
    make("i"), make("span", { className: "who" }), make("meter", { max: 1, low: 0.3, high: 0.6, optimum: 1 }), make("span", { className: "sure" }),
    make("button", { className: "close", textContent: "×", title: "Forget it", ariaLabel: `Forget object ${id}`, onclick: (event) => {
      event.stopPropagation();
      send({ do: "drop", id });
    } }));
}
function changeObject(row, object) {
  const [colour, who, meter, sure] = row.children;
  colour.style.background = object.colour;
  who.replaceChildren(`${object.concept} `, make("b", { textContent: `#${object.id}` }));
  meter.value = object.presence;
  sure.textContent = object.presence.toFixed(2);
  row.classList.toggle("on", page.object === object.id);
}

function hint() {
  $("hint").textContent = page.object !== null ? `A click corrects object ${page.object}.`
    : page.concept !== null ? `Drag a box around an example of ${page.concept}.`
    : "Click on a thing to follow it. Drag a box around an example of what to look for.";
}

let toasting = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => { $("toast").hidden = true; }, 5000);
}

// The picture is fitted into its frame: where a pointer is, as fractions of the picture.
function place(event) {
  const image = $("picture");
  const frame = image.getBoundingClientRect();
  const scale = Math.min(frame.width / image.naturalWidth, frame.height / image.naturalHeight);
  const [wide, high] = [image.naturalWidth * scale, image.naturalHeight * scale];
  return {
    x: (event.clientX - frame.left - (frame.width - wide) / 2) / wide,
    y: (event.clientY - frame.top - (frame.height - high) / 2) / high,
    left: event.clientX - frame.left, top: event.clientY - frame.top,
  };
}

const inside = (at) => at.x >= 0 && at.x <= 1 && at.y >= 0 && at.y <= 1;
const [rect, circle] = $("drawn").children;
let begun = null;

$("picture").onpointerdown = (event) => {
  if (event.button || !$("picture").naturalWidth) return;
  begun = place(event);
  if (!inside(begun)) begun = null; else event.target.setPointerCapture(event.pointerId);
};
$("picture").onpointermove = (event) => {
  if (!begun) return;
  const at = place(event);
  const [width, height] = [Math.abs(at.left - begun.left), Math.abs(at.top - begun.top)];
  rect.classList.toggle("on", Math.max(width, height) >= DRAG);
  const box = { x: Math.min(at.left, begun.left), y: Math.min(at.top, begun.top), width, height };
  for (const [name, value] of Object.entries(box)) rect.setAttribute(name, value);
};
$("picture").onpointerup = (event) => {
  if (!begun) return;
  const [from, to] = [begun, place(event)];
  begun = null;
  rect.classList.remove("on");
  if (Math.max(Math.abs(to.left - from.left), Math.abs(to.top - from.top)) >= DRAG) {
    send({ do: "box", x0: from.x, y0: from.y, x1: to.x, y1: to.y, phrase: page.concept });
    return;
  }
  circle.setAttribute("cx", to.left);
  circle.setAttribute("cy", to.top);
  circle.classList.add("on");
  setTimeout(() => circle.classList.remove("on"), 600);
  send({ do: "point", x: to.x, y: to.y, positive: page.positive && !event.shiftKey, id: page.object });
};
$("picture").onpointercancel = () => { begun = null; rect.classList.remove("on"); };
$("picture").onerror = () => { page.shown = -1; };

function mode(positive) {
  page.positive = positive;
  for (const [id, on] of [["add-point", positive], ["not-point", !positive]]) {
    $(id).classList.toggle("on", on);
    $(id).ariaChecked = String(on);
  }
}
$("add-point").onclick = () => mode(true);
$("not-point").onclick = () => mode(false);
$("pause").onclick = () => send({ do: "pause", on: !page.paused });
$("snapshot").onclick = () => make("a", { href: `snapshot/${page.feed}`, download: "" }).click();
$("ask").onsubmit = (event) => {
  event.preventDefault();
  if ($("phrase").value.trim()) send({ do: "add", phrase: $("phrase").value });
  $("phrase").value = "";
};
$("enter").onsubmit = async (event) => {
  event.preventDefault();
  if (await enter($("token").value.trim())) {
    $("login").close();
    connect();
  }
  $("token").value = "";
};
document.onkeydown = (event) => {
  if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") { event.preventDefault(); $("pause").click(); }
  if (event.key === "s") $("snapshot").click();
  if (event.key === "Escape") { page.object = page.concept = null; if (page.state) show(page.state); }
};

start();
