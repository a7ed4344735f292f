import { Preferences } from "../Preferences";

export default function Page() {
  return (
    <main>
      <h1>/settings</h1>
      <Preferences />
    </main>
  );
}
