interface ImportMetaEnv {
  /** Origin of Django; empty where a proxy passes /api on to it. */
  readonly VITE_API_URL?: string;
  /** "true": no server at all. */
  readonly VITE_USE_MOCK_API?: string;
}
