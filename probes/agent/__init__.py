"""The prober of one location: fetches its checks, runs them on time, hands in what they saw."""
