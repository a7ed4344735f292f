"use client";

import { useRouter } from "next/navigation";
import { useEffect } from "react";
import { push } from "./push";

/** A click on a notification: stay in this page instead of loading it anew. */
export function FollowClicks() {
  const router = useRouter();
  useEffect(
    () =>
      push.on("navigate", (navigation) => {
        navigation.preventDefault();
        const { pathname, search, hash } = new URL(navigation.url);
        router.push(pathname.replace(/^\/shop/, "") + search + hash); // it adds the base path
      }),
    [router],
  );
  return null;
}
