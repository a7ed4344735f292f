import "django-webpush-kit/elements";
import { type FormEvent, useState } from "react";
import { NotificationSwitch } from "./NotificationSwitch";
import { push } from "./push";
import { usePath } from "./router";
import { session, signIn, signOut, userId } from "./session";

export function App() {
  const [user, setUser] = useState(session);
  const path = usePath();

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

  if (!user) {
    return (
      <form onSubmit={enter}>
        <input name="name" placeholder="Name" />
        <input name="password" type="password" placeholder="Password" />
        <button type="submit">Sign in</button>
      </form>
    );
  }
  return (
    <main>
      <h1>{path}</h1>
      <p id="user">{user.name}</p>
      <NotificationSwitch />
      <button id="test" type="button" onClick={() => push.sendTestNotification()}>
        Send me a test
      </button>
      <webpush-preferences push={push} />
      <button id="sign-out" type="button" onClick={leave}>
        Sign out
      </button>
    </main>
  );
}
