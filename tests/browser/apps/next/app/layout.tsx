import type { ReactNode } from "react";
import { FollowClicks } from "./FollowClicks";

export const metadata = { title: "Orders", icons: "data:," };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <FollowClicks />
        {children}
      </body>
    </html>
  );
}
