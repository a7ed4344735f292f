/** Who is signed in: by Django's session where the API is on this origin, else by a token. */
export interface Session {
  id: string;
  name: string;
  access?: string;
}

const api = import.meta.env.VITE_API_URL ?? "";
const usesMock = import.meta.env.VITE_USE_MOCK_API === "true";

export function session(): Session | null {
  return JSON.parse(localStorage.getItem("session") ?? "null");
}

export const userId = () => session()?.id ?? "";

export function authorization(): Record<string, string> {
  const access = session()?.access;
  return access ? { Authorization: `Bearer ${access}` } : {};
}

export async function signIn(username: string, password: string) {
  const found = usesMock
    ? { id: username, name: username }
    : await (api ? signInWithToken : signInWithCookie)(username, password);
  localStorage.setItem("session", JSON.stringify(found));
}

export async function signOut() {
  if (!api && !usesMock) await request("/api/session", "DELETE");
  localStorage.removeItem("session");
}

async function signInWithCookie(username: string, password: string): Promise<Session> {
  await request("/api/session", "GET"); // sets the CSRF cookie
  return request("/api/session", "POST", { username, password });
}

async function signInWithToken(username: string, password: string): Promise<Session> {
  const { access } = await request(`${api}/api/token/`, "POST", { username, password });
  const { user_id } = JSON.parse(atob(access.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  return { id: String(user_id), name: username, access };
}

async function request(url: string, method: string, data?: object) {
  const csrfToken = /csrftoken=(\w+)/.exec(document.cookie)?.[1] ?? "";
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (!api) headers["X-CSRFToken"] = csrfToken;
  const answer = await fetch(url, { method, headers, body: data ? JSON.stringify(data) : null });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}
