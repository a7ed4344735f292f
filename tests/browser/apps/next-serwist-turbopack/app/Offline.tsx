"use client";

export { SerwistProvider as Offline } from "@serwist/turbopack/react";
