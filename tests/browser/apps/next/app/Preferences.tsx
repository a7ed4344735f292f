"use client";

import { useEffect } from "react";
import "./push";

/** The element changes itself as soon as it is defined: not before React has taken over the server's HTML. */
export function Preferences() {
  useEffect(() => {
    import("django-webpush-kit/elements");
  }, []);
  return <webpush-preferences />;
}
