"use client";

import { type FormEvent, useEffect, useState } from "react";
import { NotificationSwitch } from "./NotificationSwitch";
import { push } from "./push";
import { type Session, session, signIn, signOut, userId } from "./session";

export function Account() {
  const [user, setUser] = useState<Session | null>();
  useEffect(() => setUser(session()), []);

  async function enter(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    await signIn(String(form.get("name")), String(form.get("password")));
    push.setUser(userId()).catch(console.error);
    setUser(session());
  }

  async function leave() {
    await push.detach();
    await signOut();
    push.setUser("").catch(console.error);
    setUser(null);
  }

  if (user === undefined) return null; // the server does not know it
  if (user === null) {
    return (
      <form onSubmit={enter}>
        <input name="name" placeholder="Name" />
        <input name="password" type="password" placeholder="Password" />
        <button type="submit">Sign in</button>
      </form>
    );
  }
  return (
    <section>
      <p id="user">{user.name}</p>
      <NotificationSwitch />
      <button id="test" type="button" onClick={() => push.sendTestNotification()}>
        Send me a test
      </button>
      <button id="sign-out" type="button" onClick={leave}>
        Sign out
      </button>
    </section>
  );
}
