/**
 * As much of IndexedDB as the service worker uses: `open`, one-store transactions, `get`, `put`. Values are structured
 * clones, transactions run one after another, and what a transaction wrote counts only once it completes.
 */
export class FakeIndexedDB {
  #databases = new Map();
  #unavailable = null;
  #late = [];

  /** "refuse": open() fails, as with site data blocked. "hang": it never answers, as WebKit has been seen to do. */
  breakDown(how) {
    this.#unavailable = how;
  }

  /** After "hang": answer what was asked meanwhile, and everything from now on. */
  recover() {
    this.#unavailable = null;
    for (const answer of this.#late.splice(0)) answer();
  }

  /** The committed content of a store, for assertions. */
  content(name, store) {
    return structuredClone(Object.fromEntries(this.#databases.get(name)?.stores.get(store) ?? []));
  }

  open(name) {
    const request = { result: undefined, error: null };
    const answer = () => {
      if (this.#unavailable === "refuse") {
        request.error = new DOMException("site data is blocked", "InvalidStateError");
        request.onerror?.({ target: request });
        return;
      }
      const fresh = !this.#databases.has(name);
      if (fresh) this.#databases.set(name, { stores: new Map(), lastTransaction: Promise.resolve() });
      request.result = new Connection(this.#databases.get(name));
      if (fresh) request.onupgradeneeded?.({ target: request });
      request.onsuccess?.({ target: request });
    };
    if (this.#unavailable === "hang") this.#late.push(answer);
    else queueMicrotask(answer);
    return request;
  }
}

class Connection {
  #database;

  constructor(database) {
    this.#database = database;
  }

  createObjectStore(name) {
    this.#database.stores.set(name, new Map());
  }

  transaction(storeName, mode) {
    const transaction = new Transaction(this.#database.stores.get(storeName), mode);
    this.#database.lastTransaction = this.#database.lastTransaction.then(() => transaction.run());
    return transaction;
  }

  close() {}
}

class Transaction {
  error = null;
  #requests = [];
  #committed;
  #draft = new Map();
  #mode;

  constructor(store, mode) {
    this.#committed = store;
    this.#mode = mode;
  }

  objectStore() {
    const enqueue = (work) => {
      const request = { result: undefined, work };
      this.#requests.push(request);
      return request;
    };
    return {
      get: (key) => enqueue(() => (this.#draft.has(key) ? this.#draft : this.#committed).get(key)),
      put: (value, key) => {
        if (this.#mode !== "readwrite") throw new DOMException("read-only transaction", "ReadOnlyError");
        const copy = structuredClone(value);
        return enqueue(() => void this.#draft.set(key, copy));
      },
    };
  }

  async run() {
    await Promise.resolve();
    try {
      while (this.#requests.length) {
        const request = this.#requests.shift();
        request.result = structuredClone(request.work());
        request.onsuccess?.({ target: request });
        await Promise.resolve();
      }
    } catch (error) {
      this.error = error;
      this.onabort?.();
      return;
    }
    for (const [key, value] of this.#draft) this.#committed.set(key, value);
    this.oncomplete?.();
  }
}
