import type { ReactNode } from "react";
import { FollowClicks } from "./FollowClicks";
import { Offline } from "./Offline";

export const metadata = { title: "Orders", icons: "data:," };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <Offline swUrl="/serwist/sw.js" options={{ type: "classic" }}>
          <FollowClicks />
          {children}
        </Offline>
      </body>
    </html>
  );
}
