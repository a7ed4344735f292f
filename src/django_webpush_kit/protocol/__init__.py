"""The Web Push RFCs as pure functions and values: endpoints, keys, encryption, headers, responses."""
