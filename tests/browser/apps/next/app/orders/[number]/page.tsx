import { Account } from "../../Account";

export default async function Page({ params }: { params: Promise<{ number: string }> }) {
  const { number } = await params;
  return (
    <main>
      <h1>/orders/{number}</h1>
      <Account />
    </main>
  );
}
