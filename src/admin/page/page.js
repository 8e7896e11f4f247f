// Keeps the page up to date and sends what people order. Without it everything can be read.
'use strict';

// Turns can follow each other closely; nobody reads faster than this.
const SHORTEST_PAUSE_MS = 1000;
// After the stream has broken: the daemon may be restarting.
const RETRY_MS = 3000;

const byId = (id) => document.getElementById(id);

// ---- What is new -------------------------------------------------------------------------------------------------

let refreshing = false;
let again = false;
let lastRefresh = 0;

function connected(problem) {
  const line = byId('connection');
  line.hidden = !problem;
  line.textContent = problem || '';
}

async function refresh() {
  if (refreshing || document.hidden) {
    again = true;
    return;
  }
  refreshing = true;
  again = false;
  const wait = lastRefresh + SHORTEST_PAUSE_MS - Date.now();
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { Accept: 'text/html' } });
    if (!answer.ok) throw new Error(`the daemon answers ${answer.status}`);
    exchange(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    connected('');
  } catch (error) {
    connected(`Not up to date: ${error.message}. What you see is what was last known.`);
  }
  lastRefresh = Date.now();
  refreshing = false;
  if (again) refresh();
}

// Exchanges the parts that differ, and leaves alone what somebody is typing in, has opened, or has the focus on.
function exchange(fresh) {
  document.title = fresh.title;
  for (const part of document.querySelectorAll('[data-live]')) {
    const newer = fresh.getElementById(part.id);
    if (!newer) continue;
    for (const opened of part.querySelectorAll('details[open]')) {
      const same = newer.querySelector(`#${CSS.escape(opened.id)}`);
      if (same) same.open = true;
    }
    prepare(newer);
    if (newer.outerHTML === part.dataset.was) continue;
    const was = newer.outerHTML;
    const focus = part.contains(document.activeElement) ? document.activeElement : null;
    const held = document.importNode(newer, true);
    part.replaceWith(held);
    held.dataset.was = was;
    if (focus && focus.id && byId(focus.id)) byId(focus.id).focus();
    else if (focus && focus.getAttribute('href')) {
      const same = held.querySelector(`a[href="${CSS.escape(focus.getAttribute('href'))}"]`);
      if (same) same.focus();
    }
  }
  tellTimes();
}

function prepare(part) {
  for (const button of part.querySelectorAll('form.order button')) button.disabled = false;
}

function listen() {
  const stream = new EventSource('/v1/events');
  for (const name of ['turn', 'operation', 'wave']) stream.addEventListener(name, refresh);
  stream.onopen = () => connected('');
  stream.onerror = () => {
    connected('The daemon does not answer. What you see is what was last known.');
    if (stream.readyState !== EventSource.CLOSED) return;
    stream.close();
    setTimeout(listen, RETRY_MS);
  };
}

function tellTimes() {
  for (const time of document.querySelectorAll('time[data-ago]')) {
    const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time.dateTime)) / 1000));
    const ago = seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
    time.dataset.clock ||= time.textContent;
    time.textContent = `${time.dataset.clock}, ${ago} ago`;
  }
}

// ---- What people order -------------------------------------------------------------------------------------------

function told(text, isProblem) {
  const line = byId('result');
  line.textContent = text;
  line.className = isProblem ? 'problem' : 'note';
  line.scrollIntoView({ block: 'nearest' });
}

// The fields of a form as the API wants them: empty ones are left out, lists are split at commas and spaces.
function fields(form) {
  const body = {};
  for (const field of form.elements) {
    const value = field.name ? field.value.trim() : '';
    if (!value) continue;
    body[field.name] = field.dataset.list === undefined ? value : value.split(/[\s,]+/).filter(Boolean);
  }
  return body;
}

function filled(text, body) {
  return text.replace(/\{(\w+)\}/g, (_, name) => body[name] ?? '');
}

function confirmed(text) {
  const dialog = byId('confirm');
  byId('confirm-text').textContent = text;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

// What became of a segment that was to be moved by hand.
function became({ segment, from, to, outcome, why }) {
  const way = from && to ? ` (node ${from} → node ${to})` : '';
  return `segment ${segment}${way}: ${outcome}${why ? `, because ${why}` : ''}`;
}

async function order(form) {
  const body = fields(form);
  if (!(await confirmed(filled(form.dataset.confirm, body)))) return;
  const path = form.dataset.path.replace(/\{(\w+)\}/g, (_, name) => {
    const value = encodeURIComponent(body[name] ?? '');
    delete body[name];
    return value;
  });
  const headers = { 'Content-Type': 'application/json', 'milvus-rebalancer-user': 'page' };
  const token = byId('token')?.value;
  if (token) headers.Authorization = `Bearer ${token}`;
  told('Sent …', false);
  try {
    const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) return told(`Refused: ${said.detail || answer.status}`, true);
    told(said.segments ? said.segments.map(became).join('; ') : 'Done.', false);
  } catch (error) {
    told(`Not sent: ${error.message}`, true);
  }
  refresh();
}

document.addEventListener('submit', (event) => {
  if (!event.target.matches('form.order')) return;
  event.preventDefault();
  order(event.target);
});

// A field of the map asks about its node.
document.addEventListener('click', (event) => {
  const field = event.target.closest('.fields i');
  if (field) location.assign(`/?node=${encodeURIComponent(field.title.split(':')[0])}#ask`);
});

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && again) refresh();
});

prepare(document);
for (const part of document.querySelectorAll('[data-live]')) part.dataset.was = part.outerHTML;
tellTimes();
setInterval(tellTimes, 1000);
listen();
