"""The archive of flights: reading it, its index, its store, and `map_flights`."""
