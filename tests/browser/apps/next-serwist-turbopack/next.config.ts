import { withSerwist } from "@serwist/turbopack";
import type { NextConfig } from "next";

const django = process.env.DJANGO_URL ?? "http://127.0.0.1:8000";

const config: NextConfig = {
  async rewrites() {
    return [{ source: "/api/:path*", destination: `${django}/api/:path*` }];
  },
};

export default withSerwist(config);
