'use strict';

(() => {
  const $ = (id) => document.getElementById(id);
  const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' });

  // The catalogue is the markup: every product carries its sku, name and price.
  const catalogue = new Map();
  for (const item of document.querySelectorAll('.product')) {
    catalogue.set(item.dataset.sku, { name: item.dataset.name, cents: Number(item.dataset.cents) });
  }

  // undefined = not known yet; profile null = nobody is signed in.
  const state = { cart: undefined, profile: undefined, sessions: [], sessionsKnown: false };
  let busy = false;

  // ---------------------------------------------------------------- requests

  const ENDED = 'Your session has ended. Sign in again.';

  class ApiError extends Error {
    constructor(status, text) {
      super(text);
      this.status = status; // 0: no answer at all
    }
  }

  /** Reading the state back failed; `changed` tells whether a change had been made before it. */
  class RefreshError extends Error {
    constructor(cause, changed) {
      super(changed
        ? 'Done, but the page could not be brought up to date.'
        : cause.message);
    }
  }

  function textFor(status) {
    switch (status) {
      case 400: return 'The shop did not accept that. Check what you entered.';
      case 401: return ENDED;
      case 403: return 'You are not allowed to do that.';
      case 404: return 'The shop does not know that. It may be gone already.';
      case 409: return 'The session was changed elsewhere at the same moment. Check what you see and try again.';
      case 429: return 'Too many requests. Wait a moment and try again.';
      case 503: return 'The session store cannot be reached. Nothing was changed; try again.';
      default: return `The shop had a problem (${status}). Try again later.`;
    }
  }

  async function api(method, path, body) {
    const options = {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: { Accept: 'application/json' },
      signal: AbortSignal.timeout(15000),
    };
    if (body !== undefined) {
      options.headers['Content-Type'] = 'application/json';
      options.body = JSON.stringify(body);
    }

    let status;
    let text;
    try {
      const response = await fetch(path, options);
      status = response.status;
      text = await response.text();
    } catch (error) {
      throw new ApiError(0, error.name === 'TimeoutError'
        ? 'The shop takes too long to answer. Try again.'
        : 'The shop cannot be reached. Check your connection and try again.');
    }
    if (status < 200 || status > 299) throw new ApiError(status, textFor(status));
    if (text === '') return null;
    try {
      return JSON.parse(text);
    } catch {
      throw notUnderstood();
    }
  }

  function notUnderstood() {
    return new ApiError(-1, 'The shop sent an answer this page does not understand.');
  }

  function itemsOf(answer) {
    if (!answer || !Array.isArray(answer.items)) throw notUnderstood();
    return answer.items.map(String);
  }

  const getCart = async () => itemsOf(await api('GET', '/cart'));

  /** The profile, or null when nobody is signed in. */
  async function getProfile() {
    try {
      const profile = await api('GET', '/profile');
      if (!profile || typeof profile.user !== 'string') throw notUnderstood();
      return profile;
    } catch (error) {
      if (error.status === 401) return null;
      throw error;
    }
  }

  async function getSessions() {
    const sessions = await api('GET', '/sessions');
    if (!Array.isArray(sessions)) throw notUnderstood();
    return sessions
      .map((s) => ({ id: String(s.id), createdAt: new Date(s.createdAt), lastSeen: new Date(s.lastSeen), current: s.current === true }))
      .sort((a, b) => b.current - a.current || b.lastSeen - a.lastSeen);
  }

  /**
   * Reads everything again and shows it. What cannot be read keeps its last known value.
   * Answers whether a signed-in page found itself signed out.
   */
  async function refresh({ changed = false } = {}) {
    const before = state.profile;
    const [cart, profile] = await Promise.allSettled([getCart(), getProfile()]);
    let failure = null;

    if (cart.status === 'fulfilled') state.cart = cart.value;
    else failure = cart.reason;
    if (profile.status === 'fulfilled') state.profile = profile.value;
    else failure = profile.reason;

    if (profile.status === 'fulfilled' && profile.value) {
      try {
        state.sessions = await getSessions();
        state.sessionsKnown = true;
      } catch (error) {
        if (error.status === 401) state.profile = null; // ended between the two requests
        else failure = error;
      }
    }
    if (!state.profile) {
      state.sessions = [];
      state.sessionsKnown = false;
    }

    show();
    if (failure) throw new RefreshError(failure, changed);
    return Boolean(before) && state.profile === null;
  }

  // ---------------------------------------------------------------- the page

  function el(tag, className, ...children) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children);
    return node;
  }

  function show() {
    showCart();
    showAccount();
    showDevices();
    listen();
  }

  // The shop says on this stream that the session has ended, in whatever browser that was done.
  let stream = null;

  function hangUp() {
    stream?.close();
    stream = null;
  }

  function listen() {
    if (!state.profile) {
      hangUp();
    } else if (!stream) {
      stream = new EventSource('/events');
      stream.onmessage = (event) => {
        if (event.data === 'Open') return;
        hangUp();
        lookSoon();
      };
    }
  }

  /** As soon as nothing else is under way. */
  function lookSoon() {
    if (busy) setTimeout(lookSoon, 200);
    else run(look, $('account-title'));
  }

  function showCart() {
    const items = state.cart;
    const known = items !== undefined;
    const counts = new Map();
    for (const sku of items ?? []) counts.set(sku, (counts.get(sku) ?? 0) + 1);

    let total = 0;
    const lines = [];
    for (const [sku, count] of counts) {
      const product = catalogue.get(sku);
      const cents = product ? product.cents * count : 0;
      total += cents;
      lines.push(el('li', '',
        el('span', 'many', `${count} ×`),
        el('span', 'what', product ? product.name : sku),
        el('span', 'cost', product ? money.format(cents / 100) : '–')));
    }

    $('cart-note').hidden = known && items.length > 0;
    $('cart-note').textContent = known ? 'The cart is empty.' : 'The cart could not be read.';
    $('cart-lines').hidden = lines.length === 0;
    $('cart-lines').replaceChildren(...lines);
    $('cart-sum').hidden = lines.length === 0;
    $('cart-total').textContent = money.format(total / 100);
    $('nav-count').textContent = known ? String(items.length) : '?';
  }

  function showAccount() {
    const profile = state.profile;
    $('account-note').hidden = profile !== undefined;
    $('account-note').textContent = 'It is not known whether you are signed in.';
    $('signin').hidden = profile !== null;
    $('signedin').hidden = !profile;
    $('who-user').textContent = profile ? profile.user : '';
    $('who-role').textContent = profile && profile.role ? `(${profile.role})` : '';
    $('nav-account').textContent = profile ? 'Account' : 'Sign in';
  }

  function showDevices() {
    const signedIn = Boolean(state.profile);
    const sessions = state.sessions;
    $('devices').hidden = !signedIn;
    $('nav-devices').hidden = !signedIn;
    $('devices-note').textContent = !state.sessionsKnown
      ? 'The list of sessions could not be read.'
      : sessions.length === 1
        ? 'You are signed in on this device only.'
        : `You are signed in with ${sessions.length} sessions.`;
    $('device-list').replaceChildren(...sessions.map(deviceRow));
    lockButtons();
  }

  function deviceRow(session) {
    const short = session.id.slice(0, 8);
    const title = el('p', 'title', el('span', 'unseen', 'Session '), el('code', '', short));
    if (session.current) title.append(' ', el('span', 'badge', 'This device'));

    const end = el('button', 'button', 'End this session', el('span', 'unseen', `: ${short}`));
    end.type = 'button';
    end.addEventListener('click', () => run(() => endSession(session), $('devices-title')));

    return el('li', session.current ? 'current' : '',
      el('div', '', title,
        el('dl', '',
          el('div', '', el('dt', '', 'Created'), el('dd', '', time(session.createdAt))),
          el('div', '', el('dt', '', 'Last seen'), el('dd', '', time(session.lastSeen))))),
      end);
  }

  function time(date) {
    if (Number.isNaN(date.getTime())) return 'unknown';
    const clock = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
    const today = date.toDateString() === new Date().toDateString();
    const node = el('time', '', today
      ? `today, ${date.toLocaleTimeString('en', clock)}`
      : date.toLocaleString('en', { day: 'numeric', month: 'short', year: 'numeric', ...clock }));
    node.dateTime = date.toISOString();
    return node;
  }

  // ---------------------------------------------------------------- messages

  let fading;
  let announcing;

  function say(text, { error = false, retry = false } = {}) {
    clearTimeout(fading);
    clearTimeout(announcing);
    $('status').textContent = '';
    $('alert').textContent = '';
    $('toast').classList.toggle('error', error);
    $('toast').classList.toggle('open', text !== '');
    $('retry').hidden = !retry;
    $('dismiss').hidden = text === '';
    if (text === '') return;
    // Emptied first and filled a moment later, so that the same words are announced again.
    announcing = setTimeout(() => { $(error ? 'alert' : 'status').textContent = text; }, 30);
    if (!error) fading = setTimeout(() => say(''), 8000);
  }

  // ---------------------------------------------------------------- actions

  function lockButtons() {
    for (const button of document.querySelectorAll('button')) {
      if (button.id !== 'dismiss') button.disabled = busy;
    }
    document.body.classList.toggle('busy', busy);
  }

  /**
   * Runs one action at a time. The action answers the message to show (or nothing);
   * whatever it throws becomes a message here, so no rejection leaves this function.
   */
  async function run(action, fallbackFocus) {
    if (busy) return;
    const opener = document.activeElement;
    busy = true;
    lockButtons();
    try {
      const message = await action();
      if (message) say(message.text ?? message, { error: Boolean(message.error) });
    } catch (error) {
      await failed(error);
    } finally {
      busy = false;
      lockButtons();
      keepFocus(opener, fallbackFocus);
    }
  }

  async function failed(error) {
    if (error instanceof RefreshError) {
      say(error.message, { error: true, retry: true });
      return;
    }
    if (!(error instanceof ApiError)) {
      console.error(error);
      say('Something went wrong on this page. Reload it and try again.', { error: true });
      return;
    }

    let retry = false;
    if ([401, 404, 409].includes(error.status)) {
      // The page shows something that is no longer so: read it again.
      if (error.status === 401) state.profile = null;
      try {
        await refresh();
      } catch {
        retry = true;
      }
    }
    say(error.message, { error: true, retry });
  }

  /** A disabled or removed button loses the focus: give it back, or move it to the section's title. */
  function keepFocus(opener, fallback) {
    const active = document.activeElement;
    if (active && active !== document.body && active.getClientRects().length > 0) return;
    if (!opener || opener === document.body) return;
    if (opener.isConnected && opener.getClientRects().length > 0) opener.focus({ preventScroll: true });
    else if (fallback) (fallback.getClientRects().length > 0 ? fallback : $('account-title')).focus();
  }

  const STILL_IN = { text: 'The shop agreed, but you are still signed in. Try again.', error: true };
  const items = (n) => (n === 1 ? '1 item' : `${n} items`);

  async function add(sku) {
    state.cart = itemsOf(await api('POST', `/cart/${encodeURIComponent(sku)}`));
    showCart();
    if (state.profile) {
      // An ended session does not refuse the cart (a new anonymous one takes it), so ask who we are.
      let profile;
      try {
        profile = await getProfile();
      } catch (error) {
        throw new RefreshError(error, true);
      }
      if (!profile) {
        await refresh({ changed: true });
        return { text: ENDED, error: true };
      }
    }
    return `${catalogue.get(sku)?.name ?? sku} added. ${items(state.cart.length)} in the cart.`;
  }

  async function signOut() {
    await api('POST', '/logout');
    await refresh({ changed: true });
    return state.profile ? STILL_IN : 'You are signed out.';
  }

  async function signOutEverywhere() {
    const answer = await api('POST', '/logout-everywhere');
    await refresh({ changed: true });
    if (state.profile) return STILL_IN;
    const ended = Number(answer?.ended);
    if (!Number.isFinite(ended)) return 'You are signed out everywhere.';
    return `You are signed out everywhere: ${ended === 1 ? '1 session' : `${ended} sessions`} ended.`;
  }

  async function endSession(session) {
    try {
      await api('DELETE', `/sessions/${encodeURIComponent(session.id)}`);
    } catch (error) {
      if (error.status === 404) error.message = 'That session had already ended.';
      throw error;
    }
    const ended = await refresh({ changed: true });
    if (session.current) return state.profile ? STILL_IN : 'You ended this session and are signed out.';
    return ended ? { text: ENDED, error: true } : `Session ${session.id.slice(0, 8)} ended.`;
  }

  /** Reads the state again; says something only when the sign-in was lost meanwhile. */
  async function look() {
    const ended = await refresh();
    if (ended) return { text: ENDED, error: true };
    return undefined;
  }

  // ---------------------------------------------------------------- wiring

  for (const button of document.querySelectorAll('[data-add]')) {
    const { sku } = button.closest('.product').dataset;
    button.addEventListener('click', () => run(() => add(sku)));
  }
  $('signout').addEventListener('click', () => run(signOut, $('account-title')));
  $('everywhere').addEventListener('click', () => run(signOutEverywhere, $('account-title')));
  $('retry').addEventListener('click', () => run(async () => {
    const message = await look();
    if (!message) say('');
    return message;
  }, $('account-title')));
  $('dismiss').addEventListener('click', () => {
    say('');
    $('main').focus({ preventScroll: true });
  });

  // No polling: a request keeps the session alive. Coming back to the page is use of it.
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') run(look);
  });
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) run(look);
  });

  run(look);
})();
