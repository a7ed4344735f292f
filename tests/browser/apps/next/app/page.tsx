import { Account } from "./Account";

export default function Page() {
  return (
    <main>
      <h1>/</h1>
      <Account />
    </main>
  );
}
