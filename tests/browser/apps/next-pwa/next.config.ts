import withPWAInit from "@ducanh2912/next-pwa";
import type { NextConfig } from "next";

const django = process.env.DJANGO_URL ?? "http://127.0.0.1:8000";

const withPWA = withPWAInit({
  dest: "public",
  extendDefaultRuntimeCaching: true,
  workboxOptions: {
    importScripts: ["/service-worker.js"],
    runtimeCaching: [{ urlPattern: ({ url }) => url.pathname.startsWith("/api/"), handler: "NetworkOnly" }],
  },
});

const config: NextConfig = {
  async rewrites() {
    return [{ source: "/api/:path*", destination: `${django}/api/:path*` }];
  },
};

export default withPWA(config);
