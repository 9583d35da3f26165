"use strict";
const data = JSON.parse(document.getElementById("episode").textContent);
const steps = data.frames.length;
const [width, height] = data.size;
const scale = Math.max(1, Math.round(512 / width));
const heat = bytes(data.heat);
const state = { step: 0, map: null, classes: new Set(), change: null, playing: null };
const at = (id) => document.getElementById(id);
const canvas = at("stage");
canvas.width = width * scale;
canvas.height = height * scale;
const pen = canvas.getContext("2d", { willReadFrequently: true });
const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const number = (value) => (value === null ? "not finite" : value.toFixed(2).replace("-", "−"));
const signed = (value) => (value < 0 ? "" : "+") + number(value);

/* Pictures are decoded when they are first shown. */
const decoded = new Map();
function picture(png) {
  if (!decoded.has(png)) {
    const image = new Image();
    image.src = "data:image/png;base64," + png;
    decoded.set(png, image.decode().then(() => image));
  }
  return decoded.get(png);
}

/* The answers to what is shown: those to the frame, or those to the redrawn frame. */
function shownAnswers() {
  const change = state.change === null ? null : data.interventions[state.change];
  const place = change === null ? -1 : change.places[state.step];
  return place < 0 ? { answers: data.answers, place: state.step } : { answers: change.answers, place, change };
}

async function draw() {
  const wanted = JSON.stringify([state.step, state.map, [...state.classes], state.change]);
  canvas.dataset.wanted = wanted;
  const { answers, place, change } = shownAnswers();
  const piece = change ? change.pieces[place] : null;
  const [frame, patch, labels] = await Promise.all([
    picture(data.frames[state.step]),
    piece && picture(piece.png),
    state.classes.size && data.labels ? picture(data.labels[state.step]) : null,
  ]);
  if (canvas.dataset.wanted !== wanted) return; // another one has been asked for meanwhile
  pen.imageSmoothingEnabled = false;
  pen.drawImage(frame, 0, 0, canvas.width, canvas.height);
  if (patch) pen.drawImage(patch, piece.x * scale, piece.y * scale, patch.width * scale, patch.height * scale);
  if (state.map !== null) drawHeat(answers, place);
  if (labels) drawClasses(labels);
  canvas.dataset.drawn = wanted;
}

/* Dark where a map is 0, yellow where it is 1, over the frame in gray. */
function drawHeat(answers, place) {
  const [columns, rows] = answers.grids[state.map];
  const cells = columns * rows;
  const map = bytes(answers.maps[state.map]).subarray(place * cells, (place + 1) * cells);
  const shown = pen.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = shown.data;
  const within = (value, top) => Math.min(Math.max(value, 0), top);
  for (let y = 0, i = 0; y < canvas.height; y++) {
    const v = within(((y + 0.5) * rows) / canvas.height - 0.5, rows - 1);
    const up = Math.floor(v), down = Math.min(up + 1, rows - 1), dv = v - up;
    for (let x = 0; x < canvas.width; x++, i += 4) {
      const u = within(((x + 0.5) * columns) / canvas.width - 0.5, columns - 1);
      const left = Math.floor(u), right = Math.min(left + 1, columns - 1), du = u - left;
      const above = map[up * columns + left] * (1 - du) + map[up * columns + right] * du;
      const below = map[down * columns + left] * (1 - du) + map[down * columns + right] * du;
      const level = Math.round(above * (1 - dv) + below * dv);
      const opacity = (0.6 * (2 + level / 255)) / 3;
      const gray = 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2];
      for (let channel = 0; channel < 3; channel++)
        pixels[i + channel] = gray * (1 - opacity) + heat[3 * level + channel] * opacity;
    }
  }
  pen.putImageData(shown, 0, 0);
}

function drawClasses(labels) {
  small.drawImage(labels, 0, 0);
  const ids = small.getImageData(0, 0, width, height).data;
  const colors = new Map(data.classes.map((each) => [each.id, each.color]));
  pen.globalAlpha = 0.65;
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i += 4)
      if (state.classes.has(ids[i])) {
        pen.fillStyle = colors.get(ids[i]);
        pen.fillRect(x * scale, y * scale, scale, scale);
      }
  pen.globalAlpha = 1;
}

function tell() {
  const { step } = state;
  const { answers, place, change } = shownAnswers();
  const value = answers.values[place], before = data.answers.values[step];
  const taken = data.taken === null ? -1 : data.taken[step], preferred = answers.prefers[place];
  const difference = change && value !== null && before !== null ? ` (${signed(value - before)})` : "";
  const facts = {
    [data.value]: number(value) + difference,
    "action taken": data.takes[step],
    "preferred action": preferred + (change ? `, after: ${change.name}` : ""),
    "reward": number(data.rewards[step]),
    "return so far": number(data.returns[step]),
  };
  if (state.map !== null && answers.undefined[state.map].includes(place)) facts["map"] = "not finite";
  at("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]),
  );
  data.actions.forEach((name, action) => {
    const row = at("bars").children[action];
    row.classList.toggle("taken", action === taken);
    const [after, was] = row.querySelectorAll("i");
    after.style.width = `${100 * answers.shares[place][action]}%`;
    was.style.width = change ? `${100 * data.answers.shares[step][action]}%` : "0";
    row.lastElementChild.textContent = number(answers.scores[place][action]);
  });
  at("bars-key").hidden = !change;
  tellChanges();
  const words = `step ${step + 1} of ${steps}`;
  at("step").value = step;
  at("where").textContent = words;
  at("curve").lastElementChild.setAttribute("x1", step);
  at("curve").lastElementChild.setAttribute("x2", step);
  const said =
    `${words}${change ? `, ${change.name}` : ""}: ${data.value} ${facts[data.value]}, ` +
    `takes ${taken < 0 ? data.takes[step] : data.actions[taken]}, prefers ${preferred}`;
  canvas.setAttribute("aria-label", `Frame at ${said}`);
  if (state.playing === null) at("said").textContent = said;
}

function tellChanges() {
  const rows = at("what-if").tBodies[0].rows;
  const before = data.answers.values[state.step];
  rows[0].cells[1].textContent = number(before);
  rows[0].cells[2].textContent = data.answers.prefers[state.step];
  rows[0].classList.toggle("chosen", state.change === null);
  data.interventions.forEach((each, index) => {
    const row = rows[index + 1], place = each.places[state.step];
    row.classList.toggle("off", place < 0);
    row.classList.toggle("chosen", state.change === index);
    if (place < 0) {
      row.cells[1].textContent = "nothing changes here";
      row.cells[2].textContent = "";
      row.cells[2].className = "";
      return;
    }
    const value = each.answers.values[place];
    const known = value !== null && before !== null;
    row.cells[1].textContent = number(value) + (known ? ` (${signed(value - before)})` : "");
    row.cells[2].textContent = each.answers.prefers[place];
    row.cells[2].className = each.flips[place] ? "flip" : "";
  });
}

function show(changes = {}) {
  Object.assign(state, changes);
  state.step = Math.min(Math.max(state.step, 0), steps - 1);
  for (const input of document.querySelectorAll("input[name=map]")) input.checked = input.value === (state.map ?? "");
  for (const input of document.querySelectorAll("input[name=class]"))
    input.checked = state.classes.has(Number(input.value));
  for (const input of document.querySelectorAll("input[name=change]"))
    input.checked = input.value === String(state.change ?? "");
  tell();
  return draw();
}

function play(on) {
  if (state.playing !== null) clearInterval(state.playing);
  state.playing = null;
  if (on) {
    if (state.step === steps - 1) state.step = 0;
    state.playing = setInterval(() => (state.step < steps - 1 ? show({ step: state.step + 1 }) : play(false)), 150);
  }
  at("play").textContent = on ? "Pause" : "Play";
  at("play").setAttribute("aria-pressed", String(on));
}

function toggleClasses() {
  const all = (data.classes ?? []).map((each) => each.id);
  show({ classes: new Set(state.classes.size < all.length ? all : []) });
}

function nextChange() {
  const here = data.interventions.flatMap((each, index) => (each.places[state.step] < 0 ? [] : [index]));
  const next = here.find((index) => state.change === null || index > state.change);
  show({ change: next ?? null });
}

const maps = Object.keys(data.answers.maps);
const keys = {
  ArrowLeft: () => show({ step: state.step - 1 }),
  ArrowRight: () => show({ step: state.step + 1 }),
  Home: () => show({ step: 0 }),
  End: () => show({ step: steps - 1 }),
  " ": () => play(state.playing === null),
  n: () => show({ map: null }),
  s: toggleClasses,
  w: nextChange,
  0: () => show({ change: null }),
  ...Object.fromEntries(maps.map((name, index) => [index + 1, () => show({ map: name })])),
};

function build() {
  const choice = (name, type, value, text, mark, onchange, hint = "") =>
    element("label", { title: hint }, element("input", { type, name, value, onchange }), " ", ...mark, text);
  at("maps").append(
    choice("map", "radio", "", "none", [], () => show({ map: null })),
    ...maps.map((name) => choice("map", "radio", name, data.map_titles[name], [], () => show({ map: name }))),
  );
  for (const each of data.classes ?? []) {
    const mark = element("i");
    mark.style.background = each.color;
    const toggle = () => {
      const classes = new Set(state.classes);
      if (!classes.delete(each.id)) classes.add(each.id);
      show({ classes });
    };
    at("classes").append(choice("class", "checkbox", each.id, each.name + (each.relevant ? " *" : ""), [mark], toggle));
  }
  if (data.classes === null) at("classes").hidden = true;
  else at("classes").append(element("span", { className: "soft small" }, "* relevant; from the original frame"));
  for (const name of data.actions)
    at("bars").append(
      element("li", {}, element("span", { className: "name", title: name }, name),
        element("span", { className: "track" }, element("i"), element("i", { className: "before" })),
        element("span", { className: "number" })),
    );
  const rows = [{ name: "original frame", description: "" }, ...data.interventions];
  rows.forEach((each, index) => {
    const change = index === 0 ? null : index - 1;
    const input = choice("change", "radio", change ?? "", each.name, [], () => show({ change }), each.description);
    at("what-if").tBodies[0].append(element("tr", {}, element("td", {}, input), element("td"), element("td")));
  });
  at("no-what-if").hidden = data.interventions.length > 0;
  buildCurve();
  at("step").max = steps - 1;
  at("step").oninput = () => show({ step: Number(at("step").value) });
  at("play").onclick = () => play(state.playing === null);
}

function buildCurve() {
  const known = data.answers.values.map((value, step) => [step, value]).filter(([, value]) => value !== null);
  const low = Math.min(...known.map(([, value]) => value)), high = Math.max(...known.map(([, value]) => value));
  const svg = at("curve"), last = Math.max(steps - 1, 1);
  const part = (tag) => svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", `0 -0.05 ${last} 1.1`);
  const y = (value) => (high > low ? 1 - (value - low) / (high - low) : 0.5);
  part("polyline").setAttribute("points", known.map(([step, value]) => `${step},${y(value)}`).join(" "));
  const cursor = part("line");
  cursor.setAttribute("y1", -0.05);
  cursor.setAttribute("y2", 1.05);
  svg.onclick = (event) => {
    const box = svg.getBoundingClientRect();
    show({ step: Math.round(((event.clientX - box.left) / box.width) * last) });
  };
}

document.addEventListener("keydown", (event) => {
  const action = keys[event.key];
  // A control that has the focus keeps the keys by which it is used itself.
  const own = event.target.closest?.("button, input") && (event.key === " " || event.key.length > 1);
  if (!action || own || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
});

build();
show();
